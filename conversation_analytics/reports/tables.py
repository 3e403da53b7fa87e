"""Sortable tables with bars in their cells.

Every text given to these functions is escaped here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conversation_analytics.reports.markup import html_text
from conversation_analytics.reports.values import plain_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal


def sortable(heads: Sequence[str], rows: Iterable[str], foot: str = "") -> str:
    """Return a table that a click on a heading sorts.

    Args:
        heads: names of the columns.
        rows: of `row`.
        foot: the last row, which stays there.
    """
    head = "".join(
        f'<th scope="col"><button type="button">{html_text(text)}</button></th>' for text in heads
    )
    below = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody>{below}</table></div>"
    )


def row(cells: Iterable[str]) -> str:
    """Return a row of cells."""
    return f"<tr>{''.join(cells)}</tr>"


def named(label: str, beside: str = "") -> str:
    """Return the cell of a name, cut where it is too long, and what stands small below it."""
    text = html_text(label)
    whole = html_text(f"{beside}/{label}" if beside else label)
    small = f"<small><bdi>{html_text(beside)}</bdi></small>" if beside else ""
    return f'<td data-v="{text}" title="{whole}"><bdi>{text}</bdi>{small}</td>'


def number(value: Decimal | None, text: str, most: Decimal | None = None) -> str:
    """Return the cell of a number.

    Args:
        value: what sorts it; None is unknown.
        text: what people read.
        most: the number whose bar is as wide as the cell; None for a cell without a bar.
    """
    bar = ""
    if most is not None:
        share = 0 if value is None or most <= 0 else max(0, min(100, round(100 * value / most)))
        filled = f'<rect class="s1" width="{share}" height="4" rx="1"/>' if share else ""
        bar = (
            '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
            f"{filled}</svg>"
        )
    return f'<td data-v="{plain_number(value)}">{html_text(text)}{bar}</td>'
