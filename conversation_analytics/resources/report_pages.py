"""Writing the pages that lead to the reports of the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conversation_analytics.lake.store import Lake


def lead_to(lake: Lake, pages: list[str]) -> None:
    """Write the pages that list the reports, unless they lead to `pages` already.

    Reports are listed again after writing: of runs side by side the last to write has seen all.

    Args:
        lake: where the reports are.
        pages: paths of reports that have been stored, below `reports/`.

    Raises:
        LakeError: the storage refuses.
        LakeUnavailableError: the storage does not answer.
    """
    from conversation_analytics.reports.index import (  # noqa: PLC0415 - import budget
        START,
        USERS,
        index_pages,
        no_users_page,
        pages_listed,
    )

    if lake.has_report(START):
        known = lake.get_report(START).decode()
        if all(f'href="{page}"' in known for page in (USERS, *pages)):
            return
    # Reports lead to the page of users, which is made after them.
    lake.put_first_report(USERS, no_users_page().encode())
    written, listed = None, pages_listed(lake.reports())
    while listed != written:
        for path, text in index_pages(listed).items():
            lake.put_report(path, text.encode())
        written, listed = listed, pages_listed(lake.reports())
