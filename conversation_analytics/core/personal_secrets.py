# ruff: noqa: RUF001, E501 - a pattern stays on a line, Chinese punctuation is meant
"""Credentials in text: keys by their prefixes, labelled passwords, tokens that look like noise."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.personal_words import Hint, hint_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_PEM: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|[^<]*)",
    re.DOTALL,
)
_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9_])[A-Za-z0-9_][A-Za-z0-9_\-./+:]{14,}[A-Za-z0-9_\-]={0,2}"
)
_PREFIXED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"  # JWT
    r"|sk-(?:[a-z]+-)?[A-Za-z0-9_-]{16,}|[spr]k_(?:live|test)_[A-Za-z0-9]{10,}"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{20,}"
    r"|(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"
    r"|1//[A-Za-z0-9_-]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,}|dckr_pat_[A-Za-z0-9_-]{20,}"
    r"|do[opr]_v1_[a-f0-9]{40,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,}|sq0[a-z]{3}-[A-Za-z0-9_-]{20,}"
    r"|key-[a-f0-9]{32}|(?:AC|SK)[a-f0-9]{32}(?![A-Za-z0-9])|whsec_[A-Za-z0-9+/]{20,}={0,2}"
    r"|gsk_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{30,}|xai-[A-Za-z0-9]{20,}|pplx-[A-Za-z0-9]{20,}"
    r"|tvly-[A-Za-z0-9-]{16,}|app-[A-Za-z0-9]{24}(?![A-Za-z0-9])|dataset-[A-Za-z0-9]{24}(?![A-Za-z0-9])"
    r"|LTAI[A-Za-z0-9]{12,24}|AKID[A-Za-z0-9]{28,}|sbp_[a-f0-9]{30,}|lin_api_[A-Za-z0-9]{30,}"
    r"|fig[dou]_[A-Za-z0-9_-]{30,}|NRAK-[A-Z0-9]{20,}|secret_[A-Za-z0-9]{40,}|ntn_[A-Za-z0-9]{40,}"
    r"|hv[sbr]\.[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{50,}|[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}"
    r"|EAA[A-Za-z0-9]{40,}|sntry[su]_[A-Za-z0-9_+/=-]{30,}|patAT?[A-Za-z0-9]{10,}\.[a-f0-9]{40,}"
    r"|phc_[A-Za-z0-9]{30,}|rnd_[A-Za-z0-9]{20,}|glsa_[A-Za-z0-9_]{30,}|ATATT3[A-Za-z0-9_=-]{40,}"
    r"|nc_pat_[A-Za-z0-9_-]{20,}|xkeysib-[a-f0-9]{40,}[A-Za-z0-9-]*|re_[A-Za-z0-9]{8,}_[A-Za-z0-9]{16,}"
    r")"
)  # fmt: skip
_LABELS: Final = (
    "pass", "pwd", "secret", "key", "token", "bearer", "contrase", "clave", "senha", "kennwort",
    "sandi", "mật khẩu", "รหัสผ่าน", "密码", "口令", "密钥", "令牌", "คีย์", "โทเคน", "chave",
)  # fmt: skip
_LABELLED: Final = re.compile(
    r"(?<![a-z])(?P<label>pass(?:word|wd|phrase|wort|code)?|pwd|mot de passe|contraseña|clave|senha"
    r"|kennwort|kata sandi|mật khẩu|รหัสผ่าน|密码|口令"
    r"|(?:[a-z]{1,20}[_-]){0,4}(?:secret|api[_ -]?key|apikey|private[_ -]?key|access[_ -]?key|secret[_ -]?key"
    r"|encryption[_ -]?key|token|password|passwd|clave de api|chave de api)(?:[_ -]?(?:key|id))?"
    r"|密钥|令牌|คีย์|โทเคน)[\"']?"
    r"(?P<link>\s{0,3}(?:=>|[:=：])\s{0,3}|\s(?:is|es|é|est|ist|lautet|adalah|là|คือ)\s{1,2}|\s?[是为คือ]{1,3}\s?)"
    r"[\"'`“「]?(?P<value>[!-~]{6,200})",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(
    r"(?<![a-z])bearer\s+(?P<value>[A-Za-z0-9._~+/-]{16,}={0,2})", re.IGNORECASE
)
_PARAMETER: Final = re.compile(
    r"[?&#;](?:[a-z_-]{0,40}(?:key|token|secret|sig|signature|passwd|password|pwd|auth))=(?P<value>[^\s&#\"'<>;]{6,})",
    re.IGNORECASE,
)
_END: Final = "\"'`”」,;.)]}>?。"
_NO_VALUE: Final = re.compile(
    r"[<\[({$%*].*|[*x•.]+|https?://.*|(?:your|my|the|example|null|none|true|false|undefined)[\w-]*"
    r"|[\w.]+\(.*|\d{1,3}-\d{1,3}|[a-z_.]+\[.*",
    re.IGNORECASE,
)
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URL: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[!-~]+|www\.[!-~]+|data:[a-z]+/[!-~]+")
_NOISE: Final = re.compile(r"[A-Za-z0-9_\-+/]{24,128}={0,2}")
_SHORT_VALUE, _LONG_VALUE = 6, 12
_PLAIN_NOISE: Final = 32  # characters of a token that no word calls a secret


def secrets_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of every credential in `text`; they may overlap.

    Args:
        text: with ASCII separators.
    """
    if "PRIVATE KEY" in text:
        yield from (match.span() for match in _PEM.finditer(text))
    tokens = list(_TOKEN.finditer(text))
    for token in tokens:
        for match in _PREFIXED.finditer(token.group()):
            word = match.group()
            tail = word[4:]
            mixed = not (tail.islower() or tail.isupper())
            if mixed or word.isupper() or any(char.isdigit() for char in tail):
                yield token.start() + match.start(), token.start() + match.end()
    lower = text.lower()
    for label in _LABELS:  # a loop: a third of the time of a generator, for every text
        if label in lower:
            yield from _labelled(text)
            break
    if "=" in text:
        yield from (match.span("value") for match in _PARAMETER.finditer(text))
    if tokens:
        yield from _noise(text, tokens)


def _labelled(text: str) -> Iterator[tuple[int, int]]:
    for match in _BEARER.finditer(text):
        if re.search(r"\d", match["value"]):
            yield match.span("value")
    for match in _LABELLED.finditer(text):
        value = match["value"].rstrip(_END)
        says_so = any(sign in match["link"] for sign in ":=：")
        if _is_value(value, match["label"].lower(), says_so=says_so):
            yield match.start("value"), match.start("value") + len(value)


def _is_value(value: str, label: str, *, says_so: bool) -> bool:
    """Tell a credential from a word that happens to stand behind `password`."""
    is_password = not re.search(r"key|token|secret|密钥|令牌|คีย์|โทเคน", label)
    if _NO_VALUE.fullmatch(value):
        return False
    has_digit = re.search(r"\d", value) is not None
    has_letter = re.search(r"[A-Za-z]", value) is not None
    has_sign = re.search(r"[^A-Za-z0-9.,'\-/]", value) is not None
    if not is_password:
        return len(value) >= _LONG_VALUE and has_digit and has_letter
    if says_so:
        return len(value) >= _SHORT_VALUE and (has_digit or has_sign)
    return len(value) >= _SHORT_VALUE and has_letter and (has_digit or has_sign)


def _noise(text: str, tokens: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    urls = (
        [match.span() for match in _URL.finditer(text)]
        if "://" in text or "www" in text or "data:" in text
        else []
    )
    starts = [first for first, _ in urls]
    for token in tokens:
        start, end = token.span()
        before = bisect_right(starts, start)
        if before and start < urls[before - 1][1]:
            continue
        for match in _NOISE.finditer(text, start, end):
            at, to = match.span()
            word = match.group()
            if (to < end and text[to] in ":.") or (at > start and text[at - 1] in ":."):
                continue  # a part of something with a structure of its own
            if _UUID.search(word) or (len(word) < _PLAIN_NOISE and not re.search(r"\d", word)):
                continue
            called = hint_at(text, at, to) is Hint.SECRET
            if _HEX.fullmatch(word):
                if called:
                    yield at, to
            elif _is_noise(word, called=called):
                yield at, to


def _is_noise(word: str, *, called: bool) -> bool:
    """Tell a random token from names, paths and sentences with hyphens."""
    digits = sum(char.isdigit() for char in word)
    upper = sum("A" <= char <= "Z" for char in word)
    lower = sum("a" <= char <= "z" for char in word)
    if digits < 2 or not (upper and lower) or word.count("/") > 3:  # noqa: PLR2004
        return False
    if not called and (len(word) < _PLAIN_NOISE or upper < 3 or lower < 3):  # noqa: PLR2004
        return False
    counts = Counter(word)
    entropy = -sum(n / len(word) * math.log2(n / len(word)) for n in counts.values())
    # Random letters change case and class all the time; words and camel case do not.
    turns = sum(_class(a) != _class(b) for a, b in pairwise(word))
    return entropy >= (3.5 if called else 4.0) and turns >= len(word) * (0.3 if called else 0.4)


def _class(char: str) -> int:
    if char.isdigit():
        return 0
    return 1 if char.isupper() else 2 if char.islower() else 3
