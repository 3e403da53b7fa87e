"""Pseudonyms in place of user ids: the same person has the same one, and nobody sees who it is.

A pseudonym is `u_` and 26 characters: base32 (small letters) of the first 128 bits of
HMAC-SHA256 of the id under a key of its own. Without the key nobody can go from a pseudonym to an
id, nor try ids until one fits; with it, the pseudonym of a known id can be made again. It is no
anonymity: what people write stays, and who has the key can find a person.

Rows are rewritten where they are read, before anything stores them. Digests of the source are
over the plain row, so that somebody who knows the rest of it could try ids: they go through the
same key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from conversation_analytics.core.json_text import members
from conversation_analytics.core.values import decode_json, encode_json

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from conversation_analytics.core.contract import Contract
    from conversation_analytics.core.source import Source, SourceTable

USER_COLUMNS: Final = frozenset(
    {
        "from_end_user_id", "from_account_id", "user_id", "end_user_id", "account_id",
        "read_account_id", "external_user_id", "session_id", "created_by", "updated_by",
        # NocoDB's own: objects with id, name and e-mail address.
        "createdby", "updatedby", "nc_created_by", "nc_updated_by",
    }
)  # fmt: skip
"""Columns that hold users, in lower case; titles match whatever their case."""
SHORTEST_KEY: Final = 32  # characters
FORMAT: Final = "u_ + base32 of 128 bits of HMAC-SHA256"
_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Makes pseudonyms under one key.

    Attributes:
        key: the secret, as text.
        columns: titles of further columns at the source that hold users.
    """

    key: str = field(repr=False)
    columns: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """Digest that tells keys (and columns) apart and gives none away: 32 hexadecimals."""
        titles = sorted(title.lower() for title in self.columns)
        return self._mac("key", "\0".join(titles)).hex()[: 2 * _BYTES]

    def pseudonym(self, user_id: str) -> str:
        """Return the pseudonym of an id."""
        code = base64.b32encode(self._mac("user", user_id)[:_BYTES]).decode()
        return f"u_{code.rstrip('=').lower()}"

    def digest(self, plain: str) -> str:
        """Return a digest that is equal where `plain` is, and tells nothing of the row."""
        return self._mac("row", plain).hex()[: 2 * _BYTES] if plain else plain

    def row(self, payload: str, titles: frozenset[str]) -> str:
        """Return a row as served with pseudonyms in its user columns; the rest keeps its bytes.

        Empty ids and nulls stay. What is no id (an object, a fraction) becomes a list with its
        pseudonym: so it still is no id, and the row a dead letter where it was one.

        Args:
            payload: JSON text of the row.
            titles: of user columns, in lower case.
        """
        try:
            found = members(payload.encode("utf-8", "replace"))
        except ValueError:
            # Nothing says which part is a user: none of it is kept.
            return encode_json(f"a row of {len(payload)} characters that is no object: withheld")
        if not any(title.lower() in titles for title in found):
            return payload
        return (
            "{"
            + ",".join(
                f"{encode_json(title)}:"
                + (
                    self._value(bytes(value))
                    if title.lower() in titles
                    else bytes(value).decode("utf-8", "replace")
                )
                for title, value in found.items()
            )
            + "}"
        )

    def _value(self, text: bytes) -> str:
        shown = text.decode("utf-8", "replace").strip()
        try:
            value = decode_json(shown)
        except ValueError:
            return encode_json([self.pseudonym(shown)])
        if value is None or value == "":
            return shown
        if isinstance(value, str):
            return encode_json(self.pseudonym(value))
        if type(value) is int:
            return encode_json(self.pseudonym(str(value)))
        return encode_json([self.pseudonym(shown)])

    def _mac(self, purpose: str, text: str) -> bytes:
        message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key.encode(), message, hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class PseudonymousSource:
    """A source whose rows hold pseudonyms instead of user ids.

    Attributes:
        source: where the rows come from.
        pseudonyms: what makes the pseudonyms.
        contract: how the source names its columns.
    """

    source: Source
    pseudonyms: Pseudonyms
    contract: Contract

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Return the rows created in `[start, end)` (aware UTC), in the raw schema."""
        return self._rows(table, self.source.read_window(table, start, end))

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        """Return the rows without a time of creation, in the raw schema."""
        return self._rows(table, self.source.read_undated(table))

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        """Return the rows with these ids of rows, in the raw schema."""
        return self._rows(table, self.source.read_ids(table, ids))

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        """Return the rows created or updated since; fingerprints as in the raw frames."""
        shown = self.source.changes_since(table, since)
        return shown.with_columns(fingerprint=self._digests(shown["fingerprint"]))

    def describe(self) -> dict[str, str]:
        """Return what the operator may know about the source."""
        return {**self.source.describe(), "user_ids": "pseudonyms"}

    def close(self) -> None:
        """Give back connections."""
        self.source.close()

    def _rows(self, table: SourceTable, rows: pl.DataFrame) -> pl.DataFrame:
        titles = user_titles(self.contract, table, self.pseudonyms.columns)
        payloads = [self.pseudonyms.row(payload, titles) for payload in rows["payload"]]
        return rows.with_columns(
            payload=pl.Series(payloads, dtype=pl.String),
            sha256=pl.Series(
                [hashlib.sha256(payload.encode()).hexdigest() for payload in payloads],
                dtype=pl.String,
            ),
            content_sha256=self._digests(rows["content_sha256"]),
            fingerprint=self._digests(rows["fingerprint"]),
        )

    def _digests(self, plain: pl.Series) -> pl.Series:
        return pl.Series(
            [None if one is None else self.pseudonyms.digest(one) for one in plain],
            dtype=pl.String,
        )


def user_titles(contract: Contract, table: SourceTable, more: Iterable[str]) -> frozenset[str]:
    """Return the titles, in lower case, under which a table of the source holds users."""
    names = contract.tables[table].names
    return frozenset(
        title.lower() for title in (*USER_COLUMNS, *(names.get(c, c) for c in USER_COLUMNS), *more)
    )
