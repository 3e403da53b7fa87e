"""Drawings: in a page, whose style sheet colours them, and together as one picture of its own."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conversation_analytics.reports.markup import html_text

if TYPE_CHECKING:
    from collections.abc import Sequence

LIGHT: Final = """--bg:#f6f7f9;--card:#fff;--ink:#1b2130;--soft:#5b6475;--line:#e3e6ec;
--grid:#eceff4;--s1:#3b6fd4;--s2:#e0973a;--s3:#2f9e8f;--s4:#8a93a6;
--q1:#a9c4f5;--q2:#6f9bea;--q3:#3b6fd4;--q4:#1f3f85;"""
"""Colours of light pages, of paper and of pictures."""
STYLE: Final = """
svg text{font-size:12px;fill:var(--soft)}
svg .label,svg .end{fill:var(--ink)}svg .strong{font-weight:650}
svg .middle{text-anchor:middle}svg .last{text-anchor:end}
svg .grid{stroke:var(--grid)}svg .base{stroke:var(--soft)}
svg .s1{fill:var(--s1)}svg .s2{fill:var(--s2)}svg .s3{fill:var(--s3)}svg .s4{fill:var(--s4)}
svg .q1{fill:var(--q1)}svg .q2{fill:var(--q2)}svg .q3{fill:var(--q3)}svg .q4{fill:var(--q4)}
svg .span{stroke:var(--line);stroke-width:3}svg .none{fill:var(--grid)}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round}svg .line.s1{stroke:var(--s1)}
svg .line.s2{stroke:var(--s2)}svg .line.s3{stroke:var(--s3)}svg .line.s4{stroke:var(--s4)}
svg .line.q1{stroke:var(--q1)}svg .line.q2{stroke:var(--q2)}
svg .line.q3{stroke:var(--q3)}svg .line.q4{stroke:var(--q4)}
"""
"""How drawings look, in a page and in a picture."""

_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif"
_EDGE, _GAP, _HEAD, _TITLE = 20, 28, 56, 28  # of a picture, in its pixels
_ACROSS = 2
_HOVER = re.compile("<title>[^<]*</title>")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart as SVG.

    Attributes:
        title: what it shows, plain text.
        width: in pixels.
        height: in pixels.
        marks: SVG that is seen, every text escaped.
        hits: SVG that answers to the pointer, which a picture cannot do.
    """

    title: str
    width: float
    height: float
    marks: str
    hits: str = ""

    def in_page(self) -> str:
        """Return the drawing for a page."""
        return (
            f'<div class="chart"><svg viewBox="0 0 {short(self.width)} {short(self.height)}" '
            f'role="img" aria-label="{html_text(self.title)}">{self.marks}{self.hits}</svg></div>'
        )


def picture(title: str, drawings: Sequence[Drawing]) -> str:
    """Return drawings as one SVG document that loads nothing, two beside each other.

    Args:
        title: what stands above them, plain text.
        drawings: with their titles; none give a picture that says so.
    """
    parts, y, across = [], float(_HEAD), 0.0
    for at in range(0, len(drawings), _ACROSS):
        row, x = drawings[at : at + _ACROSS], float(_EDGE)
        for one in row:
            parts.append(
                f'<text class="name" x="{short(x)}" y="{short(y + 12)}">{html_text(one.title)}'
                f'</text><svg x="{short(x)}" y="{short(y + _TITLE)}" width="{short(one.width)}" '
                f'height="{short(one.height)}" viewBox="0 0 {short(one.width)} '
                f'{short(one.height)}">{_HOVER.sub("", one.marks)}</svg>'
            )
            x += one.width + _GAP
        y += _TITLE + max(one.height for one in row) + _GAP
        across = max(across, x - _GAP + _EDGE)
    if not drawings:
        parts, y, across = [f'<text x="{_EDGE}" y="{_HEAD}">No turns.</text>'], 80.0, 420.0
    width, height = short(across), short(y)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{html_text(title)}</title><style>'
        f":root{{{LIGHT}font-family:{_FONT}}}{STYLE}"
        "svg .name{font-size:15px;font-weight:650;fill:var(--ink)}"
        "svg .head{font-size:19px;font-weight:650;fill:var(--ink)}</style>"
        f'<rect width="{width}" height="{height}" rx="10" fill="#fff"/>'
        f'<text class="head" x="{_EDGE}" y="34">{html_text(title)}</text>{"".join(parts)}</svg>\n'
    )


def as_markdown(title: str, drawings: Sequence[Drawing]) -> str:
    """Return `picture` as a Markdown image that has everything in it."""
    data = base64.b64encode(picture(title, drawings).encode()).decode()
    # No letter of it means anything to Markdown.
    plain = "".join(one if one.isalnum() or one in " .,-" else " " for one in title)
    return f"![{plain}](data:image/svg+xml;base64,{data})"


def short(number: float) -> str:
    """Write a coordinate, short and the same on every machine."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
