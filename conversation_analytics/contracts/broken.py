"""The failure of a contract test."""

from __future__ import annotations

from typing import NoReturn


class ContractBrokenError(AssertionError):
    """An extension does not do what the platform relies on; says what, expected against got."""


def broken(what: str, expected: str, got: object) -> NoReturn:
    """Fail.

    Raises:
        ContractBrokenError: always.
    """
    raise ContractBrokenError(f"{what}: expected {expected}, got {got}")
