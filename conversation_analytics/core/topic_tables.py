"""The tables of topics: one of topics by week, one of the conversations that belong to them."""

from __future__ import annotations

import polars as pl

from conversation_analytics.core.schemas import Column, TableSchema

TOPICS = TableSchema(
    name="topics",
    columns=(
        Column("start", pl.Date(), "first day of the ISO week: a Monday", required=True),
        Column("topic_id", pl.String(), "stays the same while the topic goes on: week of its "
               "first appearance and a number", required=True),
        Column("group_id", pl.Int64(), "topics of one number of a week belong together"),
        Column("shown", pl.Boolean(), "enough users and conversations to be shown"),
        Column("label", pl.String(), "its name, or its most telling words; null: not shown, or no "
               "word that enough users said"),
        Column("label_by", pl.String(), "who named it: `words`, or the model of TOPIC_NAMER_MODEL; "
               "null: it has no label", low_cardinality=True, absent="words"),
        Column("named_from", pl.String(), "digest of the redacted texts that a model named it "
               "from: the same are not asked about again", absent=""),
        Column("words", pl.String(), "its words as a JSON array; null: not shown"),
        Column("examples", pl.String(), "ids of the conversations nearest to its centre, JSON "
               "array; null: not shown"),
        Column("conversations", pl.Int64(), "of this week; 0: it has come to rest"),
        Column("users", pl.Int64(), "users of them; unknown ones count as one"),
        Column("previous_conversations", pl.Int64(), "of the week before; null: it was not there, "
               "or that week was not looked at"),
        Column("last_seen", pl.Date(), "first day of the last week with conversations"),
        Column("centre", pl.String(), "mean direction of its texts: float16, base64"),
    ),
    sort_by=("start", "topic_id"),
    description="One topic nobody named, of one week.",
)  # fmt: skip

CONVERSATION_TOPICS = TableSchema(
    name="conversation_topics",
    columns=(
        Column("start", pl.Date(), "first day of the ISO week", required=True),
        Column("conversation_id", pl.String(), "conversation", required=True),
        Column("topic_id", pl.String(), "its topic", required=True, low_cardinality=True),
        Column("similarity", pl.Float64(), "cosine to the centre of the topic"),
    ),
    sort_by=("start", "conversation_id"),
    description="The topic of one conversation in one week.",
)
