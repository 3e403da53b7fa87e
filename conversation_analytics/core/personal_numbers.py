"""Runs of digits: which of them are telephone numbers, cards or national numbers.

Digits alone say little. What counts: check digits and ranges, how the digits are grouped, and the
nearest word. A number that people group as a telephone number has to be a possible one; one
without any grouping has to be valid, or called a telephone number by the words around it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import phonenumbers

from conversation_analytics.core import national_ids
from conversation_analytics.core.personal_kinds import Kind
from conversation_analytics.core.personal_words import Hint, hint_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN: Final = re.compile(r"(?<![A-Za-z0-9_])[+(]{0,2}\d(?:[ ().\-/]{0,3}\d){6,}+")
_HIDDEN: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    # Dates and times; not what goes on with more digits, as telephone numbers do.
    r"|(?<![\d.\-/])(?:(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:19|20|25)\d\d|\d\d))"
    r"(?:[T ,]{1,2}\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?![-/.]?\d)"
    r"|(?<!\d)(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?![\d:])"
    r"|(?<![\d.\-/])(?:1[5-9]|20)\d\d ?[-/] ?(?:1[5-9]|20)\d\d(?![\d\-/])"  # from year to year
    r"|(?<![A-Za-z0-9])1Z(?: ?[0-9A-Z]){16}(?![A-Za-z0-9])"  # a parcel
    r"|https?://(?!wa\.me/|api\.whatsapp)[!-~]+"
    r"|(?<![\d.])[-+]?\d{1,3}\.\d{4,}(?![\d.])"  # a coordinate, a measure
)
_PIECE: Final = re.compile(r"\S+")
_GLUED: Final = re.compile(r"[A-Za-z_]")
_LEAST: Final = 7  # digits
_MOST: Final = 19
_MOST_PIECES: Final = 8
_TABLE_PIECES: Final = 24
_TABLE_WIDTH: Final = 4  # characters a piece, with the space
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
    r"(?:19|20)\d\d/\d+|\d{3}-\d\d-\d{4}|\d{3}\.\d{3}\.\d{3}-\d\d|\d\d\.\d{3}\.\d{3}/\d{4}-\d\d"
    r"|\d[ -]\d{4}[ -]\d{5}[ -]\d\d[ -]\d|\d{4}(?:[ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{4,5}"
)
_NORTH_AMERICAN: Final = re.compile(
    r"(?:\+?1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}"
)
_ABROAD: Final = re.compile(r"\(?(?:\+|00|011)")
_UNSURE: Final = 10  # so many digits or fewer are a national number only as a whole
_SHORT_CARD: Final = 13
_CMND_DIGITS: Final = 9
_GROUPS: Final = range(2, 7)  # how many a telephone number is written in
_SHORTEST_GROUP: Final = 2
_LONGEST_GROUP: Final = 9
_LONGEST_CALLED: Final = 13
_GROUP: Final = re.compile(r"\d+")
_NO_DIGIT: Final = re.compile(r"\D")
_NO_DIGIT_OR_PLUS: Final = re.compile(r"[^\d+]")
_NINE: Final = re.compile(r"[679]\d{8}")


def numbers_in(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield kind, start and end of every number of a person in `text`; none overlap.

    Args:
        text: of ASCII digits and separators (`core.personal_data` translates the others).
    """
    shown = _HIDDEN.sub(lambda match: "\x00" * len(match.group()), text)
    thai = _THAI.search(text) is not None
    for run in RUN.finditer(shown):
        start, end = run.start(), run.end()
        if _GLUED.match(shown, end):  # `5kg`: the last number is none of a person
            end = max(shown.rfind(" ", start, end), start)
        if not _is_attached(shown, start, end):
            yield from _split(shown, start, end, thai=thai)


def _is_attached(text: str, start: int, end: int) -> bool:
    """Tell whether the run is part of a longer name or number, as in `INV-0812345678`."""
    before = text[max(0, start - 24) : start]
    if text[end : end + 1] in {"_", "@"} or re.match(r"[-/][A-Za-z]|,\d", text[end : end + 2]):
        return True
    if re.search(r"\d,$", before):
        return True
    return _ATTACHED.search(before) is not None and _LABEL.search(before) is None


@dataclass(frozen=True, slots=True)
class _Number:
    """Digits that may be a number of a person.

    Attributes:
        raw: as it is written.
        digits: the digits alone.
        hint: what the words around it say.
        before: a little of the text before it, in small letters.
        thai: whether the text has Thai letters.
    """

    raw: str
    digits: str
    hint: Hint
    before: str
    thai: bool

    @property
    def bare(self) -> bool:
        """Whether nothing stands between the digits."""
        return self.raw == self.digits


def _split(text: str, start: int, end: int, *, thai: bool) -> Iterator[tuple[Kind, int, int]]:
    """Find numbers in a run that may be several, put apart by spaces."""
    pieces = [(m.start(), m.end()) for m in _PIECE.finditer(text, start, end)]
    if len(pieces) > _TABLE_PIECES and end - start < _TABLE_WIDTH * len(pieces):
        return  # a table of small numbers
    first = 0
    while first < len(pieces):
        found = None
        for decide in (_kind, _called):
            found = found or _longest(text, pieces, first, decide, thai=thai)
        if found is None:
            first += 1
            continue
        kind, last = found
        yield kind, *_trimmed(text, pieces[first][0], pieces[last][1])
        first = last + 1


def _longest(
    text: str,
    pieces: list[tuple[int, int]],
    first: int,
    decide: Callable[[_Number], Kind | None],
    *,
    thai: bool,
) -> tuple[Kind, int] | None:
    """Return what most pieces from the first one are together, and the last of them."""
    hint = None
    for last in range(min(len(pieces), first + _MOST_PIECES) - 1, first - 1, -1):
        start, end = _trimmed(text, pieces[first][0], pieces[last][1])
        digits = _NO_DIGIT.sub("", text[start:end])
        if not _LEAST <= len(digits) <= _MOST:
            continue
        if hint is None or last == first:
            hint = hint_at(text, start, end)
        before = text[max(0, start - 40) : start].lower()
        number = _Number(text[start:end], digits, hint, before, thai)
        kind = decide(number)
        whole = first == 0 and last == len(pieces) - 1
        if kind is not None and (whole or _stands_alone(number, kind)):
            return kind, last
    return None


def _stands_alone(number: _Number, kind: Kind) -> bool:
    """Tell whether a number shows where it begins, in a row of digits.

    Five groups of a longer number may look like a telephone number.
    """
    if kind is Kind.NATIONAL_ID:
        return len(number.digits) > _UNSURE
    if kind is not Kind.PHONE or number.hint is Hint.PHONE or number.raw[0] in "+(":
        return True
    return " " not in number.raw and number.raw[0] == "0" and len(number.raw) > _LEAST + 1


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out brackets that are not the number's own, and what ends a sentence."""
    raw = text[start:end]
    raw = raw.rstrip(" .-/+(")
    if raw.endswith(")") and raw.count("(") < raw.count(")"):
        raw = raw[:-1]
    if raw.startswith("(") and raw.count("(") > raw.count(")"):
        raw, start = raw[1:], start + 1
    return start, start + len(raw)


def _kind(number: _Number) -> Kind | None:
    """Return what a number is by its check digits, shape and words."""
    if _is_abroad(number):
        return Kind.PHONE
    if _is_amount(number):
        return None
    orders = _ORDERS.get(number.hint, (Kind.CARD, Kind.NATIONAL_ID, Kind.PHONE))
    return next((kind for kind in orders if _HOLDS[kind](number)), None)


def _called(number: _Number) -> Kind | None:
    """Return what the words alone make of a number: they say that one may telephone to it."""
    if number.hint is not Hint.PHONE or len(number.digits) > _LONGEST_CALLED:
        return None
    likely = not _DATE_TIME.fullmatch(number.digits) and (number.bare or _is_grouped(number.raw))
    return Kind.PHONE if likely else None


def _is_abroad(number: _Number) -> bool:
    if not _ABROAD.match(number.raw) or (number.hint is Hint.OTHER and number.raw[0] != "+"):
        return False
    return _is_possible_abroad(_NO_DIGIT_OR_PLUS.sub("", number.raw))


def _is_amount(number: _Number) -> bool:
    if number.hint is Hint.NONE and " " in number.raw and _NINE.fullmatch(number.digits):
        return False  # `612 345 678`: a mobile number, as likely as an amount
    if number.hint is Hint.MONEY:
        return True
    return number.hint not in _SAYS_SO and _DECIMAL.fullmatch(number.raw) is not None


def _is_card(number: _Number) -> bool:
    # Thirteen digits are an old form of one issuer, and the length of many other numbers.
    unsure = len(number.digits) == _SHORT_CARD and number.hint is not Hint.CARD
    if number.bare and (unsure or number.hint is Hint.OTHER):
        return False
    shaped = _CARD_GROUPS.fullmatch(number.raw) is not None
    return shaped and national_ids.is_card(number.digits)


def _is_national_id(number: _Number) -> bool:
    count, said = len(number.digits), number.hint is Hint.NATIONAL_ID
    if _SSN.fullmatch(number.raw):
        return number.hint is not Hint.OTHER and national_ids.is_us_ssn(number.digits)
    if said and count == _CMND_DIGITS and national_ids.CMND_WORD.search(number.before):
        return number.bare
    if not any(check(number.digits) for check in national_ids.CHECKED.get(count, ())):
        return False
    shape = _GROUPED_ID.get(count)
    grouped = shape is not None and shape.fullmatch(number.raw) is not None
    if said or grouped:
        return True
    usual = number.bare and not _DATE_TIME.fullmatch(number.digits)
    return usual and number.hint is not Hint.OTHER and _says_enough(number)


def _says_enough(number: _Number) -> bool:
    """Tell whether digits that pass a check need no word: others of that length are rare."""
    match len(number.digits):
        case 9 | 10:
            return False
        case 11:
            return not _BARE.fullmatch(number.digits)
        case 12:
            return not (number.digits.startswith("08") and _is_valid(number.digits, "ID"))
        case 13:
            return number.thai or not _EPOCH_MS.fullmatch(number.digits)
        case _:
            return True


def _is_national_phone(number: _Number) -> bool:
    called = number.hint is Hint.PHONE
    if not called and _NO_PHONE.fullmatch(number.raw):
        return False
    if not number.bare and _NORTH_AMERICAN.fullmatch(number.raw):
        return True
    if number.bare:
        usual = _BARE.fullmatch(number.digits) and not _DATE_TIME.fullmatch(number.digits)
        shaped = called or bool(usual)
    else:
        shaped = _is_grouped(number.raw)
    return shaped and any(
        _is_valid(number.digits, region)
        for pattern, regions in _NATIONAL
        if pattern.fullmatch(number.digits)
        for region in regions
    )


_HOLDS: Final[dict[Kind, Callable[[_Number], bool]]] = {
    Kind.CARD: _is_card,
    Kind.NATIONAL_ID: _is_national_id,
    Kind.PHONE: _is_national_phone,
}
# What is tried, one after the other, where words say something.
_ORDERS: Final[dict[Hint, tuple[Kind, ...]]] = {
    Hint.PHONE: (Kind.CARD, Kind.PHONE, Kind.NATIONAL_ID),
    Hint.NATIONAL_ID: (Kind.NATIONAL_ID, Kind.CARD),
    Hint.CARD: (Kind.CARD,),
    Hint.OTHER: (Kind.CARD, Kind.NATIONAL_ID),
}


def _is_grouped(raw: str) -> bool:
    """Tell whether the digits stand in groups as those of a telephone number do."""
    groups = _GROUP.findall(raw)
    return (
        raw.count("(") <= 1
        and len(groups) in _GROUPS
        and all(len(group) >= _SHORTEST_GROUP for group in groups[1:])
        and max(map(len, groups)) <= _LONGEST_GROUP
    )


@lru_cache(maxsize=256)
def _is_valid(digits: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False


def _is_possible_abroad(number: str) -> bool:
    try:
        parsed = phonenumbers.parse(re.sub(r"^(?:00|011)", "+", number), None)
    except phonenumbers.NumberParseException:
        return False
    valid = phonenumbers.is_valid_number(parsed)
    return valid or (number.startswith("+") and phonenumbers.is_possible_number(parsed))
