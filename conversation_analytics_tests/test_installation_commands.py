"""`check`, `status` and `completion` as operators and their scripts use them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from conversation_analytics import installation
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.schemas import DAILY_PARTIALS, MESSAGES, RAW_MESSAGES
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.materialize import prepare_home
from conversation_analytics.resources import connections
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.settings import parse_settings
from conversation_analytics_tests.commands import CLI, clean_environment, typed

if TYPE_CHECKING:
    from conversation_analytics.core.findings import Finding


KEY = "a-made-up-key-of-more-than-32-characters-1"


def found(folder: Path, **environment: str) -> dict[str, Finding]:
    settings = parse_settings(
        {"PARQUET_BASE_DIR": str(folder / "lake"), "SQLITE_PATH": str(folder / "d.sqlite")}
        | environment
    )
    return {one.name: one for one in installation.findings(settings, folder / ".env")}


def test_check_as_json_is_for_scripts(tmp_path: Path) -> None:
    result = typed(tmp_path, "check", "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["state"] == "ok"
    assert [one["name"] for one in told["findings"][:4]] == [
        "settings", "version", "source", "lake",
    ]  # fmt: skip
    assert {one["state"] for one in told["findings"]} == {"ok"}
    assert told["version"] in told["findings"][1]["says"]
    assert result.stderr == ""


def test_a_warning_is_no_failure_and_is_in_the_json(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NOCODB_TOKEN=t0k3n-value\n")
    result = typed(tmp_path, "check", "--json")
    told = json.loads(result.stdout)
    assert (result.returncode, told["state"]) == (0, "warn")
    (warning,) = [one for one in told["findings"] if one["state"] == "warn"]
    assert warning["mend"] == "meant NOCODB_API_TOKEN?"
    assert "t0k3n-value" not in result.stdout


def test_what_fails_is_in_the_json_and_in_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = typed(tmp_path, "check", "--json", PARQUET_BASE_DIR="file/lake")
    told = json.loads(result.stdout)
    assert (result.returncode, told["state"]) == (1, "fail")
    assert [one["name"] for one in told["findings"] if one["state"] == "fail"] == ["lake"]
    # What comes after it is looked at all the same.
    assert "documents" in {one["name"] for one in told["findings"]}


def test_wrong_settings_are_json_too(tmp_path: Path) -> None:
    result = typed(tmp_path, "check", "--json", MAX_RETRIES="many")
    assert result.returncode == 2
    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["name"], finding["state"]) == ("settings", "fail")
    assert "MAX_RETRIES" in finding["says"]
    plain = typed(tmp_path, "check", MAX_RETRIES="many")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert "MAX_RETRIES" in plain.stderr


def test_a_lake_of_an_earlier_version_is_told_with_what_mends_it(tmp_path: Path) -> None:
    lake = open_lake(parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "lake")}))
    earlier = dataclasses.replace(DAILY_PARTIALS, columns=DAILY_PARTIALS.columns[:-1])
    lake.write(earlier, "2026-11-21", earlier.empty())
    finding = found(tmp_path)["lake version"]
    assert (finding.state, "daily_partials/2026-11-21" in finding.says) == ("warn", True)
    assert "repair" in finding.mend


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def test_without_records_there_is_no_daemon_to_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "none"))
    told = found(tmp_path)
    assert told["dagster"].state == "ok"
    assert "daemon" not in told
    assert not (tmp_path / "none").exists()


def test_a_folder_of_nobody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "~nobody-of-that-name/dagster")
    finding = found(tmp_path)["dagster"]
    assert finding.state == "fail"
    assert "DAGSTER_HOME: expected a folder, got ~nobody-of-that-name/dagster" in finding.says
    with pytest.raises(SettingsError, match="write the folder out"):
        prepare_home()


def test_a_daemon_that_never_ran_is_no_warning(tmp_path: Path, home: Path) -> None:
    told = found(tmp_path)
    assert str(home) in told["dagster"].says
    assert told["daemon"].state == "ok"
    assert "has not run" in told["daemon"].says


@pytest.mark.parametrize(
    ("age_s", "state"), [(5, "ok"), (3600, "warn")], ids=["a living one", "a dead one"]
)
def test_a_daemon_is_told_by_its_last_sign(
    tmp_path: Path, home: Path, age_s: int, state: str
) -> None:
    now = dt.datetime.now(dt.UTC).timestamp()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for kind, older in (("SENSOR", 0), ("SCHEDULER", 7200)):  # the newest one counts
            instance.add_daemon_heartbeat(DaemonHeartbeat(now - age_s - older, kind, "id", []))
    finding = found(tmp_path)["daemon"]
    assert finding.state == state
    assert bool(finding.mend) == (state == "warn")


def test_records_that_cannot_be_read_fail(tmp_path: Path, home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)):
        pass
    for file in home.rglob("*.db"):
        file.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    finding = found(tmp_path)["dagster"]
    assert finding.state == "fail"
    assert str(home) in finding.says


@pytest.mark.parametrize(
    ("environment", "name", "told"),
    [
        ({"TAXONOMY_FILE": "/not/there.yaml"}, "taxonomy", "/not/there.yaml"),
        ({"ALERT_WEBHOOK_URL": "https://hooks.example"}, "definitions", "ALERT_WEBHOOK_SECRET"),
    ],
    ids=["no taxonomy", "an alert without a secret"],
)
def test_what_a_run_would_refuse_is_refused_by_check(
    tmp_path: Path, environment: dict[str, str], name: str, told: str
) -> None:
    finding = found(tmp_path, **environment)[name]
    assert (finding.state, told in finding.says) == ("fail", True)


def test_another_key_than_the_lakes_is_told(tmp_path: Path) -> None:
    lake = open_lake(parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "lake")}))
    assert found(tmp_path, PSEUDONYM_KEY=KEY)["lake"].state == "ok"
    assert list(lake.objects.list("pseudonyms")) == []  # looking notes no key
    lake.write(RAW_MESSAGES, "2026-11-21", RAW_MESSAGES.empty())
    finding = found(tmp_path, PSEUDONYM_KEY=KEY)["lake"]
    assert (finding.state, "PSEUDONYM_KEY is set" in finding.says) == ("fail", True)


def test_a_storage_that_lets_late_writers_through_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = LocalObjects.swap

    def lax(self: LocalObjects, path: str, data: bytes, seen: str | None) -> str:
        with contextlib.suppress(PartitionReplacedError):
            return strict(self, path, data, seen)
        self.put(path, data)
        return "another"

    assert found(tmp_path)["lake"].state == "ok"
    monkeypatch.setattr(LocalObjects, "swap", lax)
    finding = found(tmp_path)["lake"]
    assert (finding.state, "too late is not refused" in finding.says) == ("fail", True)
    assert list((tmp_path / "lake" / "reports").glob("probe*")) == []


def test_what_nobody_foresees_is_a_finding_and_the_rest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unforeseen(*_: object) -> None:
        raise KeyError("p4ssw0rd")

    monkeypatch.setattr(connections, "open_lake", unforeseen)
    told = found(tmp_path)
    assert told["lake"].state == "fail"
    assert "KeyError in test_installation_commands.py, line" in told["lake"].says
    assert "p4ssw0rd" not in told["lake"].text
    assert told["documents"].state == "ok"


def test_a_variable_that_is_all_but_a_setting_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOCODB_BASEURL", "http://nocodb")
    finding = found(tmp_path)["environment"]
    assert (finding.state, finding.mend) == ("warn", "meant NOCODB_BASE_URL?")


def test_a_folder_that_may_not_be_entered_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exists(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", exists)
    disks = list(installation._disks(parse_settings({}), tmp_path))
    assert {one.state for one in disks} == {"fail"}
    assert all("Permission denied" in one.says for one in disks)


def test_every_disk_is_told_once(tmp_path: Path, home: Path) -> None:
    disks = [name for name in found(tmp_path) if name.startswith("disk of ")]
    for what in ("lake", "documents", "Dagster's records", "temporary files"):
        assert sum(what in name for name in disks) == 1
    assert home.stat().st_dev == tmp_path.stat().st_dev
    assert any("lake" in name and "Dagster's records" in name for name in disks)


def test_status_fits_eighty_columns_with_whole_names(tmp_path: Path) -> None:
    lake = open_lake(parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "data" / "lake")}))
    for day in ("2026-11-19", "2026-11-21"):
        lake.write(MESSAGES, day, MESSAGES.empty(), lake.begin(MESSAGES, day), {})
    result = typed(tmp_path, "status", COLUMNS="80")
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    (line,) = [one for one in result.stdout.splitlines() if one.startswith("messages ")]
    assert line.split() == ["messages", "2", "2026-11-19", "2026-11-21", "1", "0"]
    assert "raw_undated_conversations" in result.stdout
    assert "…" not in result.stdout


def test_status_as_json_has_what_the_table_has(tmp_path: Path) -> None:
    lake = open_lake(parse_settings({"PARQUET_BASE_DIR": str(tmp_path / "data" / "lake")}))
    lake.write(MESSAGES, "2026-11-21", MESSAGES.empty(), lake.begin(MESSAGES, "2026-11-21"), {})
    result = typed(tmp_path, "status", "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    tables = {one["table"]: one for one in told["tables"]}
    assert tables["messages"] == {
        "table": "messages", "partitions": 1, "first": "2026-11-21", "last": "2026-11-21",
        "missing": 0, "rows": 0, "outdated": 0,
    }  # fmt: skip
    assert tables["user_growth"]["partitions"] == 0
    assert told["dead_letters"] == 0
    assert told["translations_waiting"] == {"rows": 0, "days": 0}


def test_bash_completes_commands(tmp_path: Path) -> None:
    printed = typed(tmp_path, "completion", "bash")
    assert "_CONVERSATION_ANALYTICS_COMPLETE=bash_complete" in printed.stdout
    asked = subprocess.run(
        CLI, cwd=tmp_path, capture_output=True, text=True, check=False,
        env=clean_environment(
            _CONVERSATION_ANALYTICS_COMPLETE="bash_complete",
            COMP_WORDS="conversation-analytics ba", COMP_CWORD="1",
        ),
    )  # fmt: skip
    assert asked.stdout.split() == ["plain,backfill"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_that_can_complete(tmp_path: Path, shell: str) -> None:
    assert f"{shell}_complete" in typed(tmp_path, "completion", shell).stdout


@pytest.mark.parametrize(
    ("words", "environment", "coloured"),
    [
        ((), {}, False),
        (("--color", "always"), {}, True),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False),
    ],
    ids=["a pipe", "wanted", "wanted all the same", "not wanted"],
)
def test_colours_switch_off(
    tmp_path: Path,
    words: tuple[str, ...],
    environment: dict[str, str],
    coloured: bool,  # noqa: FBT001 - a parameter of the table above
) -> None:
    for command in ("check", "status"):
        result = typed(tmp_path, *words, command, **environment)
        assert result.returncode == 0, result.stderr
        assert ("\x1b[" in result.stdout) == coloured, result.stdout
