"""The lake's tables of translations, and of what engines have answered so far."""

from __future__ import annotations

import polars as pl

from conversation_analytics.core.schemas import INSTANT, MONEY, Column, TableSchema

_ENGINE = (
    Column("engine", pl.String(), "contract of the engine", low_cardinality=True),
    Column("model", pl.String(), "what translates there: TRANSLATOR_MODEL, or what the engine says",
           low_cardinality=True),
)  # fmt: skip

TRANSLATION_MEMORY = TableSchema(
    name="translation_memory",
    columns=(
        Column("key", pl.String(),
               "digest of the text as sent, source, target, engine and model", required=True),
        Column("source", pl.String(), "language of the text", required=True, low_cardinality=True),
        Column("target", pl.String(), "language wanted", required=True, low_cardinality=True),
        *_ENGINE,
        Column("translated", pl.String(),
               "the answer, tokens in the place of what was masked; null: refused"),
        Column("style", pl.String(), "how the tokens are written: `word`, `url`",
               low_cardinality=True),
        Column("tokens", pl.Int64(), "tokens sent"),
        Column("survived", pl.Int64(), "of them, those that came back once"),
        Column("confidence", pl.Float64(), "0 to 1, see core/translation_confidence.py"),
        Column("reason", pl.String(), "why it was refused; null: it was not", low_cardinality=True),
        Column("characters", pl.Int64(), "code points sent to the engine, repeats included"),
        Column("cost", MONEY, "of these characters in `currency`; null: unknown"),
        Column("currency", pl.String(), "ISO 4217 code of the cost", low_cardinality=True),
    ),
    sort_by=("key",),
    description="One text an engine has answered, of the day whose messages had it first. No text "
    "is sent twice while a message of that day has it; it goes with the last one.",
)  # fmt: skip

TRANSLATIONS = TableSchema(
    name="translations",
    columns=(
        Column("message_id", pl.String(), "message", required=True),
        Column("conversation_id", pl.String(), "conversation of the message", required=True),
        Column("created_at", INSTANT, "time of creation of the message, UTC"),
        Column("field", pl.String(), "`query` or `answer`", required=True, low_cardinality=True),
        Column("source", pl.String(), "language of the text; `und`: not known, `zxx`: none",
               low_cardinality=True),
        Column("target", pl.String(), "language wanted", required=True, low_cardinality=True),
        *_ENGINE,
        Column("status", pl.String(), "`translated`, `same` (nothing to translate), `pending` (a "
               "later run may), `refused`", required=True, low_cardinality=True),
        Column("reason", pl.String(), "of `same`: language, unknown, no_words; of `pending`: "
               "budget, quota; of `refused`: pair, too_long, engine", low_cardinality=True),
        Column("translated", pl.String(), "the translation; null unless `translated`"),
        Column("confidence", pl.Float64(), "0 to 1: signs that something is wrong with it; the "
               "lowest of its parts"),
        Column("text_sha256", pl.String(), "SHA-256 of the text, normalised"),
        Column("characters", pl.Int64(), "code points of the text"),
        Column("billed", pl.Boolean(), "whether this row is the first with a text sent for this "
               "day: rows after it cost nothing"),
        Column("billed_characters", pl.Int64(), "code points sent to the engine for this row"),
        Column("cost", MONEY, "of `billed_characters` in `currency`; null: unknown"),
        Column("currency", pl.String(), "ISO 4217 code of the cost", low_cardinality=True),
    ),
    sort_by=("created_at", "message_id", "field"),
    description="One text of a message with its translation, or why there is none.",
)  # fmt: skip
