"""Made-up days of conversations, turns and ratings, as the lake holds them.

Of 60 turns in a row 11 conversations are made, of 1 to 25 turns. A conversation has one app, one
user and one model; users come back on other days. Some turns fail, are regenerated, have no user,
are the debugger's, or have another currency.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.schemas import (
    CONVERSATIONS,
    DAILY_PARTIALS,
    FEEDBACKS,
    MESSAGES,
    TableSchema,
)
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake

if TYPE_CHECKING:
    from pathlib import Path

FIRST = dt.date(2025, 10, 1)
"""A year of them is over: Dagster leaves days to come out of a range without a word."""
_BLOCK = 60
_STARTS = (0, 1, 2, 4, 6, 9, 12, 16, 21, 27, 35)
"""Where in a block its conversations begin."""


def day_of(number: int) -> dt.date:
    """Return the day of this number, from 0."""
    return FIRST + dt.timedelta(days=number)


def file_of(folder: Path, schema: TableSchema, number: int) -> Path:
    """Return where `write_day` puts a table of a day."""
    return folder / f"{schema.name}-{number:03}.parquet"


def scan(folder: Path, schema: TableSchema) -> pl.LazyFrame:
    """Return a table of rows of all days in the folder."""
    return pl.scan_parquet(folder / f"{schema.name}-*.parquet")


def partials_in(folder: Path) -> Lake:
    """Return the lake in which `write_day` puts the partials, as the platform does."""
    return Lake(LocalObjects(folder / "lake"))


def megabytes(folder: Path, *schemas: TableSchema) -> float:
    """Return what tables of rows take in the folder."""
    files = (path for schema in schemas for path in folder.glob(f"{schema.name}-*"))
    return sum(path.stat().st_size for path in files) / 1e6


def write_day(folder: Path, number: int, turns: int, users: int, *, rows: bool = True) -> None:
    """Write the rows of a day as files, and its partials to the lake.

    Args:
        folder: for the files.
        number: of the day, from 0.
        turns: of the day, a multiple of 60.
        users: of all days; each day picks among them. A conversation has one user and 5.5 turns
            on average: with a third as many users as turns a day, a user who is there has 5.6
            turns that day, with a twentieth 20.
        rows: whether to write the rows as well, not the partials alone.
    """
    conversations, messages, feedbacks = made_up_day(number, turns, users)
    partials = daily_partials(
        conversations.lazy(), messages.lazy(), feedbacks.lazy(), day=day_of(number)
    ).collect()
    stored = DAILY_PARTIALS.conform(partials)
    partials_in(folder).write(DAILY_PARTIALS, day_of(number).isoformat(), stored)
    tables = [(CONVERSATIONS, conversations), (MESSAGES, messages), (FEEDBACKS, feedbacks)]
    for schema, frame in tables if rows else ():
        frame.write_parquet(file_of(folder, schema, number), row_group_size=20_000)


def made_up_day(
    number: int, turns: int, users: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return conversations, turns and ratings of a day, each of its schema; see `write_day`."""
    n, place = pl.col("n"), pl.col("n") % _BLOCK
    starts = pl.sum_horizontal((place >= start).cast(pl.Int64) for start in _STARTS)
    rows = (
        pl.DataFrame({"n": pl.int_range(turns, eager=True)})
        .with_columns(
            chat=n // _BLOCK * len(_STARTS) + starts - 1,
            opens=place.is_in(_STARTS),
            mixed=_mixed(n, number),
        )
        .with_columns(_mixed(pl.col("chat"), number + 1).alias("of_chat"))
    )
    messages = _made_up(MESSAGES, rows, _turns(number, turns, users))
    conversations = _made_up(
        CONVERSATIONS,
        rows.filter("opens"),
        _of_chat(number, turns, users) | {"id": _id("chat", number, pl.col("chat"))},
    )
    rated = rows.filter(pl.col("mixed") % 30 == 7)
    return conversations, messages, _made_up(FEEDBACKS, rated, _ratings(number, turns, users))


def _turns(number: int, turns: int, users: int) -> dict[str, pl.Expr]:
    n, mixed = pl.col("n"), pl.col("mixed")
    failed = mixed % 40 == 0
    asked = pl.format("how do I change item {} of the order that I placed last week?", mixed)
    said = pl.format("Open the page of order {}, choose the item and then the new one. ", mixed)
    parent = n - pl.when(mixed % 40 == 1).then(2).otherwise(1)
    return _of_chat(number, turns, users) | {
        "id": _id("turn", number, n),
        "conversation_id": _id("chat", number, pl.col("chat")),
        "parent_message_id": pl.when(~pl.col("opens")).then(_id("turn", number, parent)),
        "query": asked,
        "answer": pl.when(failed).then(pl.lit("")).otherwise(pl.concat_str([said] * 8)),
        "inputs": pl.lit("{}"),
        "message_tokens": mixed % 3000,
        "answer_tokens": mixed % 500,
        "total_price": (mixed % 90_000).cast(pl.Decimal(20, 7)) * pl.lit(Decimal("0.0000001")),
        "currency": pl.when(pl.col("of_chat") % 5 == 0)
        .then(pl.lit("CNY"))
        .otherwise(pl.lit("USD")),
        "latency_s": pl.when(~failed).then((mixed % 9973 + 1) / 1000).otherwise(0.0),
        "time_to_first_token_s": pl.when(mixed % 3 > 0).then((mixed % 1997 + 1) / 1000),
        "status": pl.when(failed).then(pl.lit("error")).otherwise(pl.lit("normal")),
    }


def _ratings(number: int, turns: int, users: int) -> dict[str, pl.Expr]:
    mixed = pl.col("mixed")
    return _of_chat(number, turns, users) | {
        "id": _id("rating", number, pl.col("n")),
        "message_id": _id("turn", number, pl.col("n")),
        "conversation_id": _id("chat", number, pl.col("chat")),
        "rating": pl.when(mixed % 4 == 0).then(pl.lit("dislike")).otherwise(pl.lit("like")),
        "from_source": pl.when(mixed % 20 == 0).then(pl.lit("admin")).otherwise(pl.lit("user")),
        "gone": mixed % 50 == 3,
    }


def _of_chat(number: int, turns: int, users: int) -> dict[str, pl.Expr]:
    """Return the columns of a conversation that its turns and ratings have, too."""
    chat = pl.col("of_chat")
    midnight = dt.datetime.combine(day_of(number), dt.time(), dt.UTC)
    person = (chat * 31) % users
    app = person % 19
    model = (app + (chat % 10 == 0).cast(pl.Int64)) % 5  # an app has one, at times another
    return {
        "app_id": pl.format("app-{}", app),
        "model_provider": pl.format("provider-{}", model // 2),
        "model_id": pl.format("model-{}", model),
        "invoke_from": pl.when(chat % 50 == 0).then(pl.lit("debugger")),
        "user_id": pl.when(chat % 60 > 0).then(_id("user", 0, person)),
        "created_at": midnight + pl.duration(microseconds=pl.col("n") * (86_400_000_000 // turns)),
    }


def _mixed(number: pl.Expr, seed: int) -> pl.Expr:
    return (number * 7919 + seed * 104_729) % 1_000_003


def _id(what: str, day: int, number: pl.Expr) -> pl.Expr:
    """Return text that is as long as a UUID and compresses no better."""
    digits = (number * 1000 + day).hash().cast(pl.String).str.zfill(20)
    return pl.format("{}-{}", pl.lit(f"{what:-<15}"), digits)


def _made_up(schema: TableSchema, rows: pl.DataFrame, columns: dict[str, pl.Expr]) -> pl.DataFrame:
    """Return rows of the schema: the given columns, null in the others."""
    return schema.conform(
        rows.select(
            columns.get(name, pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.polars.items()
        )
    )
