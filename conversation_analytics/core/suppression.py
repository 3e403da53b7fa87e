"""Whose rows are not read any more: after an erasure no read brings a person back.

The list holds digests alone, HMAC-SHA256 under a key. Where PSEUDONYM_KEY is set the key comes of
it, and nobody who has the list alone can even try an id. Else a random key stands beside the
list: nobody reads ids off it, but who has the lake can try whether an id they know is on it, as
they could search the lake itself before.

A row is suppressed
- if one of its columns of users holds a suppressed user;
- if it has no user, or is a rating, and is of a conversation that was erased as a whole;
- if it was erased itself, or a read has left it out: so that a look at the source, which shows ids
  alone, takes it for held and does not ask for its day for ever.

Of each conversation and row the list says for whom it is left out, by digest too: so that a person
who consents again can be taken off it with all that is theirs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from conversation_analytics.core.json_text import members
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.values import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from conversation_analytics.core.contract import Contract

FORMAT: Final = "HMAC-SHA256, first 128 bits"
_HEXADECIMALS: Final = 32
_NOTHING: Final = frozenset[str]()
_OWNERS: Final = (
    "from_end_user_id", "from_account_id", "user_id", "end_user_id", "account_id",
    "external_user_id", "session_id",
)  # fmt: skip
"""Columns that say whose a row is; who created, changed or read it at the source is not among
them: that may be one account for all rows."""


@dataclass(frozen=True, slots=True)
class RowNames:
    """How the rows of a table of the source are named there.

    Attributes:
        table: which table.
        users: titles of the columns that say whose a row is, in lower case.
        conversation: title of the column with the conversation.
    """

    table: SourceTable
    users: frozenset[str]
    conversation: str


def row_names(contract: Contract, table: SourceTable, more_users: Iterable[str] = ()) -> RowNames:
    """Return how a table's rows are named.

    Args:
        contract: of the source's columns.
        table: which table.
        more_users: further titles of columns that say whose a row is.
    """
    column = "id" if table is SourceTable.CONVERSATIONS else "conversation_id"
    named = contract.tables[table]
    owners = (*_OWNERS, *map(named.at_source, _OWNERS), *more_users)
    return RowNames(table, frozenset(one.lower() for one in owners), named.at_source(column))


def row_owners(rows: pl.DataFrame, names: RowNames) -> pl.DataFrame:
    """Return who and what raw rows are of.

    Args:
        rows: with `id` and `payload`, as in the raw schema.
        names: of their table.

    Returns:
        `id` String, `users` List(String) (every text and whole number in a column of users, also
        inside of objects), `conversation` String or null; in the order of `rows`.
    """
    found = [_owners(payload, names) for payload in rows["payload"]]
    return pl.DataFrame(
        {
            "id": rows["id"],
            "users": [users for users, _ in found],
            "conversation": [
                row_id if names.table is SourceTable.CONVERSATIONS else conversation
                for row_id, (_, conversation) in zip(rows["id"], found, strict=True)
            ],
        },
        schema={"id": pl.String, "users": pl.List(pl.String), "conversation": pl.String},
    )


def _owners(payload: str, names: RowNames) -> tuple[list[str], str | None]:
    try:
        fields = members(payload.encode("utf-8", "replace"))
    except ValueError:
        return [], None  # nothing says whose it is
    users: set[str] = set()
    for title, text in fields.items():
        if title.lower() in names.users:
            users.update(_texts(_decoded(bytes(text))))
    conversation = next(_texts(_decoded(bytes(fields.get(names.conversation, b"null")))), None)
    return sorted(users), conversation


def _decoded(text: bytes) -> object:
    shown = text.decode("utf-8", "replace")
    try:
        return decode_json(shown)
    except ValueError:
        return shown


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif type(value) is int:
        yield str(value)


@dataclass(frozen=True, slots=True)
class Suppressions:
    """The list, by digest.

    Attributes:
        key: of the digests.
        key_shown: whether the key stands beside the list.
        users: whose rows are left out.
        conversations: that were erased as a whole.
        rows: that were erased or left out, by table.
        owners: for whom a conversation or a row is left out: digest of a user, or of a
            conversation; lists of earlier versions do not say.
    """

    key: bytes = field(repr=False)
    key_shown: bool
    users: frozenset[str] = _NOTHING
    conversations: frozenset[str] = _NOTHING
    rows: Mapping[SourceTable, frozenset[str]] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)

    def user(self, user_id: str) -> str:
        """Return the digest of a user as the lake names them."""
        return self._digest("user", user_id)

    def conversation(self, conversation_id: str) -> str:
        """Return the digest of a conversation."""
        return self._digest("conversation", conversation_id)

    def row(self, table: SourceTable, row_id: str) -> str:
        """Return the digest of a row's id."""
        return self._digest(f"row/{table}", row_id)

    def with_user(self, user_id: str) -> Suppressions:
        """Return the list with one user more."""
        return replace(self, users=self.users | {self.user(user_id)})

    def with_conversations(self, ids: Iterable[str], user_id: str) -> Suppressions:
        """Return the list with these conversations of a user, too."""
        more = dict.fromkeys(map(self.conversation, ids), self.user(user_id))
        return replace(
            self, conversations=self.conversations | more.keys(), owners={**more, **self.owners}
        )

    def with_rows(self, table: SourceTable, owners: Mapping[str, str]) -> Suppressions:
        """Return the list with these rows, too.

        Args:
            table: of the source.
            owners: digest of the user or conversation for whom a row is left out, by its id.
        """
        known = self.rows.get(table, _NOTHING)
        more = {self.row(table, row_id): owner for row_id, owner in owners.items()}
        if known >= more.keys() and self.owners.keys() >= more.keys():
            return self
        return replace(
            self,
            rows={**self.rows, table: known | more.keys()},
            owners={**more, **self.owners},
        )

    def without_user(self, user_id: str) -> Suppressions:
        """Return the list without a user and all that is left out for them."""
        user = self.user(user_id)
        conversations = frozenset(one for one in self.conversations if self.owners.get(one) == user)
        gone = {user, *conversations}
        rows = {
            table: frozenset(one for one in ids if self.owners.get(one) not in gone)
            for table, ids in self.rows.items()
        }
        left = self.conversations - conversations
        staying = left.union(*rows.values())
        return replace(
            self,
            users=self.users - {user},
            conversations=left,
            rows={table: ids for table, ids in rows.items() if ids},
            owners={one: owner for one, owner in self.owners.items() if one in staying},
        )

    @property
    def ownerless(self) -> int:
        """Conversations and rows of which the list does not say for whom they are left out.

        A row that is its own owner is one: it was read again, and left out for being listed.
        """
        told = {one for one, owner in self.owners.items() if owner != one}
        return len(self.conversations.union(*self.rows.values()) - told)

    def suppressed(self, rows: pl.DataFrame, names: RowNames) -> pl.Series:
        """Say which raw rows are left out.

        Args:
            rows: in the raw schema.
            names: of their table.
        """
        return self.left_out_for(rows, names).is_not_null()

    def left_out_for(self, rows: pl.DataFrame, names: RowNames) -> pl.Series:
        """Return for whom raw rows are left out.

        Args:
            rows: in the raw schema.
            names: of their table.

        Returns:
            The digest of a user or conversation; null for a row that is not left out.
        """
        if not self._lists_anybody or rows.is_empty():
            return pl.Series([None] * rows.height, dtype=pl.String)
        return self.left_out_of(row_owners(rows, names), names.table)

    def left_out_of(self, owners: pl.DataFrame, table: SourceTable) -> pl.Series:
        """Return for whom rows are left out whose owners are known; else as `left_out_for`.

        Args:
            owners: of the rows, as `row_owners` gives them.
            table: of the source.
        """
        users: dict[str, str | None] = {}
        conversations: dict[str, str | None] = {}
        erased_rows = self.rows.get(table, _NOTHING)
        told: list[str | None] = []
        for row_id, of_users, conversation in owners.iter_rows():
            for one in of_users:
                if one not in users:
                    users[one] = _among(self.user(one), self.users)
            owner = next((users[one] for one in of_users if users[one] is not None), None)
            if owner is None and conversation and (not of_users or table is SourceTable.FEEDBACKS):
                if conversation not in conversations:
                    digest = self.conversation(conversation)
                    conversations[conversation] = _among(digest, self.conversations)
                owner = conversations[conversation]
            if owner is None and not of_users:
                digest = self.row(table, row_id)
                owner = self.owners.get(digest, digest) if digest in erased_rows else None
            told.append(owner)
        return pl.Series(told, dtype=pl.String)

    @property
    def _lists_anybody(self) -> bool:
        # Also without users: what an earlier version listed stays when the last person leaves.
        return bool(self.users or self.conversations or any(self.rows.values()))

    def left_out(self, table: SourceTable, ids: Iterable[str]) -> pl.Series:
        """Say which ids are of rows that were erased or left out before."""
        rows = self.rows.get(table, _NOTHING)
        return pl.Series([bool(rows) and self.row(table, i) in rows for i in ids], dtype=pl.Boolean)

    def to_json(self) -> str:
        """Return the list as text, the same for equal lists."""
        told: dict[str, Any] = {
            "format": FORMAT,
            "key": self.key.hex() if self.key_shown else None,
            "users": sorted(self.users),
            "conversations": sorted(self.conversations),
            "rows": {str(table): sorted(ids) for table, ids in sorted(self.rows.items())},
            "owners": _grouped(self.owners),
        }
        return json.dumps(told, indent=1) + "\n"

    def _digest(self, purpose: str, text: str) -> str:
        message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:_HEXADECIMALS]


def _among(digest: str, digests: frozenset[str]) -> str | None:
    return digest if digest in digests else None


def _grouped(owners: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what each owner has, sorted."""
    found: dict[str, list[str]] = {}
    for one, owner in sorted(owners.items()):
        found.setdefault(owner, []).append(one)
    return dict(sorted(found.items()))


def key_of_pseudonyms(pseudonym_key: str) -> bytes:
    """Return the key of the list in a lake of pseudonyms."""
    return hmac.new(pseudonym_key.encode(), b"suppression list", hashlib.sha256).digest()


def parse_suppressions(text: str, pseudonym_key: str) -> Suppressions:
    """Return the list that `to_json` wrote.

    Args:
        text: of the list.
        pseudonym_key: of the settings, or ''.

    Raises:
        ValueError: the text is no list, or needs a key that is not given.
    """
    try:
        told = json.loads(text)
        shown = told["key"]
        if shown is None and not pseudonym_key:
            raise ValueError(
                "one made with PSEUDONYM_KEY, which is empty: set the PSEUDONYM_KEY of this lake"
            )
        if shown is not None and pseudonym_key:
            raise ValueError(
                "one made without PSEUDONYM_KEY, which is set: it has plain ids, so that it would "
                "leave no pseudonym out. Move it and erasures/pending/ away, and erase again the "
                "same people, now with the key"
            )
        return Suppressions(
            key_of_pseudonyms(pseudonym_key) if shown is None else bytes.fromhex(shown),
            shown is not None,
            frozenset(map(str, told["users"])),
            frozenset(map(str, told["conversations"])),
            {SourceTable(name): frozenset(map(str, ids)) for name, ids in told["rows"].items()},
            {
                str(one): owner
                for owner, ids in told.get("owners", {}).items()  # earlier versions have none
                for one in ids
            },
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no list of suppressions: {type(error).__name__}") from error
