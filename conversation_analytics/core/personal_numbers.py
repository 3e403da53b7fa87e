"""Runs of digits: which of them are telephone numbers, cards or national numbers.

Digits alone say little. What counts: check digits and ranges, how the digits are grouped, and the
nearest word. A number that people group as a telephone number has to be a possible one; one
without any grouping has to be valid, or called a telephone number by the words around it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import phonenumbers

from conversation_analytics.core import national_ids
from conversation_analytics.core.personal_kinds import Kind
from conversation_analytics.core.personal_words import Hint, hint_at

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN: Final = re.compile(r"(?<![A-Za-z0-9_])[+(]{0,2}\d(?:[ ().\-/]{0,3}\d){6,}+")
_HIDDEN: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    # Dates and times; not what goes on with more digits, as telephone numbers do.
    r"|(?<![\d.\-/])(?:(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:19|20|25)\d\d|\d\d))"
    r"(?:[T ,]{1,2}\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?![-/.]?\d)"
    r"|(?<!\d)(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?![\d:])"
    r"|https?://(?!wa\.me/|api\.whatsapp)[!-~]+"
    r"|(?<![\d.])[-+]?\d{1,3}\.\d{4,}(?![\d.])"  # a coordinate, a measure
)
_PIECE: Final = re.compile(r"\S+")
_GLUED: Final = re.compile(r"[A-Za-z_]")
_LEAST: Final = 7  # digits
_MOST: Final = 19
_MOST_PIECES: Final = 8
_ATTACHED: Final = re.compile(r"[A-Za-z0-9][-_/=#]{1,2}$|(?:\d|(?<![A-Za-z0-9])[A-Za-z]{1,2})\.$")
_LABEL: Final = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:tel|telf|telp|phone|mobile|cel|hp|wa\.me|fax|ph|mob|tlf|sdt|whatsapp|cpf"
    r"|nif|ssn|nik|no|nr|num|cccd|nir|id|card|iban|call)[-_/.=#]{1,2}$",
    re.IGNORECASE,
)
_DECIMAL: Final = re.compile(r"[-+]?\d+\.\d+|\d{1,3}(?:[. ]\d{3}){1,5}")
_DATE_TIME: Final = re.compile(
    r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:(?:[01]\d|2[0-3])(?:[0-5]\d){0,2})?\d{0,3}"
)
_EPOCH_MS: Final = re.compile(r"1[4-9]\d{11}")
_THAI: Final = re.compile(r"[\u0e01-\u0e5b]")
_SSN: Final = re.compile(r"\d{3}-\d\d-\d{4}|\d{3} \d\d \d{4}")
_GROUPED_ID: Final = {
    11: re.compile(r"\d{3}\.\d{3}\.\d{3}-\d\d|\d\d \d{3} \d{3} \d{3}"),
    13: re.compile(r"\d[- ]\d{4}[- ]\d{5}[- ]\d\d[- ]\d"),
    14: re.compile(r"\d\d\.\d{3}\.\d{3}/\d{4}-\d\d"),
    15: re.compile(r"\d \d\d \d\d \d\d \d{3} \d{3}(?: | ?/ ?)\d\d"),
}
_CARD_GROUPS: Final = re.compile(
    r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}|\d{4}(?:([ -])\d{4}){3}\3\d{3}|\d+"
)
_NATIONAL: Final = (
    # digits, grouped or not; where they may be valid
    (re.compile(r"0[2-9]\d{7,8}"), ("TH",)),
    (re.compile(r"0(?:[35789]\d{8}|2\d{9})"), ("VN",)),
    (re.compile(r"0[2-9]\d{7,11}"), ("ID",)),
    (re.compile(r"0[1-9]\d{8}"), ("FR",)),
    (re.compile(r"0[1-37-9]\d{8,9}"), ("GB",)),
    (re.compile(r"01(?:0|2\d|3\d|4\d|5\d|6\d|7\d|8\d|9\d)\d{7,8}|0[2-9]\d{6,10}"), ("DE", "CN")),
    (re.compile(r"1[3-9]\d{9}|0(?:10|2\d)\d{8}|0[3-9]\d{9,10}"), ("CN",)),
    (re.compile(r"0?[1-9]\d9\d{8}|0?[1-9]\d[2-5]\d{7}"), ("BR",)),
    (re.compile(r"[6-9]\d{8}"), ("ES",)),
    (re.compile(r"[239]\d{8}"), ("PT",)),
    (re.compile(r"1?[2-9]\d\d[2-9]\d{6}"), ("US", "MX")),
    (re.compile(r"[2-9]\d{9}"), ("MX",)),
)  # fmt: skip
# Without any grouping: mobile numbers with a trunk zero, and the Chinese and Brazilian ones.
_BARE: Final = re.compile(r"0[1-9]\d{7,11}|1[3-9]\d{9}|[1-9][1-9]9[6-9]\d{7}")
_SAYS_SO: Final = (Hint.PHONE, Hint.NATIONAL_ID)
# Shapes of other numbers: with wrong check digits they are none of a person, nor a telephone.
_NO_PHONE: Final = re.compile(
    r"\d{3}-\d\d-\d{4}|\d{3}\.\d{3}\.\d{3}-\d\d|\d\d\.\d{3}\.\d{3}/\d{4}-\d\d"
    r"|\d[ -]\d{4}[ -]\d{5}[ -]\d\d[ -]\d|\d{4}(?:[ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{4,5}"
)
_NORTH_AMERICAN: Final = re.compile(
    r"(?:\+?1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}"
)
_ABROAD: Final = re.compile(r"\(?(?:\+|00|011)")
_UNSURE: Final = 10  # so many digits or fewer are a national number only as a whole
_SHORT_CARD: Final = 13
_SSN_DIGITS: Final = 9
_SHORTEST_GROUP: Final = 2


def numbers_in(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield kind, start and end of every number of a person in `text`; none overlap.

    Args:
        text: of ASCII digits and separators (`core.personal_data` translates the others).
    """
    shown = _HIDDEN.sub(lambda match: "\x00" * len(match.group()), text)
    for run in RUN.finditer(shown):
        start, end = run.start(), run.end()
        if _GLUED.match(shown, end):  # `5kg`: the last number is none of a person
            end = max(shown.rfind(" ", start, end), start)
        if not _is_attached(shown, start, end):
            yield from _split(shown, start, end)


def _is_attached(text: str, start: int, end: int) -> bool:
    """Tell whether the run is part of a longer name or number, as in `INV-0812345678`."""
    before = text[max(0, start - 24) : start]
    if text[end : end + 1] in {"_", "@"} or re.match(r"[-/][A-Za-z]|,\d", text[end : end + 2]):
        return True
    if re.search(r"\d,$", before):
        return True
    return _ATTACHED.search(before) is not None and _LABEL.search(before) is None


def _split(text: str, start: int, end: int) -> Iterator[tuple[Kind, int, int]]:
    """Find numbers in a run that may be several, put apart by spaces."""
    pieces = [(m.start(), m.end()) for m in _PIECE.finditer(text, start, end)]
    first = 0
    while first < len(pieces):
        for strict in (True, False):
            found = _longest(text, pieces, first, strict=strict)
            if found is not None:
                break
        if found is None:
            first += 1
            continue
        kind, last = found
        yield kind, *_trimmed(text, pieces[first][0], pieces[last][1])
        first = last + 1


def _longest(
    text: str, pieces: list[tuple[int, int]], first: int, *, strict: bool
) -> tuple[Kind, int] | None:
    hint = None
    for last in range(min(len(pieces), first + _MOST_PIECES) - 1, first - 1, -1):
        start, end = _trimmed(text, pieces[first][0], pieces[last][1])
        digits = re.sub(r"\D", "", text[start:end])
        if not _LEAST <= len(digits) <= _MOST:
            continue
        if hint is None or last == first:
            hint = hint_at(text, start, end)
        kind = _kind(text, start, end, digits, hint, strict=strict)
        whole = first == 0 and last == len(pieces) - 1
        if kind is Kind.NATIONAL_ID and not whole and len(digits) <= _UNSURE:
            continue
        if kind is Kind.PHONE and not whole and not _stands_alone(text[start:end], hint):
            continue
        if kind is not None:
            return kind, last
    return None


def _stands_alone(raw: str, hint: Hint) -> bool:
    """Tell whether a telephone number shows where it begins, in a row of digits.

    Five groups of a longer number may look like one.
    """
    if hint is Hint.PHONE or raw.startswith(("+", "(")):
        return True
    return " " not in raw and raw.startswith("0") and len(raw) > _LEAST + 1


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out brackets that are not the number's own, and what ends a sentence."""
    raw = text[start:end]
    raw = raw.rstrip(" .-/+(")
    if raw.endswith(")") and raw.count("(") < raw.count(")"):
        raw = raw[:-1]
    if raw.startswith("(") and raw.count("(") > raw.count(")"):
        raw, start = raw[1:], start + 1
    return start, start + len(raw)


def _kind(text: str, start: int, end: int, digits: str, hint: Hint, *, strict: bool) -> Kind | None:
    raw = text[start:end]
    if not strict:
        lenient = hint is Hint.PHONE and _may_be_called(raw, digits)
        return Kind.PHONE if lenient else None
    abroad = _ABROAD.match(raw) is not None
    if (
        abroad
        and (hint is not Hint.OTHER or raw[0] == "+")
        and _is_possible_abroad(re.sub(r"[^\d+]", "", raw))
    ):
        return Kind.PHONE
    if hint is Hint.MONEY or (_DECIMAL.fullmatch(raw) and hint not in _SAYS_SO):
        if not (hint is Hint.NONE and _is_spaced_phone(raw, digits)):
            return None
    if hint is not Hint.NATIONAL_ID and _is_card(raw, digits, hint):
        return Kind.CARD
    if hint is Hint.CARD and len(digits) > 12:  # noqa: PLR2004 - too long for anything else
        return None
    if hint is Hint.PHONE and _is_national_phone(raw, digits, hint):
        return Kind.PHONE
    if _is_national_id(text, start, raw, digits, hint):
        return Kind.NATIONAL_ID
    if hint is Hint.NATIONAL_ID:
        return Kind.CARD if _is_card(raw, digits, hint) else None
    return Kind.PHONE if _is_national_phone(raw, digits, hint) else None


def _is_card(raw: str, digits: str, hint: Hint) -> bool:
    # Thirteen digits are an old form of one issuer, and the length of many other numbers.
    if raw == digits and (
        hint is Hint.OTHER or (len(digits) == _SHORT_CARD and hint is not Hint.CARD)
    ):
        return False
    return _CARD_GROUPS.fullmatch(raw) is not None and national_ids.is_card(digits)


def _is_national_id(text: str, start: int, raw: str, digits: str, hint: Hint) -> bool:
    count = len(digits)
    shape = _GROUPED_ID.get(count)
    grouped = shape is not None and shape.fullmatch(raw) is not None
    if count == _SSN_DIGITS:
        if _SSN.fullmatch(raw):
            return hint is not Hint.OTHER and national_ids.is_us_ssn(digits)
        if hint is not Hint.NATIONAL_ID:
            return False
        if national_ids.CMND_WORD.search(text[max(0, start - 40) : start].lower()):
            return raw == digits
    if hint is Hint.OTHER and not grouped:
        return False
    checks = national_ids.CHECKED.get(count, ())
    if not any(check(digits) for check in checks):
        return False
    if hint is Hint.NATIONAL_ID or grouped:
        return True
    if raw != digits or _DATE_TIME.fullmatch(digits):
        return False
    match count:
        case 9 | 10:
            return False
        case 11:
            return not _BARE.fullmatch(digits)
        case 12:
            return not (digits.startswith("08") and _is_valid(digits, "ID"))
        case 13:
            return not _EPOCH_MS.fullmatch(digits) or _THAI.search(text) is not None
        case _:
            return True


def _is_spaced_phone(raw: str, digits: str) -> bool:
    """Tell `612 345 678` from an amount: nine digits that are a mobile number there."""
    return " " in raw and len(digits) == 9 and digits[0] in "679"  # noqa: PLR2004


def _is_national_phone(raw: str, digits: str, hint: Hint) -> bool:
    if hint not in (Hint.PHONE, Hint.NONE, Hint.IP, Hint.SECRET):
        return False
    called = hint is Hint.PHONE
    if _NO_PHONE.fullmatch(raw) and not called:
        return False
    if raw == digits:
        if not called and (not _BARE.fullmatch(digits) or _DATE_TIME.fullmatch(digits)):
            return False
    elif _NORTH_AMERICAN.fullmatch(raw):
        return True
    elif not _is_grouped(raw):
        return False
    return any(
        _is_valid(digits, region)
        for pattern, regions in _NATIONAL
        if pattern.fullmatch(digits)
        for region in regions
    )


def _is_grouped(raw: str) -> bool:
    """Tell whether the digits stand in groups as those of a telephone number do."""
    groups = re.findall(r"\d+", raw)
    return (
        raw.count("(") <= 1
        and 2 <= len(groups) <= 6  # noqa: PLR2004
        and all(len(group) >= _SHORTEST_GROUP for group in groups[1:])
        and max(map(len, groups)) <= 9  # noqa: PLR2004
    )


def _may_be_called(raw: str, digits: str) -> bool:
    """Tell whether a number that the words call a telephone number may be one."""
    if len(digits) > 13 or _DATE_TIME.fullmatch(digits):  # noqa: PLR2004
        return False
    return raw == digits or _is_grouped(raw)


@lru_cache(maxsize=4096)
def _is_valid(digits: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=4096)
def _is_possible_abroad(number: str) -> bool:
    international = re.sub(r"^(?:00|011)", "+", number)
    try:
        parsed = phonenumbers.parse(re.sub(r"^\+(\d{1,3})\(0\)", r"+\1", international), None)
    except phonenumbers.NumberParseException:
        return False
    valid = phonenumbers.is_valid_number(parsed)
    return valid or (number.startswith("+") and phonenumbers.is_possible_number(parsed))
