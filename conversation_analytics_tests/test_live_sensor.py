"""A running `dagster dev`: a new and a changed row in the real NocoDB reach the day's report."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import requests

from conversation_analytics.core import schemas
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.nocodb_seed import load_native_rows, update_rows
from conversation_analytics.stack.processes import free_port, running_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import NativeBase

ROOT = Path(__file__).parents[1]
START = "mutation($s: SensorSelector!){startSensor(sensorSelector:$s){__typename}}"
pytestmark = [pytest.mark.nocodb, pytest.mark.timeout(600)]


def wait_for(what: str, met: Callable[[], bool], log: Path, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds} s\n{log.read_text()[-4000:]}")
        time.sleep(1)


def report_value(settings: Settings, day: str, metric: str) -> float | None:
    lake = open_lake(settings)
    if not lake.exists(schemas.DAILY_REPORT, day):
        return None
    report = lake.read(schemas.DAILY_REPORT, day)
    rows = report.filter(pl.col("app_id").is_null() & (pl.col("metric") == metric))
    return float(rows["value"].item())


def start_sensor(url: str) -> bool:
    variables = {
        "s": {
            "repositoryName": "__repository__",
            "repositoryLocationName": "conversation_analytics",
            "sensorName": "nocodb_changes",
        }
    }
    try:
        answer = requests.post(
            f"{url}/graphql", json={"query": START, "variables": variables}, timeout=30
        )
    except requests.ConnectionError:
        return False
    found: Any = answer.json().get("data")
    return bool(found) and found["startSensor"]["__typename"] == "Sensor"


def test_a_new_and_a_changed_row_reach_the_report_by_themselves(
    nocodb: NocodbServer, native_base: NativeBase, tmp_path: Path
) -> None:
    environment = {
        "NOCODB_BASE_URL": nocodb.base_url,
        "NOCODB_API_TOKEN": nocodb.api_token,
        "NOCODB_PROJECT_ID": native_base.base_id,
        "PARQUET_BASE_DIR": str(tmp_path / "lake"),
        "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
        "ANALYTICS_START_DATE": (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=3)).isoformat(),
        "SENSOR_INTERVAL": "5",
        "SENSOR_SETTLE": "0",
    }
    settings = parse_settings(environment)
    shutil.copy(ROOT / "workspace.yaml", tmp_path)
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    whole = {**kept, **environment, "DAGSTER_HOME": str(tmp_path / "home")}
    cli = [sys.executable, "-m", "conversation_analytics.cli", "home"]
    subprocess.run(cli, cwd=tmp_path, env=whole, check=True)
    port, log = free_port(), tmp_path / "dagster.log"
    url = f"http://127.0.0.1:{port}"
    with running_process(
        "dagster",
        [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)],
        data_dir=tmp_path,
        ready=lambda: start_sensor(url),
        deadline_seconds=180,
        environment=whole,
    ):
        created = dt.datetime.now(dt.UTC).replace(microsecond=0)
        day = created.date().isoformat()
        conversation = str(uuid.uuid4())
        common = {"app_id": "app", "created_at": created, "updated_at": created}
        _, messages = load_native_rows(
            nocodb,
            native_base,
            [{"id": conversation, **common}],
            [
                {
                    "id": str(uuid.uuid4()), "conversation_id": conversation, "query": "hello",
                    "answer": "hi", "status": "normal", "answer_tokens": 5, **common,
                }
            ],
        )  # fmt: skip
        wait_for("a new row", lambda: report_value(settings, day, "turns") == 1, log)
        assert report_value(settings, day, "answer_tokens") == 5

        update_rows(
            nocodb, native_base.messages_table_id, [{"Id": messages[0], "answer_tokens": 7}]
        )
        wait_for("a changed row", lambda: report_value(settings, day, "answer_tokens") == 7, log)
        assert report_value(settings, day, "turns") == 1
