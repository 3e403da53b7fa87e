# ruff: noqa: E501 - a shape, or a number with its rule, stays on a line
"""Made-up values for the labelled set of personal data: right ones, and ones that only look so."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import stdnum.iso7064.mod_97_10
import stdnum.luhn

if TYPE_CHECKING:
    from random import Random

Maker = Callable[["Random"], str]

_ALNUM: Final = string.ascii_letters + string.digits
_LOWER_ALNUM: Final = string.ascii_lowercase + string.digits
_BREAK: Final = str.maketrans("0123456789", "1234567890")


def _digits(rng: Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def _text(rng: Random, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


def _shaped(rng: Random, *shapes: str) -> str:
    """Fill one of the shapes: `#` is a digit, `N` one of 2 to 9, what else stands stays."""
    fill = {"#": string.digits, "N": "23456789"}
    return "".join(rng.choice(fill[char]) if char in fill else char for char in rng.choice(shapes))


_PHONES: Final[dict[str, tuple[str, ...]]] = {
    "th": ("08#-###-####", "09########", "06# ### ####", "02-###-####", "+66 8# ### ####", "+668########",
           "(+66) 8#-###-####", "0 53## ####"),
    "vi": ("09# ### ## ##", "03########", "09##.###.###", "+84 9# ### ## ##", "(024) 3### ####",
           "+849########"),
    "zh": ("138########", "139 #### ####", "186-####-####", "010-6### ####", "+86 137 #### ####",
           "021-6#######", "+8613#########"),
    "id": ("0812-####-####", "0813########", "0857 #### ####", "+62 812-####-####", "(021) 5###-####",
           "+62813########"),
    "es": ("6## ### ###", "6########", "91 ### ## ##", "+34 6## ### ###", "+346########", "6##-###-###",
           "+52 55 #### ####", "55 5### ####", "(55) 5###-####"),
    "pt": ("91# ### ###", "96#######", "21# ### ###", "+351 91# ### ###", "(11) 9####-####",
           "+55 11 9####-####", "11 9####-####", "(21) 3###-####"),
    "fr": ("06 ## ## ## ##", "07########", "01.4#.##.##.##", "+33 6 ## ## ## ##", "+336########",
           "06-##-##-##-##"),
    "de": ("0151 ########", "0171/#######", "030 ########", "+49 151 ########", "089-#######",
           "+49 (0)30 ########", "0176########"),
    "en": ("(212) N##-####", "415-N##-####", "310.N##.####", "+1 415-N##-####", "1-800-N##-####",
           "+44 7911 1#####", "07911 1#####", "020 7### ####", "+1 (646) N##-####"),
}  # fmt: skip


def phone(language: str) -> Maker:
    """Return a maker of telephone numbers as they are written where the language is spoken."""
    shapes = _PHONES[language]
    return lambda rng: _shaped(rng, *shapes)


def email(rng: Random) -> str:
    """Return an e-mail address."""
    names = ("anna", "somchai", "li.wei", "nguyen.van.a", "budi_s", "j.garcia", "maria+shop", "k-mueller",
             "jürgen", "o'neill", "x", "info", "first.last", "user99")  # fmt: skip
    hosts = ("example.com", "mail.example.org", "example.co.th", "example.com.br", "exa-mple.de",
             "qq.example.cn", "example.museum", "sub.dom.example.io", "EXAMPLE.COM")  # fmt: skip
    extra = _digits(rng, rng.randrange(4))
    name = rng.choice(names) + extra
    return f"{name}@{rng.choice(hosts)}"


def iban(rng: Random) -> str:
    """Return an IBAN with right check digits, in groups or not."""
    country, bban = rng.choice(
        [
            ("DE", _digits(rng, 18)), ("ES", _digits(rng, 20)), ("PT", _digits(rng, 21)),
            ("GB", "NWBK" + _digits(rng, 14)), ("NL", "ABNA" + _digits(rng, 10)),
            ("FR", _digits(rng, 21) + rng.choice(string.ascii_uppercase) + _digits(rng, 1)),
            ("BR", _digits(rng, 23) + "P1"), ("CH", _digits(rng, 17)), ("NO", _digits(rng, 11)),
        ]
    )  # fmt: skip
    check = stdnum.iso7064.mod_97_10.calc_check_digits(bban + country)
    whole = f"{country}{check}{bban}"
    if rng.random() < 0.5:  # noqa: PLR2004
        return whole
    return " ".join(whole[start : start + 4] for start in range(0, len(whole), 4))


def card(rng: Random) -> str:
    """Return a card number of one of the issuers, in groups or not."""
    prefix, length = rng.choice(
        [("4", 16), ("51", 16), ("55", 16), ("2223", 16), ("34", 15), ("37", 15), ("6011", 16),
         ("3530", 16), ("62", 16), ("36", 14), ("6521", 16)]
    )  # fmt: skip
    body = prefix + _digits(rng, length - len(prefix) - 1)
    whole = body + stdnum.luhn.calc_check_digit(body)
    style = rng.choice(["", " ", "-"])
    sizes = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}[length]
    groups, at = [], 0
    for size in sizes:
        groups.append(whole[at : at + size])
        at += size
    return style.join(groups)


def ip(rng: Random) -> str:
    """Return an IPv4 or IPv6 address of a host."""
    if rng.random() < 0.65:  # noqa: PLR2004
        first = rng.choice([8, 10, 37, 52, 91, 172, 185, 192, 203, 213])
        return ".".join(
            str(n) for n in (first, rng.randrange(256), rng.randrange(256), 1 + rng.randrange(254))
        )
    groups = [f"{rng.randrange(1, 65536):x}" for _ in range(6)]
    return rng.choice([f"2001:db8:{':'.join(groups)}", f"2a02:{groups[0]}::{groups[1]}:{groups[2]}",
                       f"fe80::{groups[0]}:{groups[1]}:{groups[2]}:{groups[3]}",
                       f"2001:db8:{groups[0]}::1"])  # fmt: skip


def key(rng: Random) -> str:
    """Return an API key, a token, or a private key."""
    part = base64.urlsafe_b64encode(
        json.dumps({"sub": _digits(rng, 10), "iat": 1700000000}).encode()
    ).decode().rstrip("=")  # fmt: skip
    return rng.choice(
        [
            f"sk-{_text(rng, _ALNUM, 48)}", f"sk-proj-{_text(rng, _ALNUM + '_-', 60)}x",
            f"sk-ant-api03-{_text(rng, _ALNUM, 50)}", f"ghp_{_text(rng, _ALNUM, 36)}",
            f"glpat-{_text(rng, _ALNUM, 20)}", f"xoxb-{_digits(rng, 12)}-{_text(rng, _ALNUM, 24)}",
            f"AKIA{_text(rng, string.ascii_uppercase + '234567', 16)}", f"AIza{_text(rng, _ALNUM, 35)}",
            f"sk_live_{_text(rng, _ALNUM, 24)}", f"hf_{_text(rng, _ALNUM, 34)}",
            f"app-{_text(rng, _ALNUM, 24)}", f"SG.{_text(rng, _ALNUM, 22)}.{_text(rng, _ALNUM, 43)}",
            f"eyJhbGciOiJIUzI1NiJ9.{part}.{_text(rng, _ALNUM + '_-', 42)}a",
            f"npm_{_text(rng, _ALNUM, 36)}", f"{_text(rng, _ALNUM, 20)}7aB{_text(rng, _ALNUM, 22)}",
            f"{_digits(rng, 10)}:AA{_text(rng, _ALNUM, 33)}",
            "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(_text(rng, _ALNUM, 64) for _ in range(3))
            + "\n-----END RSA PRIVATE KEY-----",
        ]
    )  # fmt: skip


def password(rng: Random) -> str:
    """Return a password: only a label tells what it is."""
    return rng.choice(
        [f"{_text(rng, _LOWER_ALNUM, 7)}{_digits(rng, 2)}", f"S{_text(rng, _LOWER_ALNUM, 6)}#{_digits(rng, 2)}",
         f"winter{_digits(rng, 4)}", f"P@ss{_text(rng, _ALNUM, 6)}"]
    )  # fmt: skip


def url_credentials(rng: Random) -> str:
    """Return user and password as they stand in a URL."""
    return f"{rng.choice(['admin', 'root', 'app_user', 'deploy'])}:{_text(rng, _ALNUM + '-_!', 10)}"


def thai_pin(rng: Random) -> str:
    """Return a Thai citizen number."""
    body = str(rng.randrange(1, 9)) + _digits(rng, 11)
    check = (11 - sum((13 - i) * int(d) for i, d in enumerate(body)) % 11) % 10
    d = f"{body}{check}"
    return d if rng.random() < 0.5 else f"{d[0]}-{d[1:5]}-{d[5:10]}-{d[10:12]}-{d[12]}"  # noqa: PLR2004


def chinese_id(rng: Random) -> str:
    """Return a Chinese resident number."""
    place = rng.choice(["110105", "310115", "440305", "510104"])
    body = f"{place}{rng.randrange(1950, 2006)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}{_digits(rng, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]


def vietnamese_id(rng: Random) -> str:
    """Return a number of the shape of a CCCD."""
    return f"{rng.choice(['001', '079', '048', '031'])}{rng.randrange(4)}{_digits(rng, 8)}"


def indonesian_id(rng: Random) -> str:
    """Return a number of the shape of a NIK."""
    day = rng.randrange(1, 29) + rng.choice([0, 40])
    place = rng.choice(["317101", "327301", "357801", "517103"])
    return f"{place}{day:02}{rng.randrange(1, 13):02}{rng.randrange(60, 100)}{1 + rng.randrange(900):04}"


def spanish_id(rng: Random) -> str:
    """Return a DNI or a NIE."""
    letters = "TRWAGMYFPDXBNJZSQVHLCKE"
    number = _digits(rng, 8)
    if rng.random() < 0.3:  # noqa: PLR2004
        first = rng.choice("XYZ")
        return f"{first}{number[:7]}{letters[int(str('XYZ'.index(first)) + number[:7]) % 23]}"
    link = rng.choice(["", "", "-", " "])
    return f"{number}{link}{letters[int(number) % 23]}"


def portuguese_id(rng: Random) -> str:
    """Return a NIF."""
    body = rng.choice("125") + _digits(rng, 7)
    check = 11 - sum((9 - i) * int(d) for i, d in enumerate(body)) % 11
    d = f"{body}{check if check < 10 else 0}"  # noqa: PLR2004
    return d if rng.random() < 0.7 else f"{d[:3]} {d[3:6]} {d[6:]}"  # noqa: PLR2004


def _cpf_digits(body: str, first: int) -> str:
    for start in (first, first + 1):
        weights = range(start, 1, -1)
        rest = sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11
        body += str(0 if rest < 2 else 11 - rest)  # noqa: PLR2004
    return body


def brazilian_id(rng: Random) -> str:
    """Return a CPF or a CNPJ."""
    if rng.random() < 0.7:  # noqa: PLR2004
        d = _cpf_digits(_digits(rng, 9), 10)
        return d if rng.random() < 0.3 else f"{d[:3]}.{d[3:6]}.{d[6:9]}-{d[9:]}"  # noqa: PLR2004
    body = _digits(rng, 8) + "0001"
    for weights in ((5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)):
        rest = sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11
        body += str(0 if rest < 2 else 11 - rest)  # noqa: PLR2004
    return f"{body[:2]}.{body[2:5]}.{body[5:8]}/{body[8:12]}-{body[12:]}"


def french_id(rng: Random) -> str:
    """Return a NIR with its key."""
    body = f"{rng.choice('12')}{rng.randrange(40, 100)}{rng.randrange(1, 13):02}{rng.randrange(10, 96)}{_digits(rng, 6)}"
    d = f"{body}{97 - int(body) % 97:02}"
    if rng.random() < 0.4:  # noqa: PLR2004
        return d
    return f"{d[0]} {d[1:3]} {d[3:5]} {d[5:7]} {d[7:10]} {d[10:13]} {d[13:]}"


def german_id(rng: Random) -> str:
    """Return a tax identification number."""
    digits = list("1234567890")
    rng.shuffle(digits)
    body = digits[:9]
    body.append(body[rng.randrange(9)])
    rng.shuffle(body)
    if body[0] == "0":
        body[0], body[1] = body[1], body[0]
    if body[0] == "0":
        body[0], body[2] = body[2], body[0]
    check = 10
    for digit in body:
        total = (int(digit) + check) % 10 or 10
        check = total * 2 % 11
    d = "".join(body) + str((11 - check) % 10)
    return d if rng.random() < 0.5 else f"{d[:2]} {d[2:5]} {d[5:8]} {d[8:]}"  # noqa: PLR2004


def english_id(rng: Random) -> str:
    """Return a US social security number or a UK national insurance number."""
    if rng.random() < 0.5:  # noqa: PLR2004
        return f"{rng.randrange(100, 666)}-{rng.randrange(1, 100):02}-{rng.randrange(1, 10000):04}"
    d = _digits(rng, 6)
    first = rng.choice(["AB", "CE", "JK", "PR", "SX"])
    tail = rng.choice("ABCD")
    return rng.choice([f"{first}{d}{tail}", f"{first} {d[:2]} {d[2:4]} {d[4:]} {tail}"])


NATIONAL_IDS: Final[dict[str, tuple[Maker, ...]]] = {
    "th": (thai_pin,), "vi": (vietnamese_id,), "zh": (chinese_id,), "id": (indonesian_id,),
    "es": (spanish_id,), "pt": (portuguese_id, brazilian_id), "fr": (french_id,), "de": (german_id,),
    "en": (english_id,),
}  # fmt: skip


def broken(maker: Maker) -> Maker:
    """Return a maker of the same values with the last digit another one."""

    def make(rng: Random) -> str:
        value = maker(rng)
        return value[:-1] + value[-1].translate(_BREAK)

    return make


def _numeric_iban(rng: Random) -> str:
    bban = _digits(rng, 18)
    return f"DE{stdnum.iso7064.mod_97_10.calc_check_digits(bban + 'DE')}{bban}"


def _broken_dni(rng: Random) -> str:
    number = _digits(rng, 8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[(int(number) + 1 + rng.randrange(21)) % 23]


def _broken_cpf(rng: Random) -> str:
    d = _cpf_digits(_digits(rng, 9), 10)
    d = d[:-1] + d[-1].translate(_BREAK)
    return f"{d[:3]}.{d[3:6]}.{d[6:9]}-{d[9:]}"


BROKEN: Final[dict[str, Maker]] = {
    "card, wrong check digit": broken(card),
    "IBAN, wrong check digits": broken(_numeric_iban),
    "Thai number, wrong check digit": broken(thai_pin),
    "DNI, wrong letter": _broken_dni,
    "CPF, wrong check digit": _broken_cpf,
    "NIR, wrong key": broken(french_id),
    "SSN that is never given": lambda rng: f"{rng.choice(['000', '666'])}-{_shaped(rng, 'N#-####')}",
    "IP, octet too large": lambda rng: _shaped(rng, "3##.1#.2#.#", "1N.4##.#.1", "256.1.2.#"),
}  # fmt: skip


NEGATIVES: Final[dict[str, Maker]] = {
    "order": lambda rng: _shaped(
        rng, "########", "#########", "##########", "###########", "############", "2026110#####",
        "ORD-########", "#####-#####", "2026-######", "INV-2026-#####", "11#-#######-#######",
    ),
    "tracking": lambda rng: _shaped(
        rng, "1Z999AA1########", "RB#########CN", "LX#########TH", "JD0146########", "############",
        "9400 1### #### #### #### ##", "SF##########", "7#############",
    ),
    "date": lambda rng: _shaped(
        rng, "2026-11-2#", "1#/10/2026", "2#.11.2026", "2026/11/0#", "1#-0N-2026", "202611 1#",
        "2026-11-1# 1#:3#", "2026-11-1#T1#:3#:0#Z", "1#/11/2569", "2026年11月2#日", "2#h30 1#/11",
    ),
    "version": lambda rng: _shaped(
        rng, "v2.#.#", "N.#.1#", "v1.2.3.#", "10.0.190##.1###", "3.1#.0-rc1", "2026.11.#", "1.#.#.#",
    ),
    "price": lambda rng: _shaped(
        rng, "$1,###,###.00", "1.###.###,## €", "Rp 1#.###.###", "12.###.000 ₫", "฿1##,###",
        "¥1#####.00", "1 ### ### EUR", "R$ 1#.###,##", "###.000.000 VND", "USD 1#######", "1####### บาท",
    ),
    "UUID": lambda rng: _shaped(
        rng, "N#N#####-N#N#-4###-9###-############", "550e8400-e29b-41d4-a716-44665544####",
    ),
    "coordinates": lambda rng: _shaped(
        rng, "13.7#####, 100.5#####", "-33.86####,151.20####", "40.4#####° N, 3.70####° W", "48.8566##,2.3522##",
    ),
    "hash": lambda rng: _text(rng, "0123456789abcdef", rng.choice([7, 32, 40, 64])),
    "mention": lambda rng: _shaped(
        rng, "@user####", "@anna_##", "icon@2x.png", "logo@3x.jpg", "lodash@4.17.2#", "git@github.com:org/repo##.git",
        "user@localhost", "a @ b", "x@y",
    ),
    "time": lambda rng: _shaped(rng, "1#:3#", "1#:4#:0#", "08:##-17:##", "1#:00 - 1#:30", "17000#####", "17000########"),
    "code": lambda rng: _shaped(
        rng, "std::vector<int##>", "0x####1a2b", "ISBN 978-3-16-1484##-#", "a1:b2:c3:d4:e5:##",
        "ABC-########", "SKU########", "user_########", "img_2026110#_1#3###.jpg", "#.#.#.#.#.#",
        "A##B########", "/var/log/app-2026111#.log", "--width=1#######px", "f(x)=########x",
        "com.example.application.MainActivity##", "https://example.com/articles/########/some-title-##",
    ),
    "count": lambda rng: _shaped(
        rng, "1 ### ###", "1,###,###", "1.###.###", "1#######", "##%", "1##.####", "1e10", "100-200", "2019-2024",
    ),
}  # fmt: skip
