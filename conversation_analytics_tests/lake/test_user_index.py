from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.id_search import SoughtIds
from conversation_analytics.core.schemas import (
    MESSAGES,
    RAW_CONVERSATIONS,
    RAW_MESSAGES,
    RAW_UNDATED_MESSAGES,
)
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.search import search_lake
from conversation_analytics.lake.store import Lake
from conversation_analytics.lake.user_index import (
    add_to_index,
    conversation_mark,
    holding_places,
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
    found = search_lake(lake, SoughtIds.of([name]), "elsewhere/")
    assert found.objects >= 4  # and the lock of a folder on disk
    assert [path.rpartition("/")[2] for path in found.holding] == [
        "note.json",
        "part-000.parquet",
        "a.html",
    ]


def parquet(frame: pl.DataFrame, **options: Any) -> bytes:
    sink = io.BytesIO()
    frame.write_parquet(sink, **options)
    return sink.getvalue()


def test_a_search_tells_an_id_from_longer_ones(objects: ObjectStore) -> None:
    lake = Lake(objects)
    longer = pl.DataFrame({"user_id": ["user 10", None]})
    own = pl.DataFrame({"user_id": ["user 1"]})
    deep = pl.DataFrame({"a": [[{"b": "of user 1"}]], "c": [b"x"]})
    binary = pl.DataFrame({"a": [b"\xffuser 1\xff"]})
    for compression in ("uncompressed", "zstd"):
        for name, frame in (("longer", longer), ("own", own), ("deep", deep), ("bin", binary)):
            objects.put(
                f"messages/{name}-{compression}.parquet", parquet(frame, compression=compression)
            )
    metadata = parquet(longer, metadata={"made for": "user 1"})
    objects.put("messages/told.parquet", metadata)
    whole = parquet(own, compression="uncompressed", statistics=False)
    objects.put("messages/cut.parquet", whole[:-20])
    objects.put("messages/broken.parquet", whole[:-20] + b"PAR1")
    objects.put("reports/daily/longer.html", b"<td>user 10</td>")
    found = search_lake(lake, SoughtIds.of(["user 1"]), "elsewhere/")
    assert [path.rpartition("/")[2].removesuffix(".parquet") for path in found.holding] == [
        "bin-uncompressed", "bin-zstd", "broken", "cut", "deep-uncompressed", "deep-zstd",
        "own-uncompressed", "own-zstd", "told",
    ]  # fmt: skip


def test_a_search_for_a_number_looks_at_whole_values_of_users(objects: ObjectStore) -> None:
    lake = Lake(objects)
    frames: dict[str, dict[str, list[str | None]]] = {
        "user": {"user_id": ["17", "7"]},
        "raw": {"payload": ['{"a":1,"from_end_user_id":7}']},
        "other": {"user_id": ["17", "77"], "label": ["7", "7"], "payload": ['{"n":7}', None]},
    }
    for name, columns in frames.items():
        objects.put(f"messages/{name}.parquet", parquet(pl.DataFrame(columns)))
    objects.put("reports/daily/a.html", b"<td>7</td>")
    objects.put("notes/a.json", b'{"user_id": "7"}')
    found = search_lake(lake, SoughtIds.of(["7"]), "elsewhere/")
    assert found.holding == ("messages/raw.parquet", "messages/user.parquet", "notes/a.json")


def test_a_live_writer_s_temporary_file_may_go_while_it_is_searched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(LocalObjects(tmp_path / "lake"))
    lake.objects.put("reports/page.html", b"nobody")
    folder = tmp_path / "lake/reports"
    live, dead = folder / ".live.html.1-1-0.tmp", folder / ".dead.html.1-1-0.tmp"
    for path in (live, dead):
        path.write_bytes(b"user 1")
    read = Path.read_bytes

    def read_late(path: Path) -> bytes:
        if path == live:
            live.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_late)
    found = search_lake(lake, SoughtIds.of(["user 1"]), "elsewhere/")
    assert not live.exists()
    assert found.holding == (f"reports/{dead.name}",)


def test_raw_partitions_are_told_from_the_objects_that_belong_to_them(
    objects: ObjectStore,
) -> None:
    lake = Lake(objects)
    for schema, key in ((RAW_MESSAGES, DAY), (RAW_MESSAGES, "2026-11-23"), (MESSAGES, DAY)):
        lake.write(schema, key, schema.empty())
    lake.write(RAW_UNDATED_MESSAGES, None, RAW_UNDATED_MESSAGES.empty())
    named = [
        info.path
        for info in objects.list("")
        if "day=22" in info.path or info.path.startswith("raw_undated")
    ]
    assert len(named) == 3
    assert set(holding_places(lake, [*named, "raw_messages/other", "reports/a.html"])) == {
        (RAW_MESSAGES, DAY), (RAW_UNDATED_MESSAGES, None),
    }  # fmt: skip


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
