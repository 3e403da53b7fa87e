"""What goes into the image: the Dockerfile, the lock, the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dagster._core.instance.config import dagster_instance_config

from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.deploy import compose

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GIT = shutil.which("git") or "git"
DOCKERFILE = (compose.DEPLOY / "Dockerfile").read_text("utf-8")
IGNORED = (compose.DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()


def pins(name: str) -> dict[str, str]:
    """Return each pinned package of a lock file with its version."""
    text = (ROOT / name).read_text("utf-8")
    return dict(
        re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,-]+\])?(==[^ ;\\\n]+)", text, re.MULTILINE)
    )


def test_the_image_has_the_locked_versions_and_their_hashes() -> None:
    assert pins("requirements.txt").items() <= pins("deploy/requirements.txt").items()
    assert pins("deploy/requirements.txt").items() <= pins("requirements-dev.txt").items()
    added = pins("deploy/requirements.txt").keys() - pins("requirements.txt").keys()
    assert {"dagster-postgres", "dagster-k8s", "psycopg2-binary"} <= added
    text = (compose.DEPLOY / "requirements.txt").read_text("utf-8")
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
    assert "--require-hashes" in DOCKERFILE
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block.splitlines()[0])


def test_the_image_is_of_one_pinned_base_and_another_user() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:${PYTHON}"] * 2
    assert re.search(r"^ARG PYTHON=3\.1[123]\.[0-9]+-slim-[a-z]+$", DOCKERFILE, re.MULTILINE)
    [user] = re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)
    assert user == "10001:10001"
    assert compose.services(compose.filled_in())["code"]["user"] == user
    # Nothing of the last stage but the user is made there: what is copied belongs to root.
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "--chown" not in last
    assert last.count("\nRUN ") == 1
    assert "compileall" in DOCKERFILE
    assert not re.search(r"(?i)(password|secret|token)=", DOCKERFILE)


def test_the_image_runs_and_checks_the_code_server_by_default() -> None:
    flat = DOCKERFILE.replace("\\\n", " ")
    command = re.search(r"^CMD (\[.*\])$", flat, re.MULTILINE)
    health = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", flat, re.MULTILINE)
    assert command
    assert health
    code = compose.services(compose.filled_in())["code"]
    # In Compose both name an address that the image does not know of.
    named = [compose.CODE_SERVER if one == "0.0.0.0" else one  # noqa: S104
             for one in re.findall(r'"([^"]*)"', command[1])]  # fmt: skip
    assert named == code["command"][2:]
    asked: list[str] = code["healthcheck"]["test"][1:]
    where = asked.index("-h")
    assert asked[where + 1] == compose.CODE_SERVER
    assert re.findall(r'"([^"]*)"', health[1]) == asked[:where] + asked[where + 2 :]


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    assert IGNORED[1] == "*"
    allowed = {line[1:] for line in IGNORED if line.startswith("!")}
    copied = {
        word.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert allowed == copied
    assert all((ROOT / one).exists() for one in copied)


def test_the_instance_is_one_that_dagster_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = compose.services(compose.filled_in())["webserver"]["environment"]
    for name, value in {**environment, "SCRATCH_DIR": "/tmp"}.items():  # noqa: S108
        monkeypatch.setenv(name, value)
    config, _ = dagster_instance_config(str(compose.DEPLOY))
    assert config["telemetry"] == {"enabled": False}
    assert config["run_monitoring"]["enabled"]
    assert config["run_retries"] == {
        "enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False,
    }  # fmt: skip
    assert config["concurrency"]["runs"]["max_concurrent_runs"] == 2
    assert re.findall(r"env: ([A-Z_]+)", (compose.DEPLOY / "dagster.yaml").read_text("utf-8"))


def test_the_wheel_of_the_image_holds_every_file_that_is_read(tmp_path: Path) -> None:
    copy = tmp_path / "source"
    listed = subprocess.run(
        [GIT, "ls-files", "-z", "conversation_analytics", "pyproject.toml", "setup.cfg",
         "README.md"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, listed):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "wheel", "--no-deps",
         "--no-build-isolation", "--no-index", "-w", str(tmp_path), str(copy)],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {name for name in listed if name.startswith("conversation_analytics/")}
    # `.in` is what a lock file is made of, nothing that runs.
    missing = {name for name in wanted - held if PurePosixPath(name).suffix != ".in"}
    assert missing == set()
