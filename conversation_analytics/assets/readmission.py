"""Taking a person off the suppression list: one who was erased, came back and consents again.

What was erased stays erased: rows come in as they are read again. A note of it stays in the lake,
as the proof of an erasure does; the digest is the same as that of the erasure.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from conversation_analytics.assets.erasing import pending, stored_id
from conversation_analytics.assets.erasing_notes import Erasing, stored_beside
from conversation_analytics.core.errors import ErasureError
from conversation_analytics.lake.suppressions import change_suppressions, read_suppressions

READMISSIONS: Final = "erasures/readmissions"


def readmit(
    work: Erasing, user_id: str, now: dt.datetime, *, dry_run: bool = False
) -> dict[str, Any] | None:
    """Take a user off the suppression list; return the note of it.

    Args:
        work: where.
        user_id: as the source has it.
        now: the time, for the note.
        dry_run: change nothing, and store no note.

    Returns:
        The note; None where the user is not on the list.

    Raises:
        ErasureError: an erasure of the user is not done, and would put them back on the list.
        AnalyticsError: a storage refuses or does not answer.
    """
    lake, key = work.lake, work.settings.pseudonym_key
    user = stored_id(work.settings, user_id)
    held = read_suppressions(lake, key)
    if held is None or held.user(user) not in held.users:
        return None
    name = held.user(user)
    if name in pending(lake):
        raise ErasureError(
            f"erasure {name} of this user is not done, and would leave their rows out again: "
            "finish it with `conversation-analytics erase-user --pending`, or if what is left is "
            f"of others, delete {lake.objects.uri(f'erasures/pending/{name}')}; then repeat this"
        )
    left = held.without_user(user)
    note = {
        "format": 1,
        "readmitted": name,
        "lake": lake.describe(),
        "at": now.isoformat(timespec="seconds"),
        "conversations": len(held.conversations) - len(left.conversations),
        "rows": {
            str(table): len(ids) - len(left.rows.get(table, ()))
            for table, ids in sorted(held.rows.items())
        },
        "without_owner": held.ownerless,
    }
    if dry_run:
        return note
    # The note first: nobody is read again without one.
    note = stored_beside(lake, f"{READMISSIONS}/{name}", note, now)
    change_suppressions(lake, key, lambda one: one.without_user(user))
    return note


def readmission_path(note: Mapping[str, Any]) -> str:
    """Return where the note of a readmission is stored."""
    return f"{READMISSIONS}/{note['readmitted']}/{note['file']}"
