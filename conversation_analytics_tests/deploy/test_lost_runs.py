"""Runs of a code server that was killed."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from conversation_analytics_tests.deploy import compose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SPEC = importlib.util.spec_from_file_location("end_lost_runs", compose.DEPLOY / "end_lost_runs.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
end_lost_runs: Callable[[dg.DagsterInstance, str, int], list[str]] = _MODULE.end_lost_runs

OURS = {".dagster/grpc_info": json.dumps({"host": "code", "port": 4000})}
ANOTHERS = {".dagster/grpc_info": json.dumps({"host": "code", "port": 4001})}
S = dg.DagsterRunStatus


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@dg.job
def nothing() -> None:
    """No steps."""


def run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str]) -> Any:
    return instance.create_run_for_job(nothing, status=status, tags=tags).run_id


@pytest.mark.parametrize(
    ("before", "tags", "after"),
    [
        (S.STARTED, OURS, S.FAILURE),
        (S.STARTING, OURS, S.FAILURE),
        (S.CANCELING, OURS, S.CANCELED),
        (S.NOT_STARTED, OURS, S.NOT_STARTED),
        (S.SUCCESS, OURS, S.SUCCESS),
        (S.STARTED, ANOTHERS, S.STARTED),
        (S.STARTED, {}, S.STARTED),
    ],
    ids=[
        "started",
        "starting",
        "canceling",
        "not started",
        "done",
        "another server's",
        "a command's",
    ],
)
def test_unfinished_runs_of_this_server_end_and_no_others(
    instance: dg.DagsterInstance,
    before: dg.DagsterRunStatus,
    tags: dict[str, str],
    after: dg.DagsterRunStatus,
) -> None:
    one = run(instance, before, tags)
    assert end_lost_runs(instance, "code", 4000) == ([one] if after is not before else [])
    found = instance.get_run_by_id(one)
    assert found is not None
    assert found.status is after
    assert end_lost_runs(instance, "code", 4000) == []
