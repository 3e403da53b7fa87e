"""The Schema-Guided Dialogue set as labelled texts, read from where the shared data is."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.evaluation.intents import Labelled


def sgd_intents(folder: Path) -> list[Labelled]:
    """Return the first query of each conversation that has one intent, with this intent.

    Args:
        folder: `sgd` below SHARED_DATA_DIR.
    """
    intents = {
        row["id"]: row["value"]
        for row in _rows(folder / "labels.jsonl.gz")
        if row["label"] == "intent"
    }
    first: dict[str, dict[str, Any]] = {}
    for row in _rows(folder / "messages.jsonl.gz"):
        first.setdefault(row["conversation_id"], row)
    found = []
    for row in first.values():
        value = intents.get(row["id"], [])
        if len(value) == 1 and not value[0].endswith("NONE"):
            found.append((row["query"], value[0]))
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
