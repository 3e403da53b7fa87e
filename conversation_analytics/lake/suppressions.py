"""The suppression list in the lake: one small object."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.suppression import (
    Suppressions,
    key_of_pseudonyms,
    parse_suppressions,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conversation_analytics.lake.store import Lake

LIST: Final = "erasures/suppressed.json"
_TRIES: Final = 50


def read_suppressions(lake: Lake, pseudonym_key: str) -> Suppressions | None:
    """Return the lake's list; None where nobody has been erased.

    Args:
        lake: the lake.
        pseudonym_key: of the settings, or ''.

    Raises:
        LakeError: the list cannot be read: without it nothing may be read from the source.
        LakeUnavailableError: the storage does not answer.
    """
    data = lake.objects.get(LIST)
    if data is None:
        return None
    try:
        return parse_suppressions(data.decode(), pseudonym_key)
    except ValueError as error:
        raise LakeError(
            f"{lake.objects.uri(LIST)}: expected the list of erased users, got {error}; without it "
            "nothing is read from the source, for it could bring them back: if it is damaged, "
            "restore this object from a backup"
        ) from None


def change_suppressions(
    lake: Lake, pseudonym_key: str, change: Callable[[Suppressions], Suppressions]
) -> Suppressions:
    """Change the list, which is begun where there is none; return it.

    Args:
        lake: the lake.
        pseudonym_key: of the settings, or ''.
        change: gives the list as it is to be; called again where another changed it meanwhile.

    Raises:
        PartitionReplacedError: others change it all the time, 50 tries long.
        LakeError: as `read_suppressions`.
        LakeUnavailableError: the storage does not answer.
    """
    tries = 0
    while True:
        version = lake.objects.version(LIST)
        held = read_suppressions(lake, pseudonym_key) or _begun(pseudonym_key)
        wanted = change(held)
        if wanted == held and version is not None:
            return held
        try:
            lake.objects.swap(LIST, wanted.to_json().encode(), version)
        except PartitionReplacedError:
            tries += 1
            if tries == _TRIES:
                raise
            time.sleep(0.01 * tries)
        else:
            return wanted


def _begun(pseudonym_key: str) -> Suppressions:
    if pseudonym_key:
        return Suppressions(key_of_pseudonyms(pseudonym_key), key_shown=False)
    return Suppressions(secrets.token_bytes(32), key_shown=True)
