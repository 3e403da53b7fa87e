"""What the tools themselves say of deploy/: `make deploy-check` installs and runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conversation_analytics_tests.deploy import compose

FOLDER = Path(sys.prefix) / "deploy-check"
COMPOSE = FOLDER / "compose" / "docker-compose"
HADOLINT = FOLDER / "bin" / "hadolint"


@pytest.fixture(autouse=True)
def _tools() -> None:
    if not FOLDER.exists():
        if os.environ.get("DEPLOY_CHECK") == "required":
            pytest.fail("the tools are not installed: `make deploy-check` does it")
        pytest.skip("`make deploy-check` installs the tools")


def asked(
    tmp_path: Path, variables: dict[str, str], *words: str, settings: str | None = ""
) -> subprocess.CompletedProcess[str]:
    """Ask Compose about the file in a folder with a `.env` and, but for None, a `settings.env`."""
    file, env_file = tmp_path / "compose.yaml", tmp_path / ".env"
    file.write_text(compose.TEXT, encoding="utf-8")
    env_file.write_text("".join(f"{k}={v}\n" for k, v in variables.items()), encoding="utf-8")
    if settings is not None:
        (tmp_path / "settings.env").write_text(settings, encoding="utf-8")
    return subprocess.run(
        [COMPOSE, "-f", file, "--env-file", env_file, *words],
        env={"PATH": os.environ["PATH"], "HOME": os.fspath(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_compose_takes_the_file_and_reads_it_as_the_tests_do(tmp_path: Path) -> None:
    variables = compose.filled_in()
    read = asked(tmp_path, variables, "--profile", "sources", "config", "--format", "json")
    assert read.returncode == 0, read.stderr
    assert "level=warning" not in read.stderr
    services = json.loads(read.stdout.replace("$$", "$"))["services"]  # it escapes its output again
    ours = compose.services(variables)
    assert services.keys() == ours.keys()
    for name, service in ours.items():
        there = services[name]
        assert there.get("command") == service.get("command")
        assert there.get("environment", {}) == service.get("environment", {})
        assert there["read_only"] is True
        assert there["user"] == service["user"]


def test_without_the_profile_there_is_no_nocodb(tmp_path: Path) -> None:
    read = asked(tmp_path, compose.filled_in(), "config", "--services")
    assert set(read.stdout.split()) == {
        "webserver", "daemon", "code", "prepare", "dagster-postgres", "mongodb", "s3",
    }  # fmt: skip


def test_compose_refuses_the_example_as_it_is(tmp_path: Path) -> None:
    refused = asked(tmp_path, compose.example(), "config", "--quiet")
    assert refused.returncode != 0
    assert re.search("required variable [A-Z_]+ is missing a value", refused.stderr)


def test_settings_reach_the_code_server_as_they_are_and_nobody_else(tmp_path: Path) -> None:
    key = "a$b${c}#d'e\"" * 4
    filled = {
        **compose.settings_example(), "PSEUDONYM_KEY": key, "NOCODB_BASE_URL": "https://n.example",
    }  # fmt: skip
    settings = "# a comment\n\n" + "".join(f"{name}={value}\n" for name, value in filled.items())
    read = asked(
        tmp_path, compose.filled_in(), "--profile", "sources", "config", "--format", "json",
        settings=settings,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    services = json.loads(read.stdout)["services"]
    code = {k: v.replace("$$", "$") for k, v in services.pop("code")["environment"].items()}
    assert filled.items() <= code.items()
    assert "PSEUDONYM_KEY" not in json.dumps(services)


def test_without_the_file_of_the_settings_compose_refuses(tmp_path: Path) -> None:
    refused = asked(tmp_path, compose.filled_in(), "config", "--quiet", settings=None)
    assert refused.returncode != 0
    assert "settings.env" in refused.stderr


def test_compose_tells_prepare_the_names_of_misplaced_settings(tmp_path: Path) -> None:
    variables = {**compose.filled_in(), "PSEUDONYM_KEY": "of-a-user", "ANALYTICS_TIMEZONE": "UTC"}
    read = asked(tmp_path, variables, "config", "--format", "json")
    told = json.loads(read.stdout)["services"]["prepare"]["environment"]["MISPLACED_SETTINGS"]
    assert told.split() == ["PSEUDONYM_KEY", "ANALYTICS_TIMEZONE"]
    assert "of-a-user" not in read.stdout


def test_hadolint_finds_nothing() -> None:
    linted = subprocess.run(
        [HADOLINT, compose.DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert (linted.returncode, linted.stdout) == (0, "")
