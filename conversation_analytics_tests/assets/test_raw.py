"""A person who is erased while their rows are being read does not get into the lake by it."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.assets import raw
from conversation_analytics.assets.erasing import carry_out, pending, request_erasure
from conversation_analytics.assets.erasing_notes import Erasing
from conversation_analytics.core.landing import GonePolicy, land
from conversation_analytics.core.schemas import RAW_MESSAGES, RAW_UNDATED_MESSAGES
from conversation_analytics.core.source import SourceTable
from conversation_analytics.io_managers import retries
from conversation_analytics.lake.store import Lake
from conversation_analytics.resources.connections import open_documents, open_lake, open_source
from conversation_analytics_tests.erased import DAYS, settings_in
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.settings import Settings

DAY = DAYS[0]
NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


class KilledError(Exception):
    """The process ended here."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake without anything in it; what is gone at the source stays in it."""
    monkeypatch.setattr(retries, "WAIT_S", 0.0)
    monkeypatch.setattr(raw, "_policy", lambda *_: GonePolicy.FLAG)
    return settings_in(tmp_path, TRANSLATOR="none", ERASURE_MIN_USERS="0")


def ingest(settings: Settings, key: str | None) -> bool:
    if key is None:
        asset = RAW_UNDATED_MESSAGES.name
        return run_job(settings, "undated", assets=[asset], raise_on_error=False).success
    asset = RAW_MESSAGES.name
    return run_job(settings, "daily", key, assets=[asset], raise_on_error=False).success


def somebody(settings: Settings, key: str | None) -> str:
    with closing(open_source(settings)) as source:
        if key is None:
            rows = source.read_undated(SourceTable.MESSAGES)
        else:
            start = dt.datetime.fromisoformat(f"{key}T00:00Z")
            end = start + dt.timedelta(days=1)
            rows = source.read_window(SourceTable.MESSAGES, start, end)
    users = [json.loads(row)["from_end_user_id"] for row in rows["payload"]]
    return min(user for user in users if user)


def erase(settings: Settings, user: str) -> dict[str, Any]:
    with closing(open_documents(settings)) as documents:
        work = Erasing(open_lake(settings), documents, settings)
        return carry_out(work, request_erasure(work, user), lambda: NOW, user)


def holding(settings: Settings, user: str) -> set[str]:
    """Return the folders of the lake in which an object holds an id."""
    lake = open_lake(settings)
    return {
        info.path.partition("/")[0]
        for info in lake.objects.list("")
        if user.encode() in (lake.objects.get(info.path) or b"")
    }


def at_the_write(
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[], object],
    after: Callable[[], object] = lambda: None,
) -> list[str]:
    """Let something happen around the first write of raw rows; return the tables of all writes."""
    written: list[str] = []
    write = Lake.write

    def watched(lake: Lake, schema: TableSchema, *words: Any, **more: Any) -> Any:
        written.append(schema.name)
        if len(written) > 1:
            return write(lake, schema, *words, **more)
        before()
        told = write(lake, schema, *words, **more)
        after()
        return told

    monkeypatch.setattr(Lake, "write", watched)
    return written


@pytest.mark.parametrize("key", [DAY, None])
def test_erased_between_read_and_write_they_are_gone_when_the_step_has_repeated(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    user, proofs = somebody(settings, key), list[dict[str, Any]]()
    written = at_the_write(monkeypatch, lambda: proofs.append(erase(settings, user)))
    assert ingest(settings, key)
    assert [proof["search"]["found"] for proof in proofs] == [0]
    assert len(written) == 2
    assert holding(settings, user) == set()
    schema = RAW_UNDATED_MESSAGES if key is None else RAW_MESSAGES
    assert (open_lake(settings).row_count(schema, key) > 0) == (key is not None)
    assert erase(settings, user)["search"]["found"] == 0
    assert pending(open_lake(settings)) == []


@pytest.mark.parametrize("key", [DAY, None])
def test_erased_before_the_rows_are_noted_they_are_not_written_at_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    user = somebody(settings, key)

    def erased_meanwhile(*words: Any, **more: Any) -> Any:
        landing = land(*words, **more)
        erase(settings, user)
        return landing

    monkeypatch.setattr(raw, "land", erased_meanwhile)
    written = at_the_write(monkeypatch, lambda: None)
    assert ingest(settings, key)
    assert len(written) == 1
    assert holding(settings, user) == set()


@pytest.mark.parametrize("by", ["read", "erasure"])
def test_what_a_killed_step_stored_of_them_goes_with_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    user = somebody(settings, DAY)

    def killed() -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        at_the_write(patch, lambda: erase(settings, user), killed)
        assert not ingest(settings, DAY)
    assert holding(settings, user) == {RAW_MESSAGES.name}
    if by == "read":
        assert ingest(settings, DAY)
    else:
        proof = erase(settings, user)
        assert proof["rows"]["raw_messages"]["before"] > 0 == proof["search"]["found"]
    assert holding(settings, user) == set()
    assert open_lake(settings).row_count(RAW_MESSAGES, DAY) > 0
    assert pending(open_lake(settings)) == []


def test_an_erasure_indexes_the_partition_that_its_search_finds(settings: Settings) -> None:
    user, lake = somebody(settings, DAY), open_lake(settings)
    assert ingest(settings, DAY)
    lake.objects.put(f"index/{RAW_MESSAGES.name}/{DAY}.bin", b"")
    proof = erase(settings, user)
    assert proof["rows"]["raw_messages"]["before"] > 0 == proof["search"]["found"]
    assert holding(settings, user) == set()
    assert pending(lake) == []
