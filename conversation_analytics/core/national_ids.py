"""Numbers by which states and banks know people: which shapes and check digits hold."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

import stdnum.br.cnpj
import stdnum.br.cpf
import stdnum.de.idnr
import stdnum.es.dni
import stdnum.es.nie
import stdnum.fr.nir
import stdnum.gb.nhs
import stdnum.id.nik
import stdnum.iso7064.mod_11_2
import stdnum.luhn
import stdnum.mx.curp
import stdnum.mx.rfc
import stdnum.pt.cc
import stdnum.pt.nif
import stdnum.th.pin

if TYPE_CHECKING:
    from collections.abc import Callable

_CCCD: Final = re.compile(
    r"0(?:0[1246-8]|1[0-9]|2[0-7]|3[0-8]|4[0-9]|5[1-8]|6[0-8]|7[0-9]|8[0-9]|9[1-6])[0-3]\d{8}"
)
_NIR: Final = re.compile(r"[12378]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{8}")
# Places were renumbered over the years: only the province is looked at.
_RIC: Final = re.compile(
    r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])\d{4}(?:19|20)\d{9}[\dX]"
)
_RIC_BORN: Final = slice(6, 14)
_ISSUERS: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|4[4-9]\d|5\d{2})\d{12,15}"  # Discover, RuPay
    r"|3(?:0[0-59]|[689]\d)\d{11,16}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|62\d{14,17}|81[0-7]\d{13}"  # UnionPay
    r"|220[0-4]\d{12,15}"  # Mir
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"  # Maestro
)


def is_card(digits: str) -> bool:
    """Tell whether the digits are a card number: issuer, length and Luhn's check digit."""
    return (
        _ISSUERS.fullmatch(digits) is not None
        and stdnum.luhn.is_valid(digits)
        and len(set(digits)) > 1
    )


def is_thai_pin(digits: str) -> bool:
    """Tell whether 13 digits are a Thai citizen number."""
    return digits[0] != "9" and stdnum.th.pin.is_valid(digits)


def is_chinese_id(text: str) -> bool:
    """Tell whether 18 characters are a Chinese resident number: date, place and check digit."""
    return (
        _RIC.fullmatch(text.upper()) is not None
        and stdnum.iso7064.mod_11_2.is_valid(text.upper())
        and _is_date(text[_RIC_BORN])
    )


def is_vietnamese_id(digits: str) -> bool:
    """Tell whether 12 digits have the shape of a CCCD: province, century and sex, year."""
    return _CCCD.fullmatch(digits) is not None


def is_indonesian_id(digits: str) -> bool:
    """Tell whether 16 digits have the shape of a NIK: region, date of birth, number."""
    return digits[-4:] != "0000" and stdnum.id.nik.is_valid(digits)


def is_nir(text: str) -> bool:
    """Tell whether 15 characters are a French social security number with its key."""
    return _NIR.fullmatch(text.upper()) is not None and stdnum.fr.nir.is_valid(text.upper())


def is_us_ssn(digits: str) -> bool:
    """Tell whether 9 digits may be a US social security or taxpayer number."""
    if digits[0] == "9":  # ITIN
        return 50 <= int(digits[3:5]) <= 99 and digits[3:5] not in ("66", "89", "93")  # noqa: PLR2004
    return digits[:3] not in ("000", "666") and digits[3:5] != "00" and digits[5:] != "0000"


CHECKED: Final[dict[int, tuple[Callable[[str], bool], ...]]] = {
    9: (stdnum.pt.nif.is_valid, is_us_ssn),
    10: (stdnum.gb.nhs.is_valid,),
    11: (stdnum.br.cpf.is_valid, stdnum.de.idnr.is_valid),
    12: (is_vietnamese_id,),
    13: (is_thai_pin,),
    14: (stdnum.br.cnpj.is_valid,),
    15: (is_nir,),
    16: (is_indonesian_id,),
    18: (is_chinese_id,),
}
"""Numbers of so many digits, and what holds of one that belongs to a person or a company."""

# An old Vietnamese CMND has nine digits and no check: a word has to say what it is.
CMND_WORD: Final = re.compile(r"cmnd|cmt|chứng minh|căn cước")

_DNI: Final = r"\d{8}(?:[ -]?[A-HJ-NP-TV-Z]|[a-hj-np-tv-z])|\d{2}\.\d{3}\.\d{3}[ -]?[A-HJ-NP-TV-Z]"
_NIE: Final = r"[XYZ][ -]?\d{7}[ -]?[A-HJ-NP-TV-Z]|[xyz]\d{7}[a-hj-np-tv-z]"
_NINO: Final = (
    r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    r"(?:[ -]?\d{2}){3}[ -]?[A-D]"
)


def _is_rfc(text: str) -> bool:
    return bool(stdnum.mx.rfc.is_valid(text, validate_check_digits=True))


_LETTERED: Final[tuple[tuple[str, str, Callable[[str], bool]], ...]] = (
    ("ric", r"\d{17}[Xx]", is_chinese_id),
    ("curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z\d]\d", stdnum.mx.curp.is_valid),
    ("nir", r"[12][ ]?\d{2}[ ]?\d{2}[ ]?2[AB][ ]?\d{3}[ ]?\d{3}[ ]?\d{2}", is_nir),
    ("cc", r"\d{8}[ -]?\d[ -]?[A-Z]{2}\d", stdnum.pt.cc.is_valid),
    ("dni", _DNI, stdnum.es.dni.is_valid),
    ("nie", _NIE, stdnum.es.nie.is_valid),
    ("nino", _NINO, lambda _: True),
    ("nif", r"PT ?\d{9}", stdnum.pt.nif.is_valid),
    ("rfc", r"[A-ZÑ&]{4}\d{6}[A-Z\d]{3}", _is_rfc),
)
LETTERED: Final = re.compile(
    r"(?<![A-Za-z0-9_])(?<![A-Za-z0-9_][-./])(?:"
    + "|".join(f"(?P<{name}>{pattern})" for name, pattern, _ in _LETTERED)
    + r")(?![A-Za-z0-9_]|[-/][A-Za-z0-9])"
)
"""National numbers with letters in them; `is_lettered` tells whether one holds."""
_CHECKS: Final = {name: check for name, _, check in _LETTERED}


def is_lettered(match: re.Match[str]) -> bool:
    """Tell whether a match of `LETTERED` passes the check of its kind."""
    name = match.lastgroup or ""
    text = match.group().upper()
    return bool(_CHECKS[name](re.sub(r"[ .-]", "", text)))


def _is_date(born: str) -> bool:
    try:
        dt.date(int(born[:4]), int(born[4:6]), int(born[6:]))
    except ValueError:
        return False
    return True
