"""Kinds of structured personal data, and where one stands in a text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is found; the value is the placeholder's name in lower case."""

    EMAIL = "email"
    PHONE = "phone"
    IBAN = "iban"
    CARD = "card"
    IP = "ip"
    KEY = "key"
    """A credential: API key, token, password behind its label, private key."""
    URL_CREDENTIALS = "url_credentials"
    """User and password in front of a URL's host."""
    NATIONAL_ID = "national_id"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where something of a person stands: `text[start:end]`, in code points."""

    start: int
    end: int
    kind: Kind
