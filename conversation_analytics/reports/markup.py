"""Escaping of text that comes from outside, for each kind of file."""

from __future__ import annotations

import html
import re

# Controls, and the marks that change the direction of the text around them or split its lines.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$:@-]|(?<=\bwww)\.)", re.IGNORECASE)
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - spreadsheets take the wide forms, too


def printable(text: str) -> str:
    """Return `text` with controls and direction marks replaced."""
    return _UNPRINTABLE.sub("�", text)


def html_text(text: str) -> str:
    """Return `text` for an HTML text node or a quoted attribute."""
    return html.escape(printable(text), quote=True)


def markdown_text(text: str) -> str:
    """Return `text` for a cell of a Markdown table, without any markup or link in it."""
    flat = " ".join(printable(text).split())
    return html.escape(_MARKDOWN.sub(r"\\\1", flat), quote=False)


def csv_text(text: str) -> str:
    """Return `text` for a CSV cell that no spreadsheet runs as a formula.

    A cell that begins with = + - @, their wide forms, tab, CR or LF, also behind spaces, gets
    an apostrophe in front.
    """
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
