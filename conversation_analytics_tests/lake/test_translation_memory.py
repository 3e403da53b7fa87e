from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY
from conversation_analytics.lake.store import open_lake
from conversation_analytics.lake.translation_memory import LakeTranslationMemory

if TYPE_CHECKING:
    from pathlib import Path

DAY = "2026-11-20"


def answers(*keys: str, translated: str = "dog") -> pl.DataFrame:
    rows = [
        {"key": key, "source": "th", "target": "en", "engine": "e", "model": "1",
         "translated": translated, "style": "word", "tokens": 0, "survived": 0, "confidence": 1.0,
         "reason": None, "characters": 3, "cost": None, "currency": None}
        for key in keys
    ]  # fmt: skip
    return TRANSLATION_MEMORY.conform(pl.DataFrame(rows, schema=TRANSLATION_MEMORY.polars))


def test_what_is_added_is_found_over_all_days(tmp_path: Path) -> None:
    memory = LakeTranslationMemory(open_lake(tmp_path))
    assert memory.lookup(["a"]).is_empty()
    for number in range(1, 20):
        memory.add(f"2026-11-{number:02}", answers(f"k{number}"))
    memory.add("2026-11-05", answers("late"))
    found = memory.lookup(["k1", "k19", "late", "late", "nobody"])
    assert dict(found.select("key", "day").iter_rows()) == {
        "k1": "2026-11-01", "k19": "2026-11-19", "late": "2026-11-05",
    }  # fmt: skip
    assert memory.lookup([]).schema == found.schema


def test_the_first_answer_stays(tmp_path: Path) -> None:
    memory = LakeTranslationMemory(open_lake(tmp_path))
    memory.add(DAY, answers("a", translated="first"))
    kept = memory.add(DAY, answers("a", "b", translated="second"))
    assert dict(kept.select("key", "translated").iter_rows()) == {"a": "first", "b": "second"}
    memory.add("2026-11-21", answers("b", translated="third"))
    found = memory.lookup(["b"])
    assert found.select("translated", "day").rows() == [("second", DAY)]


@pytest.mark.parametrize("writers", [6])
def test_nothing_is_lost_where_several_add_to_one_day(tmp_path: Path, writers: int) -> None:
    failed: list[Exception] = []

    def add(writer: int) -> None:
        memory = LakeTranslationMemory(open_lake(tmp_path))
        try:
            for number in range(5):
                memory.add(DAY, answers("shared", f"{writer}-{number}", translated=str(writer)))
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=add, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    keys = [f"{writer}-{number}" for writer in range(writers) for number in range(5)]
    found = LakeTranslationMemory(open_lake(tmp_path)).lookup([*keys, "shared"])
    assert sorted(found["key"]) == sorted([*keys, "shared"])


def test_what_is_superfluous_goes_and_what_others_add_meanwhile_stays(tmp_path: Path) -> None:
    memory = LakeTranslationMemory(open_lake(tmp_path))
    assert memory.forget(DAY, lambda held: frozenset(held["key"])) == 0
    memory.add(DAY, answers("a", "b"))
    memory.add("2026-11-21", answers("c"))
    looked_at: list[list[str]] = []

    def superfluous(held: pl.DataFrame) -> frozenset[str]:
        looked_at.append(sorted(held["key"]))
        if len(looked_at) == 1:
            memory.add(DAY, answers("d"))
        return frozenset({"a", "c"})

    assert memory.forget(DAY, superfluous) == 1
    assert looked_at == [["a", "b"], ["a", "b", "d"]]
    assert sorted(memory.lookup(["a", "b", "c", "d"])["key"]) == ["b", "c", "d"]
    before = open_lake(tmp_path).stat(TRANSLATION_MEMORY, DAY).sha256
    assert memory.forget(DAY, lambda _: frozenset({"a"})) == 0
    assert open_lake(tmp_path).stat(TRANSLATION_MEMORY, DAY).sha256 == before
