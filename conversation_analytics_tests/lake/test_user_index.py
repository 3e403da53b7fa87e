from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.schemas import (
    RAW_CONVERSATIONS,
    RAW_MESSAGES,
    RAW_UNDATED_MESSAGES,
)
from conversation_analytics.lake.search import search_lake
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.user_index import (
    add_to_index,
    conversation_mark,
    not_indexed,
    places_of,
    take_from_index,
    user_mark,
)

if TYPE_CHECKING:
    from conversation_analytics.lake.objects import ObjectStore

DAY = "2026-11-22"


def owners(*rows: tuple[list[str], str | None]) -> pl.DataFrame:
    schema = pl.Schema({"users": pl.List(pl.String()), "conversation": pl.String()})
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_a_user_and_a_conversation_are_found_where_they_are(objects: ObjectStore) -> None:
    lake = Lake(objects)
    add_to_index(lake, RAW_MESSAGES, DAY, owners((["u1", "u2"], "c1"), ([], None)))
    add_to_index(lake, RAW_CONVERSATIONS, "2026-11-23", owners((["u1"], "c2")))
    add_to_index(lake, RAW_UNDATED_MESSAGES, None, owners((["u3"], "c2")))
    assert places_of(lake, [user_mark("u1")]) == [
        (RAW_MESSAGES, DAY),
        (RAW_CONVERSATIONS, "2026-11-23"),
    ]
    assert places_of(lake, [conversation_mark("c2")]) == [
        (RAW_UNDATED_MESSAGES, None),
        (RAW_CONVERSATIONS, "2026-11-23"),
    ]
    assert places_of(lake, [user_mark("c1"), conversation_mark("u1")]) == []
    take_from_index(lake, RAW_MESSAGES, DAY, [user_mark("u1")])
    assert places_of(lake, [user_mark("u1")]) == [(RAW_CONVERSATIONS, "2026-11-23")]
    assert places_of(lake, [user_mark("u2")]) == [(RAW_MESSAGES, DAY)]


def test_writers_at_once_lose_nobody(objects: ObjectStore) -> None:
    lake = Lake(objects)
    users = [f"u{number}" for number in range(8)]
    threads = [
        threading.Thread(target=add_to_index, args=(lake, RAW_MESSAGES, DAY, owners(([u], None))))
        for u in users
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(places_of(lake, [user_mark(user)]) for user in users)


def test_what_is_no_index_is_refused(objects: ObjectStore) -> None:
    lake = Lake(objects)
    objects.put(f"index/raw_messages/{DAY}.bin", b"seven b")
    with pytest.raises(LakeError, match="eight bytes"):
        places_of(lake, [user_mark("u1")])


def test_partitions_without_an_index_are_told(objects: ObjectStore) -> None:
    lake = Lake(objects)
    lake.write(RAW_MESSAGES, DAY, RAW_MESSAGES.empty())
    lake.write(RAW_MESSAGES, "2026-11-23", RAW_MESSAGES.empty())
    add_to_index(lake, RAW_MESSAGES, DAY, owners())
    assert not_indexed(lake) == [(RAW_MESSAGES, "2026-11-23")]


def test_a_search_looks_into_parquet_text_and_every_spelling(objects: ObjectStore) -> None:
    lake = Lake(objects)
    name = 'Zoë "<u1>"'
    frame = RAW_MESSAGES.empty().clear(1).with_columns(payload=pl.lit(f"of {name}, " * 50))
    lake.write(RAW_MESSAGES, DAY, RAW_MESSAGES.conform(frame))
    lake.put_report("daily/a.html", "Zoë &quot;&lt;u1&gt;&quot;".encode())
    objects.put("erasures/note.json", b'{"user": "Zo\\u00eb \\"<u1>\\""}')
    objects.put("reports/daily/b.csv", b"Zo")
    objects.put("elsewhere/x.txt", name.encode())
    found = search_lake(lake, [name], "elsewhere/")
    assert found.objects >= 4  # and the lock of a folder on disk
    assert [path.rpartition("/")[2] for path in found.holding] == [
        "note.json",
        "part-000.parquet",
        "a.html",
    ]


def test_a_partition_is_removed_with_its_leftovers(objects: ObjectStore) -> None:
    lake = Lake(objects)
    lake.write(RAW_MESSAGES, DAY, RAW_MESSAGES.empty())
    lake.write(RAW_MESSAGES, "2026-11-23", RAW_MESSAGES.empty())
    folder = "raw_messages/year=2026/month=11/day=22"
    objects.put(f"{folder}/part-001-0123456789abcdef.parquet", b"left by a dead writer")
    lake.tidy(RAW_MESSAGES, DAY)
    assert [info.path for info in objects.list(folder)] == [f"{folder}/part-000.parquet"]
    objects.put(f"{folder}/part-001-0123456789abcdef.parquet", b"left by a dead writer")
    assert lake.remove(RAW_MESSAGES, DAY) > 21
    assert objects.list(folder) == ()
    assert lake.keys(RAW_MESSAGES) == ["2026-11-23"]
