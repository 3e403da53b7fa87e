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

SHADES = 10
"""The strongest ground of `shaded`."""


def sortable(heads: Sequence[str], rows: Iterable[str], foot: str = "", *, style: str = "") -> str:
    """Return a table that a click on a heading sorts.

    Args:
        heads: names of the columns.
        rows: of `row`.
        foot: the last row, which stays there.
        style: a class of the page's style sheet.
    """
    head = "".join(
        f'<th scope="col"><button type="button">{html_text(text)}</button></th>' for text in heads
    )
    classes = f"sortable {style}" if style else "sortable"
    below = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll"><table class="{classes}"><thead><tr>{head}</tr></thead>'
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


def shaded(value: Decimal, text: str, beside: str, step: int, told: str) -> str:
    """Return the cell of a number with a ground of `step`, from 0 to `SHADES`.

    Args:
        value: what sorts it.
        text: what people read.
        beside: what stands small below it.
        step: of the ground; 0 for none.
        told: what it says on hover.
    """
    return (
        f'<td class="h{step}" data-v="{plain_number(value)}" title="{html_text(told)}">'
        f"{html_text(text)}<small>{html_text(beside)}</small></td>"
    )


def empty() -> str:
    """Return a cell without a number, which stands at the end however the table is sorted."""
    return '<td data-v=""></td>'


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
