"""One key of pseudonyms a lake: noted where the lake is, compared before rows are read.

Rows under two keys, or of plain ids beside pseudonyms, would count each user twice and
could not be told apart later. So a lake says under which key it was begun.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import LakeError, SettingsError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.pseudonyms import FORMAT, Pseudonyms
from conversation_analytics.core.zones import DAILY, UNDATED

if TYPE_CHECKING:
    from conversation_analytics.lake.store import Lake

MARKER: Final = "pseudonyms/key.json"
_OTHERWISE: Final = (
    "To begin anew, set PARQUET_BASE_DIR (or S3_PREFIX) and the documents' database to new places "
    "and read the source again; pseudonyms cannot be turned into those of another key"
)


def require_one_key(lake: Lake, pseudonyms: Pseudonyms | None) -> None:
    """Compare the key with the lake's; in a lake without rows, note it.

    Raises:
        SettingsError: as `require_this_key`.
        LakeError: the lake's note is unreadable, or its storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    if pseudonyms is not None and _noted(lake) is None and not _holds_rows(lake):
        _note(lake, pseudonyms)
    require_this_key(lake, pseudonyms)


def require_this_key(lake: Lake, pseudonyms: Pseudonyms | None) -> None:
    """Compare the key with the lake's; nothing is written.

    Args:
        lake: where rows are or will be stored.
        pseudonyms: of the settings; None where PSEUDONYM_KEY is empty.

    Raises:
        SettingsError: the lake was begun under another key, under none, or under one while the
            setting is empty.
        LakeError: the lake's note is unreadable, or its storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    noted = _noted(lake)
    if pseudonyms is None:
        if noted is not None:
            raise SettingsError(
                f"PSEUDONYM_KEY is empty, but {lake.objects.uri(MARKER)} says that this lake holds "
                f"pseudonyms under the key with fingerprint {noted}: set that key. {_OTHERWISE}"
            )
        return
    if noted is None:
        if _holds_rows(lake):
            raise SettingsError(
                f"PSEUDONYM_KEY is set, but the raw zone of {lake.describe()['root']} holds rows "
                f"that were read without it: expected an empty lake. {_OTHERWISE}"
            )
        return
    if noted != pseudonyms.fingerprint:
        raise SettingsError(
            "PSEUDONYM_KEY and PSEUDONYM_COLUMNS have fingerprint "
            f"{pseudonyms.fingerprint}, but {lake.objects.uri(MARKER)} says that this lake holds "
            f"pseudonyms under {noted}: set what it was begun with. {_OTHERWISE}"
        )


def _noted(lake: Lake) -> str | None:
    data = lake.objects.get(MARKER)
    if data is None:
        return None
    try:
        return str(json.loads(data)["key"])
    except (ValueError, TypeError, KeyError):
        raise LakeError(
            f"{lake.objects.uri(MARKER)}: expected JSON with the fingerprint of PSEUDONYM_KEY, got "
            "something else: restore this object from a backup of the lake"
        ) from None


def _note(lake: Lake, pseudonyms: Pseudonyms) -> str:
    text = json.dumps({"format": FORMAT, "key": pseudonyms.fingerprint}, sort_keys=True)
    try:
        lake.objects.swap(MARKER, f"{text}\n".encode(), None)
    except PartitionReplacedError:  # another process was first: its key counts
        return _noted(lake) or ""
    return pseudonyms.fingerprint


def _holds_rows(lake: Lake) -> bool:
    return any(
        lake.keys(DAILY[table].raw) or lake.exists(UNDATED[table].raw, None) for table in DAILY
    )
