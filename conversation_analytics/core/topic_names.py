"""Names of topics that a model gives, from redacted texts near the centre of each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from conversation_analytics.core.errors import TranslatorRequestError
from conversation_analytics.core.topic_tables import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAMES_VERSION: Final = "2"
"""Another one asks for all names again."""
LONGEST_NAME: Final = 80
_MEDOID_CHARACTERS: Final = 500
_IS_NAMED: Final = pl.col("shown") & (pl.col("conversations") > 0)


class TopicNamer(Protocol):
    """Gives a group of texts a name."""

    @property
    def model(self) -> str:
        """What stands in `label_by`."""

    @property
    def language(self) -> str:
        """Language of names, ISO 639-1."""

    def name(self, texts: Sequence[str]) -> str:
        """Return a name of 1 to `LONGEST_NAME` printable characters in one line.

        Args:
            texts: redacted.

        Raises:
            TranslatorRequestError: the model refuses these texts, or answers something else.
            AnalyticsError: it does not answer.
        """


@dataclass(frozen=True, slots=True)
class NamedTopics:
    """Topics with names.

    Attributes:
        topics: schema `TOPICS`.
        asked: names that were asked for.
        left_out: names with personal data in them, or that the model would not give: these
            topics keep their words.
    """

    topics: pl.DataFrame
    asked: int
    left_out: int


def known_names(tables: Iterable[pl.DataFrame], model: str) -> dict[str, str]:
    """Return the names that `model` gave before, by the digest of what they were made of.

    Args:
        tables: schema `TOPICS`.
        model: who named them.
    """
    return {
        row["named_from"]: row["label"]
        for table in tables
        for row in table.filter(pl.col("label_by") == model).iter_rows(named=True)
        if row["named_from"] and row["label"]
    }


def conversations_told(topics: pl.DataFrame) -> frozenset[str]:
    """Return the conversations whose texts `name_topics` wants.

    Args:
        topics: schema `TOPICS`, of one week.
    """
    wanted = topics.filter(_IS_NAMED)["examples"]
    return frozenset(one for examples in wanted for one in json.loads(examples))


def name_topics(
    topics: pl.DataFrame, texts: pl.DataFrame, namer: TopicNamer, known: Mapping[str, str]
) -> NamedTopics:
    """Name the topics that may be shown; nothing of the others leaves this machine.

    Args:
        topics: schema `TOPICS`, of one week.
        texts: `conversation_id` and `text`, not cut, of at least its `conversations_told`: they
            are redacted whole, and cut then.
        namer: asked once for each topic whose name is not known.
        known: of `known_names`: the same texts are not asked about again.

    Raises:
        AnalyticsError: as `TopicNamer.name`; a refusal only where every topic asked for has one.
    """
    from conversation_analytics.core.personal_data import (  # noqa: PLC0415 - import budget
        beginning,
        redact,
    )

    said = dict(texts.select("conversation_id", "text").iter_rows())
    rows: list[dict[str, Any]] = []
    asked = left_out = 0
    refused: list[TranslatorRequestError] = []
    for row in topics.iter_rows(named=True):
        if not row["shown"] or not row["conversations"]:
            rows.append(row)
            continue
        examples = [said[one] for one in json.loads(row["examples"])]
        medoids = [beginning(redact(text), _MEDOID_CHARACTERS) for text in examples]
        told = [NAMES_VERSION, namer.model, namer.language, *medoids]
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        name = known.get(digest)
        if name is None:
            asked += 1
            try:
                name = namer.name(medoids)
            except TranslatorRequestError as error:
                refused.append(error)
        if name is None or redact(name).text != name or "<" in name:  # nor repeat a placeholder
            left_out += 1
            rows.append(row)
            continue
        rows.append(row | {"label": name, "label_by": namer.model, "named_from": digest})
    if len(refused) == asked and refused:
        raise refused[-1]  # it names nothing at all: somebody has to look at it
    named = TOPICS.conform(pl.DataFrame(rows, schema=TOPICS.polars))
    return NamedTopics(named, asked, left_out)
