"""Structured personal data in text: found, replaced by placeholders, put back.

Found are e-mail addresses, telephone numbers (international, and as they are written in Thailand,
Vietnam, China, Indonesia, Spain, Portugal, Brazil, Mexico, France, Germany, the US and the UK),
IBANs, payment cards, IP addresses, credentials (keys, tokens, labelled passwords, user and password
in URLs) and national numbers that have a check digit or a shape of their own.

Not found: names, addresses, dates of birth, user names, passport and licence numbers, bank accounts
other than IBANs, what is spelled out in words or split over lines, and anything in a picture.
Nothing here makes a text anonymous.

Placeholders such as `<EMAIL_1>` keep a text readable: the same value has the same number.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import stdnum.iso7064.mod_97_10

from conversation_analytics.core import national_ids
from conversation_analytics.core.personal_kinds import Kind, Span
from conversation_analytics.core.personal_numbers import RUN, numbers_in
from conversation_analytics.core.personal_secrets import secrets_in
from conversation_analytics.core.personal_words import Hint, hint_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Nothing is found in a text without a digit or an `@`, but for these three.
_PERHAPS: Final = re.compile(
    r"[\d@\uff20]|[\[({]\s?(?:at|AT)\s?[\])}]|PRIVATE KEY|A[KS]IA[A-Z]{16}"
)
_DIGITS: Final = (0x0E50, 0x0ED0, 0x0660, 0x06F0, 0x0966, 0x09E6, 0x17E0, 0x1040)
_ONE_TO_ONE: Final = {
    **{start + digit: str(digit) for start in _DIGITS for digit in range(10)},
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212, 0xFE63), "-"),
    **dict.fromkeys((0xA0, 0x2007, 0x2009, 0x200A, 0x200B, 0x202F, 0x3000), " "),
}
_TRANSLATED: Final = re.compile(f"[{''.join(map(chr, _ONE_TO_ONE))}]")
_SOME_DIGITS: Final = re.compile(r"\d\d[ .\-]?\d\d[ .\-]?\d")
_DIGIT: Final = re.compile(r"\d")
_AT: Final = re.compile(r"[\[({]\s?at\s?[\])}]", re.IGNORECASE)
_PLACE: Final = "\ue000"  # private use: stands for what was found, and for placeholders
_PLACEHOLDER: Final = re.compile(
    rf"<(?:{'|'.join(kind.upper() for kind in Kind)})_[1-9][0-9]{{0,8}}>"
)
_LONGEST_PLACEHOLDER: Final = max(map(len, Kind)) + len("<_123456789>")
_URL_CREDENTIALS: Final = re.compile(
    r"(?<![A-Za-z0-9])[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://"
    r"(?P<user>[^\s/?#:@\"'<>\ue000]*:[^\s/\"'<>\ue000]+|[^\s/?#:@\"'<>\ue000]{20,})@(?=[\w\[])"
)
_LATIN: Final = "A-Za-z0-9\u00c0-\u024f"
_EMAIL: Final = re.compile(
    rf"(?<![{_LATIN}._%+\-/=])(?P<local>[{_LATIN}_%+](?:[{_LATIN}._%+'\-]{{0,62}}[{_LATIN}_%+\-])?)@"
    rf"(?P<domain>(?:[{_LATIN}](?:[{_LATIN}\-]{{0,61}}[{_LATIN}])?\.)+(?P<top>[A-Za-z]{{2,24}}|xn--[a-z0-9]{{2,30}}))"
    rf"(?![{_LATIN}]|-[{_LATIN}]|:[A-Za-z~/][\w.\-]*/|@)"
)
_SPELLED_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9])?\s?[\[({]\s?at\s?[\])}]\s?"
    r"[A-Za-z0-9-]+(?:(?:\s?[\[({]\s?dot\s?[\])}]\s?|\.)[A-Za-z0-9-]+)*"
    r"(?:\s?[\[({]\s?dot\s?[\])}]\s?|\.)[A-Za-z]{2,24}(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_FILE_ENDINGS: Final = frozenset(
    {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "mjs", "ts", "tsx", "jsx", "json",
     "html", "yml", "yaml", "py", "service", "timer", "socket", "mount", "target"}
)  # fmt: skip
_IBAN: Final = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=IBAN))[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,40}"
)
_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in (
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FO GL NL"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HU LB PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU"),
        (31, "MT SC"),
        (32, "LC"),
    )
    for country in countries.split()
}
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(
    rf"(?<![A-Za-z0-9_])(?<![A-Za-z0-9_][.\-])(?:{_OCTET}\.){{3}}{_OCTET}(?![A-Za-z0-9_]|\.\d|-[A-Za-z0-9])"
)
_IPV6: Final = re.compile(
    r"(?<![A-Za-z0-9_.])(?<![0-9A-Fa-f_:]:)(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){7}"
    r"|(?=[0-9A-Fa-f:.]*\d)(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?::(?:[0-9A-Fa-f]{1,4}:){0,6}"
    rf"(?:(?:{_OCTET}\.){{3}}{_OCTET}|[0-9A-Fa-f]{{1,4}}))(?:%[a-z0-9]{{2,8}})?(?![A-Za-z0-9_:]|\.\d)"
)
# Four small numbers are a version more often than an address, if no word says which.
_LIKE_A_VERSION: Final = re.compile(r"[1-9]\.(?:1?\d|20)\.\d+\.\d+")
_NOBODYS: Final = ("0.", "127.", "255.")
_LONGEST_IPV6_TEXT_OF_CODE: Final = 5


@dataclass(frozen=True, slots=True)
class Redaction:
    """A text without its structured personal data.

    Attributes:
        text: with placeholders `<KIND_n>`; n is 1 or more, counted by kind.
        counts: how many spans of each kind there were; kinds without any are left out.
        originals: what each placeholder stands for. Keep it where the original may be.
    """

    text: str
    counts: Mapping[Kind, int]
    originals: Mapping[str, str]

    def restore(self, text: str) -> str:
        """Return `text` (this one, or a translation of it) with the originals put back."""
        return restore(text, self.originals)


def find(text: str) -> tuple[Span, ...]:
    """Return the structured personal data in `text`, in order; no spans overlap.

    Placeholders that stand in the text already are left alone.
    """
    if _PERHAPS.search(text) is None:
        return ()
    found: list[Span] = []
    places = [match.span() for match in _PLACEHOLDER.finditer(text)] if "<" in text else []
    while True:
        # What was found becomes one character: so a redacted text looks the same as this one,
        # and what shows only now (a number that stood against another) is found here, too.
        packed = _Packed(text, places)
        new = [
            Span(packed.at(start), packed.at(end), kind) for kind, start, end in _look(packed.text)
        ]
        if not new:
            return tuple(sorted(found))
        found += new
        places = sorted([*places, *((span.start, span.end) for span in new)])


def redact(text: str) -> Redaction:
    """Return `text` with a placeholder for every span that `find` finds."""
    return redact_together([text])[0]


def beginning(redaction: Redaction, characters: int) -> str:
    """Return the first characters of a redacted text, and no part of a placeholder.

    A text is redacted first and cut then: half an address is not found.

    Args:
        redaction: of the whole text.
        characters: at most.
    """
    for match in _PLACEHOLDER.finditer(redaction.text, max(0, characters - _LONGEST_PLACEHOLDER)):
        if match.start() < characters < match.end():
            return redaction.text[: match.start()]
    return redaction.text[:characters]


def redact_together(texts: Sequence[str]) -> tuple[Redaction, ...]:
    """Redact the texts of a conversation: the same value has the same placeholder in all.

    `originals` of each holds what stands in that text.
    """
    taken = {match for text in texts if "<" in text for match in _PLACEHOLDER.findall(text)}
    numbers: Counter[Kind] = Counter()
    known: dict[tuple[Kind, str], str] = {}
    return tuple(_redacted(text, taken, numbers, known) for text in texts)


def restore(text: str, originals: Mapping[str, str]) -> str:
    """Return `text` with every placeholder of `originals` replaced by what it stands for."""
    if not originals:
        return text
    return _PLACEHOLDER.sub(lambda match: originals.get(match.group(), match.group()), text)


def lost_placeholders(text: str, redaction: Redaction) -> tuple[str, ...]:
    """Return the placeholders that do not stand in `text` as often as in the redacted text.

    Args:
        text: a translation of the redacted text.
        redaction: of the original.
    """
    before = Counter(_PLACEHOLDER.findall(redaction.text))
    after = Counter(_PLACEHOLDER.findall(text))
    return tuple(
        sorted(name for name in before.keys() | after.keys() if before[name] != after[name])
    )


def _redacted(
    text: str, taken: set[str], numbers: Counter[Kind], known: dict[tuple[Kind, str], str]
) -> Redaction:
    pieces: list[str] = []
    originals: dict[str, str] = {}
    counts: Counter[Kind] = Counter()
    done = 0
    for span in find(text):
        value = text[span.start : span.end]
        name = known.get((span.kind, value))
        while name is None:
            numbers[span.kind] += 1
            name = f"<{span.kind.upper()}_{numbers[span.kind]}>"
            if name in taken:
                name = None
        known[span.kind, value] = name
        originals[name] = value
        counts[span.kind] += 1
        pieces += (text[done : span.start], name)
        done = span.end
    pieces.append(text[done:])
    return Redaction("".join(pieces), dict(counts), originals)


class _Packed:
    """A text in which some places are one character each, and the way back."""

    def __init__(self, text: str, places: Iterable[tuple[int, int]]) -> None:
        pieces: list[str] = []
        self._starts = [0]  # in the packed text
        self._shifts = [0]
        done = length = 0
        for start, end in places:
            pieces += (text[done:start], _PLACE)
            length += start - done + 1
            done = end
            self._starts.append(length)
            self._shifts.append(end - length)
        pieces.append(text[done:])
        self.text = "".join(pieces) if done else text

    def at(self, position: int) -> int:
        """Return where a position of the packed text is in the whole one."""
        return position + self._shifts[bisect_right(self._starts, position) - 1]


def _look(text: str) -> list[tuple[Kind, int, int]]:
    """Return what is found at one look, the more certain kinds before the others."""
    if not text.isascii() and _TRANSLATED.search(text):
        text = text.translate(_ONE_TO_ONE)
    found: list[tuple[Kind, int, int]] = []
    starts: list[int] = []
    ends: list[int] = []
    for kind, start, end in _candidates(text):
        # Those found do not overlap, so the one before and the one after tell.
        after = bisect_right(starts, start)
        if (after and ends[after - 1] > start) or (after < len(starts) and starts[after] < end):
            continue
        starts.insert(after, start)
        ends.insert(after, end)
        found.append((kind, start, end))
    return found


def _candidates(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield what may be found, in the order in which overlaps are decided."""
    if "@" in text and "://" in text:
        for match in _URL_CREDENTIALS.finditer(text):
            yield Kind.URL_CREDENTIALS, *match.span("user")
    for span in secrets_in(text):
        yield Kind.KEY, *span
    yield from _emails(text)
    if _DIGIT.search(text) is None:
        return
    yield from _addresses(text)
    if _SOME_DIGITS.search(text) is None:
        return
    yield from _ibans(text)
    for match in national_ids.LETTERED.finditer(text):
        if not national_ids.is_lettered(match):
            continue
        hint = hint_at(text, *match.span())
        # In small letters it may be anything: `12345678z`.
        if hint is Hint.NATIONAL_ID or (hint is not Hint.OTHER and not match.group().islower()):
            yield Kind.NATIONAL_ID, *match.span()
    if RUN.search(text):
        yield from numbers_in(text)


def _emails(text: str) -> Iterator[tuple[Kind, int, int]]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            whole = ".." not in match["local"] and match["top"].lower() not in _FILE_ENDINGS
            if whole:
                yield Kind.EMAIL, *match.span()
    if _AT.search(text):
        for match in _SPELLED_EMAIL.finditer(text):
            yield Kind.EMAIL, *match.span()


def _ibans(text: str) -> Iterator[tuple[Kind, int, int]]:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match.group()[:2].upper())
        compact = re.sub(r"[ -]", "", match.group())
        if length is None or len(compact) < length:
            continue
        ends = [m.end() for m in re.finditer(r"[A-Za-z0-9]", match.group())]
        end = match.start() + ends[length - 1]
        if text[end : end + 1].isascii() and text[end : end + 1].isalnum():
            continue
        code = compact[:length].upper()
        if stdnum.iso7064.mod_97_10.is_valid(code[4:] + code[:4]):
            yield Kind.IBAN, match.start(), end


def _addresses(text: str) -> Iterator[tuple[Kind, int, int]]:
    if text.count(".") > 2:  # noqa: PLR2004 - an IPv4 address has three
        for match in _IPV4.finditer(text):
            if match.group().startswith(_NOBODYS):
                continue
            hint = hint_at(text, *match.span())
            as_version = _LIKE_A_VERSION.fullmatch(match.group()) and hint is not Hint.IP
            if hint is not Hint.OTHER and not as_version:
                yield Kind.IP, *match.span()
    if text.count(":") > 1:
        for match in _IPV6.finditer(text):
            if _is_ipv6(match.group()):
                yield Kind.IP, *match.span()


def _is_ipv6(text: str) -> bool:
    """Tell an address from a name of C++ (`Ab::c1`) and from the addresses of nobody."""
    address = text.partition("%")[0]
    if "::" in address and len(address) <= _LONGEST_IPV6_TEXT_OF_CODE:
        return False
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified)
