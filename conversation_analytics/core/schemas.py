"""The pinned schema of every lake table: columns, types, keys and order.

The data dictionary in the docs, the Parquet files and the Dagster UI are all made
from these definitions (`tables.TABLES` lists them). Column meanings follow Dify's models
(`api/models/model.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

INSTANT = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(20, 7)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: column name in the lake.
        dtype: pinned Polars type.
        description: meaning and unit.
        required: a row without it is a dead letter; a source without it is a contract error.
        low_cardinality: worth a Parquet dictionary.
        absent: for a column that came with a later version: what rows of partitions written
            before have there; None: every partition has the column.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str
    required: bool = False
    low_cardinality: bool = False
    absent: str | bool | None = None


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One lake table.

    Attributes:
        name: folder name in the lake and view name in SQL.
        columns: in file order.
        sort_by: total order of the rows, so that the same rows give the same bytes.
        description: what a row is.
    """

    name: str
    columns: tuple[Column, ...]
    sort_by: tuple[str, ...]
    description: str

    @property
    def polars(self) -> pl.Schema:
        """The schema as Polars has it."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns without which a row cannot be used."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def absent(self) -> dict[str, str | bool]:
        """Columns that older partitions may lack, with what their rows have there."""
        return {column.name: column.absent for column in self.columns if column.absent is not None}

    def empty(self) -> pl.DataFrame:
        """Return a frame of this schema without rows."""
        return pl.DataFrame(schema=self.polars)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with exactly these columns, types and row order.

        Raises:
            polars.exceptions.PolarsError: a column is missing or cannot be cast exactly.
        """
        return frame.select(
            pl.col(column.name).cast(column.dtype, strict=True) for column in self.columns
        ).sort(self.sort_by, nulls_last=True, maintain_order=True)


_GONE = Column(
    "gone",
    pl.Boolean(),
    "kept, though the source does not have the row any more",
    absent=False,
)


def _raw(name: str, what: str) -> TableSchema:
    return TableSchema(
        name=name,
        columns=(
            Column(
                "id",
                pl.String(),
                f"primary key of the {what} at the source, as text",
                required=True,
            ),
            Column("created_at", INSTANT, "time of creation; null in the undated tables only"),
            Column("payload", pl.String(), "the row exactly as the source served it, JSON text"),
            Column("sha256", pl.String(), "SHA-256 of `payload`, hexadecimal"),
            Column(
                "content_sha256",
                pl.String(),
                "digest of the row without its times of change: these move by themselves",
                absent="",  # no digest is empty: the row counts as changed, and is read again
            ),
            Column(
                "fingerprint",
                pl.String(),
                "digest of the small columns that a look at the source shows",
                absent="",
            ),
            _GONE,
        ),
        sort_by=("created_at", "id"),
        description=f"One {what} row exactly as served by the source.",
    )


RAW_CONVERSATIONS = _raw("raw_conversations", "conversation")
RAW_MESSAGES = _raw("raw_messages", "message")
RAW_FEEDBACKS = _raw("raw_feedbacks", "feedback")
RAW_UNDATED_CONVERSATIONS = _raw("raw_undated_conversations", "conversation")
RAW_UNDATED_MESSAGES = _raw("raw_undated_messages", "message")
RAW_UNDATED_FEEDBACKS = _raw("raw_undated_feedbacks", "feedback")


def _dead_letters(name: str, what: str) -> TableSchema:
    return TableSchema(
        name=name,
        columns=(
            Column("source_id", pl.String(), f"primary key of the {what} at the source"),
            Column("reason", pl.String(), "column, expected type and shape of what came"),
            Column("payload", pl.String(), "the row exactly as served, for replay"),
            Column("sha256", pl.String(), "SHA-256 of `payload`, hexadecimal"),
        ),
        sort_by=("source_id", "sha256", "reason"),
        description=f"One {what} row that could not be typed, with the reason.",
    )


CONVERSATION_DEAD_LETTERS = _dead_letters("conversation_dead_letters", "conversation")
MESSAGE_DEAD_LETTERS = _dead_letters("message_dead_letters", "message")
FEEDBACK_DEAD_LETTERS = _dead_letters("feedback_dead_letters", "feedback")
UNDATED_CONVERSATION_DEAD_LETTERS = _dead_letters(
    "undated_conversation_dead_letters", "conversation"
)
UNDATED_MESSAGE_DEAD_LETTERS = _dead_letters("undated_message_dead_letters", "message")
UNDATED_FEEDBACK_DEAD_LETTERS = _dead_letters("undated_feedback_dead_letters", "feedback")

_ORIGIN = (
    Column("status", pl.String(), "`normal`, `error`, `paused`, ...", low_cardinality=True),
    Column("invoke_from", pl.String(), "`web-app`, `service-api`, `debugger`, ...; null counts",
           low_cardinality=True),
    Column("from_source", pl.String(), "`api` or `console`", low_cardinality=True),
    Column("from_end_user_id", pl.String(), "end user of the app"),
    Column("from_account_id", pl.String(), "account of the workspace"),
    Column("user_id", pl.String(), "from_end_user_id, else from_account_id"),
)  # fmt: skip
_TIMES = (
    Column("created_at", INSTANT, "time of creation, UTC"),
    Column("updated_at", INSTANT, "last change as the source tells it, UTC; may lie"),
    Column(
        "extra", pl.String(), "source columns without a place of their own, JSON object or null"
    ),
    _GONE,
)

CONVERSATIONS = TableSchema(
    name="conversations",
    columns=(
        Column("id", pl.String(), "conversation id", required=True),
        Column("app_id", pl.String(), "app", low_cardinality=True),
        Column("model_provider", pl.String(), "provider of the model", low_cardinality=True),
        Column("model_id", pl.String(), "model", low_cardinality=True),
        Column("mode", pl.String(), "app mode: `chat`, `agent-chat`, ...", low_cardinality=True),
        Column("name", pl.String(), "title"),
        Column("summary", pl.String(), "summary, if the app writes one"),
        Column("inputs", pl.String(), "app inputs, JSON"),
        Column("dialogue_count", pl.Int64(), "turns as counted by the source"),
        Column("is_deleted", pl.Boolean(), "flagged as deleted at the source"),
        *_ORIGIN,
        *_TIMES,
    ),
    sort_by=("created_at", "id"),
    description="One conversation, typed.",
)

MESSAGES = TableSchema(
    name="messages",
    columns=(
        Column("id", pl.String(), "message id", required=True),
        Column("conversation_id", pl.String(), "conversation of the turn", required=True),
        Column("parent_message_id", pl.String(), "turn this one answers or regenerates"),
        Column("app_id", pl.String(), "app", low_cardinality=True),
        Column("model_provider", pl.String(), "provider of the model", low_cardinality=True),
        Column("model_id", pl.String(), "model", low_cardinality=True),
        Column("query", pl.String(), "what the user wrote"),
        Column("answer", pl.String(), "what the assistant answered; '' until finished"),
        Column("inputs", pl.String(), "app inputs, JSON"),
        Column("message_tokens", pl.Int64(), "tokens in"),
        Column("answer_tokens", pl.Int64(), "tokens out"),
        Column("message_unit_price", MONEY, "price of `message_price_unit` tokens in"),
        Column("message_price_unit", MONEY, "unit of the price in, e.g. 0.001 per token"),
        Column("answer_unit_price", MONEY, "price of `answer_price_unit` tokens out"),
        Column("answer_price_unit", MONEY, "unit of the price out"),
        Column("total_price", MONEY, "cost of the turn in `currency`"),
        Column("currency", pl.String(), "ISO 4217 code of the prices", low_cardinality=True),
        Column("latency_s", pl.Float64(), "provider_response_latency, seconds"),
        Column("time_to_first_token_s", pl.Float64(),
               "`usage.time_to_first_token` of message_metadata, seconds"),
        Column("error", pl.String(), "error text of a failed turn"),
        Column("message_metadata", pl.String(), "usage and retriever metadata, JSON"),
        Column("agent_based", pl.Boolean(), "answered by an agent"),
        Column("workflow_run_id", pl.String(), "workflow run behind the turn"),
        *_ORIGIN,
        *_TIMES,
    ),
    sort_by=("created_at", "id"),
    description="One turn: the user's query and the assistant's answer, typed.",
)  # fmt: skip

FEEDBACKS = TableSchema(
    name="feedbacks",
    columns=(
        Column("id", pl.String(), "feedback id", required=True),
        Column("message_id", pl.String(), "turn that is rated", required=True),
        Column("conversation_id", pl.String(), "conversation of the turn"),
        Column("app_id", pl.String(), "app", low_cardinality=True),
        Column("rating", pl.String(), "`like` or `dislike`", required=True, low_cardinality=True),
        Column("content", pl.String(), "what the person wrote about it"),
        Column("from_source", pl.String(), "`user` or `admin`", low_cardinality=True),
        Column("from_end_user_id", pl.String(), "end user of the app"),
        Column("from_account_id", pl.String(), "account of the workspace"),
        Column("user_id", pl.String(), "from_end_user_id, else from_account_id"),
        *_TIMES,
    ),
    sort_by=("created_at", "id"),
    description="One rating of a turn, typed; of the day on which it was given.",
)

UNDATED_CONVERSATIONS = TableSchema(
    "undated_conversations", CONVERSATIONS.columns, ("id",),
    "One conversation whose row at the source has no time of creation.",
)  # fmt: skip
UNDATED_MESSAGES = TableSchema(
    "undated_messages", MESSAGES.columns, ("conversation_id", "id"),
    "One turn whose row at the source has no time of creation.",
)  # fmt: skip

UNDATED_FEEDBACKS = TableSchema(
    "undated_feedbacks", FEEDBACKS.columns, ("message_id", "id"),
    "One rating whose row at the source has no time of creation.",
)  # fmt: skip

DAILY_PARTIALS = TableSchema(
    name="daily_partials",
    columns=(
        Column("kind", pl.String(),
               "`counts`, `dimensions`, `hours`, `sketch`, `conversations`, `users`, "
               "`user_languages`, `user_models`, `user_ratings`",
               required=True, low_cardinality=True),
        Column("day", pl.Date(), "`users` only: their sessions are joined over midnight"),
        Column("app_id", pl.String(), "app", low_cardinality=True),
        Column("model_provider", pl.String(), "provider: `counts`, `sketch`, `user_models`",
               low_cardinality=True),
        Column("model_id", pl.String(), "model: as the provider", low_cardinality=True),
        Column("currency", pl.String(), "of cost: `counts`, `dimensions`, `user_models`",
               low_cardinality=True),
        Column("user_id", pl.String(), "`users` and what begins with `user_`"),
        Column("conversation_id", pl.String(), "`conversations`"),
        Column("dimension", pl.String(), "`dimensions`: `language`, "
               "`answer_language`, `category:` and its type, or a key of the app's inputs",
               low_cardinality=True),
        Column("label", pl.String(), "`dimensions`: its value, text; `user_languages`: language",
               low_cardinality=True),
        Column("metric", pl.String(), "`sketch` only: `latency_s`, `time_to_first_token_s`",
               low_cardinality=True),
        Column("bucket", pl.Int64(), "`sketch`: ceil(ln x / ln 1.02), null counts x <= 0; `hours`: "
               "24 * weekday + hour of the local time, Monday 0"),
        Column("conversations_new", pl.Int64(), "conversations created this day"),
        Column("turns", pl.Int64(), "turns; in `sketch`: values in the bucket"),
        Column("errors", pl.Int64(), "turns with status error"),
        Column("empty_answers", pl.Int64(), "turns without an answer"),
        Column("regenerations", pl.Int64(),
               "turns with an earlier turn of the same day and the same parent"),
        Column("rephrases", pl.Int64(), "turns that ask again what the turn before asked"),
        Column("message_tokens", pl.Int64(), "tokens in"),
        Column("answer_tokens", pl.Int64(), "tokens out"),
        Column("cost", MONEY, "sum of total_price"),
        Column("latency_turns", pl.Int64(), "turns that have a latency"),
        Column("latency_sum_s", pl.Float64(), "sum of latency, seconds"),
        Column("latency_answer_tokens", pl.Int64(), "tokens out of turns that have a latency"),
        Column("likes", pl.Int64(), "likes by users, given this day; null: no ratings are read"),
        Column("dislikes", pl.Int64(), "dislikes by users, as `likes`"),
        Column("sessions", pl.Int64(), "`users`: runs of turns with gaps of at most 30 minutes"),
        Column("handoffs", pl.Int64(),
               "`conversations`: answers that hand over to a person; null: no marker is set"),
        Column("first_at", INSTANT, "`users`, `user_models`, `conversations`: first turn"),
        Column("last_at", INSTANT, "last turn, as `first_at`"),
        Column("failed_at", INSTANT, "`conversations`: last turn with an error or without answer"),
    ),
    sort_by=("kind", "day", "app_id", "model_provider", "model_id", "currency", "user_id",
             "conversation_id", "dimension", "label", "metric", "bucket"),
    description="Mergeable parts of a day: additive counts by app, model, hour and dimension, "
    "latency sketches, conversations and users.",
)  # fmt: skip

CATEGORY_PARTIALS = replace(
    DAILY_PARTIALS,
    name="category_partials",
    description="Counts of a day by category, as rows of `daily_partials` of the kind "
    "`dimensions`: a table of its own, so that no report waits for what takes long.",
)

DAILY_REPORT = TableSchema(
    name="daily_report",
    columns=(
        Column("day", pl.Date(), "calendar day in the analytics time zone", required=True),
        Column("app_id", pl.String(), "app; null is the row over all apps", low_cardinality=True),
        Column(
            "metric",
            pl.String(),
            "name in the metric registry",
            required=True,
            low_cardinality=True,
        ),
        Column("currency", pl.String(), "currency of a money metric", low_cardinality=True),
        Column("unit", pl.String(), "unit of the value", required=True, low_cardinality=True),
        Column("value", MONEY, "value; null is unknown, never 0"),
    ),
    sort_by=("day", "app_id", "metric", "currency"),
    description="One metric of one app (or of all apps) on one day.",
)

APP = Column("app_id", pl.String(), "app; null is the row over all apps, '' no app",
              low_cardinality=True)  # fmt: skip


def _period_report(name: str, what: str, first: str) -> TableSchema:
    return TableSchema(
        name=name,
        columns=(
            Column("start", pl.Date(), f"first day of the {what}: {first}", required=True),
            APP,
            Column("dimension", pl.String(),
                   "`model`, `provider`, `language`, `answer_language`, `category:` and its type, "
                   "or a key of the app's inputs; null: the whole app",
                   low_cardinality=True),
            Column("label", pl.String(), "value of the dimension", low_cardinality=True),
            Column("metric", pl.String(), "name in the metric registry", required=True,
                   low_cardinality=True),
            Column("currency", pl.String(), "currency of a money metric", low_cardinality=True),
            Column("unit", pl.String(), "unit of the value", required=True, low_cardinality=True),
            Column("value", MONEY, "value; null is unknown, never 0"),
            Column("previous", MONEY, f"value of the {what} before, as `value`"),
        ),
        sort_by=("start", "app_id", "dimension", "label", "metric", "currency"),
        description=f"One metric of one app (or of all apps), or of one of its models, in one "
        f"{what}.",
    )  # fmt: skip


WEEKLY_REPORT = _period_report("weekly_report", "ISO week", "a Monday")
MONTHLY_REPORT = _period_report("monthly_report", "month", "the 1st")
