"""The table of categories: what each conversation is about, how sure that is, and who said so."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from conversation_analytics.core.documents import Document, clean_text
from conversation_analytics.core.schemas import Column, TableSchema
from conversation_analytics.core.taxonomy import taxonomy_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from conversation_analytics.core.category_model import CategoryModel
    from conversation_analytics.core.embedding import Embedder
    from conversation_analytics.core.taxonomy import Correction, Taxonomy

CATEGORIES = TableSchema(
    name="categories",
    columns=(
        Column("conversation_id", pl.String(), "conversation", required=True),
        Column("category_type", pl.String(), "`topic`, `intent`, `sentiment`, or another of the "
               "taxonomy", required=True, low_cardinality=True),
        Column("category_value", pl.String(), "label, or `other` where none fits",
               required=True, low_cardinality=True),
        Column("confidence_score", pl.Float64(), "chance that the value is right, 0 to 1; 1 where "
               "a person said so", required=True),
        Column("nearest", pl.String(), "the best label, also where the value is `other`",
               low_cardinality=True),
        Column("created_by", pl.String(), "model and version, or the person who corrected it",
               required=True, low_cardinality=True),
        Column("taxonomy_hash", pl.String(), "digest of the type's labels, examples, corrected "
               "texts and model", required=True, low_cardinality=True),
        Column("text_sha256", pl.String(), "digest of the text that was categorised: the same text "
               "is not looked at again", required=True),
    ),
    sort_by=("conversation_id", "category_type"),
    description="One category of one conversation, of its turns of one day.",
)  # fmt: skip

_BATCH: Final = 4096


@dataclass(frozen=True, slots=True)
class TrainedTaxonomy:
    """What it takes to categorise texts.

    Attributes:
        taxonomy: the types.
        corrections: of people.
        models: by type.
        hashes: digest of each type's inputs, by type.
        embedder: makes the vectors.
        created_by: what stands in `created_by` for the model.
    """

    taxonomy: Taxonomy
    corrections: tuple[Correction, ...]
    models: dict[str, CategoryModel]
    hashes: dict[str, str]
    embedder: Embedder
    created_by: str


def taxonomy_hashes(
    taxonomy: Taxonomy, corrections: Sequence[Correction], model: str
) -> dict[str, str]:
    """Return the digest of each type of the taxonomy by its name."""
    return {one.name: taxonomy_hash(one, corrections, model) for one in taxonomy.types}


def still_right(
    held: pl.DataFrame,
    texts: pl.DataFrame,
    hashes: Mapping[str, str],
    created_by: str,
    by_people: Collection[str] = (),
) -> pl.DataFrame:
    """Return the rows of `held` that categorising the texts again would give again.

    A day that goes on is made again and again, and embedding is what takes long.

    Args:
        held: schema `CATEGORIES`, as stored before.
        texts: as of `categories`.
        hashes: of `taxonomy_hashes`.
        created_by: of the model.
        by_people: conversations that people corrected.

    Returns:
        Schema `CATEGORIES`: all rows of each conversation that has the same text and, for every
        type, the same taxonomy and model, and that nobody corrected, neither then nor now.
    """
    told = texts.select("conversation_id", text_sha256=_digests(texts["text"]))
    kinds = pl.DataFrame(
        {"category_type": list(hashes), "taxonomy_hash": list(hashes.values())},
        schema=dict.fromkeys(("category_type", "taxonomy_hash"), pl.String),
    )
    by_model = held.filter(
        pl.col("created_by") == created_by,
        ~pl.col("conversation_id").is_in(pl.Series(sorted(by_people), dtype=pl.String).implode()),
    )
    same = by_model.join(told, on=told.columns, how="semi").join(
        kinds, on=kinds.columns, how="semi"
    )
    return CATEGORIES.conform(same.filter(pl.len().over("conversation_id") == len(hashes)))


def _digests(texts: pl.Series) -> pl.Series:
    digests = [hashlib.sha256(clean_text(text).encode()).hexdigest() for text in texts]
    return pl.Series(digests, dtype=pl.String)


def categories(trained: TrainedTaxonomy, texts: pl.DataFrame) -> pl.DataFrame:
    """Categorise conversations.

    Args:
        trained: the models.
        texts: `conversation_id` and `text`, one row a conversation.

    Returns:
        Schema `CATEGORIES`: a row per conversation and type.
    """
    by_person = {
        (one.category_type, one.conversation_id): one
        for one in trained.corrections
        if one.conversation_id is not None
    }
    ids, digests = texts["conversation_id"].to_list(), _digests(texts["text"])
    answers = _answers(trained, texts["text"])
    told = texts.select("text").join(answers, on="text", how="left", maintain_order="left")
    found = [CATEGORIES.empty()]
    for one in trained.taxonomy.types:
        corrected = [by_person.get((one.name, conversation_id)) for conversation_id in ids]
        answered = told[one.name].struct.unnest()
        own = pl.DataFrame(
            {
                "conversation_id": pl.Series(ids, dtype=pl.String),
                "category_value": answered["label"],
                "confidence_score": answered["confidence"],
                "nearest": answered["nearest"],
                "text_sha256": digests,
                "label": pl.Series([c.label if c else None for c in corrected], dtype=pl.String),
                "by": pl.Series([c.by if c else None for c in corrected], dtype=pl.String),
            }
        )
        found.append(
            CATEGORIES.conform(
                own.select(
                    "conversation_id",
                    pl.lit(one.name).alias("category_type"),
                    pl.coalesce("label", "category_value").alias("category_value"),
                    pl.when(pl.col("label").is_null())
                    .then("confidence_score")
                    .otherwise(1.0)
                    .alias("confidence_score"),
                    "nearest",
                    pl.coalesce("by", pl.lit(trained.created_by)).alias("created_by"),
                    pl.lit(trained.hashes[one.name]).alias("taxonomy_hash"),
                    "text_sha256",
                )
            )
        )
    return CATEGORIES.conform(pl.concat(found))


def _answers(trained: TrainedTaxonomy, texts: pl.Series) -> pl.DataFrame:
    """Return `text`, each once, and a struct of label, confidence and nearest for each type.

    In batches of texts in a fixed order: vectors of a whole day would take gigabytes.
    """
    answer = pl.Struct({"label": pl.String(), "confidence": pl.Float64(), "nearest": pl.String()})
    schema = {"text": pl.String(), **{one.name: answer for one in trained.taxonomy.types}}
    distinct = texts.unique().sort()
    parts = [pl.DataFrame(schema=schema)]
    for first in range(0, len(distinct), _BATCH):
        some = distinct.slice(first, _BATCH).to_list()
        vectors = trained.embedder.embed(some)
        columns: dict[str, Any] = {"text": some}
        for one in trained.taxonomy.types:
            columns[one.name] = [
                {"label": a.label, "confidence": a.confidence, "nearest": a.nearest}
                for a in trained.models[one.name].classify(some, vectors)
            ]
        parts.append(pl.DataFrame(columns, schema=schema))
    return pl.concat(parts)


def category_documents(categories: pl.DataFrame, day: str) -> list[Document]:
    """Return one document per conversation and type.

    Args:
        categories: schema `CATEGORIES`, of one day.
        day: partition key, kept in the field `day`, and as a time in `day_at`.
    """
    day_at = dt.datetime.combine(dt.date.fromisoformat(day), dt.time(), dt.UTC)
    return [
        {
            "_id": f"{day}:{clean_text(row['conversation_id'])}:{row['category_type']}",
            "day": day,
            "day_at": day_at,
            **{name: clean_text(v) if isinstance(v, str) else v for name, v in row.items()},
        }
        for row in categories.drop("text_sha256").iter_rows(named=True)
    ]
