"""The systemd units: the same commands as the containers', confined, stopped in good order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conversation_analytics_tests.deploy import compose

FOLDER = compose.DEPLOY / "systemd"
SERVICES = ("code", "webserver", "daemon", "health")
ANALYZE = shutil.which("systemd-analyze")
SYSUSERS = shutil.which("systemd-sysusers")
BIN = "/opt/platform/bin/"


def unit(name: str) -> dict[str, list[str]]:
    """Return the values of each key of a unit, in their order; sections have no keys in common."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            key, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(key, []).append(value)
    return found


def service(name: str) -> dict[str, list[str]]:
    return unit(f"conversation-analytics-{name}.service")


def user(name: str) -> str:
    return "conversation-analytics" if name == "code" else "conversation-analytics-ui"


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_runs_as_nobody_special_and_writes_nowhere(name: str) -> None:
    found = service(name)
    assert found["User"] == found["Group"] == [user(name)]
    for key in (
        "NoNewPrivileges", "ProtectHome", "PrivateTmp", "ProtectKernelTunables",
        "ProtectControlGroups", "RestrictNamespaces", "RestrictSUIDSGID", "LockPersonality",
    ):  # fmt: skip
        assert found[key] == ["yes"], key
    assert found["ProtectSystem"] == ["strict"]
    assert found["StateDirectory"] == [user(name)]
    assert found["StateDirectoryMode"] == ["0750"]
    assert found["ReadWritePaths"] == found["WorkingDirectory"] == [f"/var/lib/{user(name)}"]
    assert found["CapabilityBoundingSet"] == [""]
    environment = " ".join(found["Environment"])
    assert "SCRATCH_DIR=/tmp" in environment
    files = found["EnvironmentFile"]
    assert all(one.startswith("/etc/conversation-analytics/") for one in files)
    assert ("/etc/conversation-analytics/settings.env" in files) == (name == "code")


@pytest.mark.parametrize("name", ["webserver", "daemon", "health"])
def test_a_unit_sees_nothing_of_the_code_server(name: str) -> None:
    code, found = service("code"), service(name)
    assert not set(found["User"] + found["Group"]) & set(code["User"] + code["Group"])
    assert "SupplementaryGroups" not in found
    assert not set(found["StateDirectory"]) & set(code["StateDirectory"])
    [hidden] = found["InaccessiblePaths"]
    of_code_alone = set(code["EnvironmentFile"]) - set(found["EnvironmentFile"])
    assert of_code_alone == {"/etc/conversation-analytics/settings.env"}
    assert set(hidden.split()) == {f"-{one}" for one in {*of_code_alone, *code["ReadWritePaths"]}}
    assert found["ProtectProc"] == ["invisible"]  # /proc/<pid>/environ of another user's process


def test_both_users_are_made_each_with_its_own_group(tmp_path: Path) -> None:
    made = FOLDER / "conversation-analytics.sysusers.conf"
    lines = [one.split() for one in made.read_text("utf-8").splitlines() if not one.startswith("#")]
    assert [one[0] for one in lines] == ["u", "u"]  # a group of the same name, no other
    homes = {one[1]: one[-2] for one in lines}
    assert homes == {
        service(name)["User"][0]: service(name)["WorkingDirectory"][0] for name in SERVICES
    }
    if SYSUSERS is None or os.geteuid() != 0:
        pytest.skip("systemd-sysusers is not installed, or not for this user")
    (tmp_path / "etc").mkdir()
    subprocess.run([SYSUSERS, f"--root={tmp_path}", made.resolve()], check=True, timeout=60)
    users = [one.split(":") for one in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert {one[0]: one[5] for one in users} == homes
    assert len({one[2] for one in users}) == len({one[3] for one in users}) == 2


def test_the_files_of_secrets_are_roots_alone() -> None:
    page = (compose.DEPLOY.parent / "docs" / "deploy.md").read_text("utf-8")
    [command] = re.findall(r"^    install -m 0600 -o root -g root (.*)$", page, re.MULTILINE)
    *names, folder = command.split()
    needed = {one for name in SERVICES for one in service(name)["EnvironmentFile"]}
    assert {f"{folder}/{name}" for name in names} == needed
    assert "0640" not in page


@pytest.mark.parametrize("name", ["code", "webserver", "daemon"])
def test_a_unit_runs_the_command_of_the_container_on_loopback(name: str) -> None:
    there = compose.services(compose.filled_in())[name]
    words = [word for word in there["command"] if word != "python"]
    words = [word for word in words if not word.startswith("/opt/deploy")]
    expected = " ".join(words).replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    expected = expected.replace(compose.CODE_SERVER, "127.0.0.1")
    expected = expected.replace("/opt/dagster/", "/etc/conversation-analytics/")
    found = service(name)
    assert found["ExecStart"] == [BIN + expected]
    assert found["KillSignal"] == ["SIGTERM"]
    grace = there["stop_grace_period"]
    in_seconds = int(grace[:-1]) * {"s": 1, "m": 60}[grace[-1]]
    assert found["TimeoutStopSec"] == [str(in_seconds)]
    assert found["KillMode"] == ["control-group" if name == "code" else "mixed"]


def test_the_health_unit_asks_what_the_containers_are_asked() -> None:
    services = compose.services(compose.filled_in())
    asked = service("health")["ExecStart"]
    for name in ("code", "daemon"):
        words = " ".join(services[name]["healthcheck"]["test"][1:])
        assert BIN + words.replace(f" -h {compose.CODE_SERVER}", "") in asked  # else it is loopback
    [url] = re.findall(r"'(http[^']*)'", services["webserver"]["healthcheck"]["test"][-1])
    assert any(url in command for command in asked)


def test_the_target_starts_all_of_them() -> None:
    [wanted] = unit("conversation-analytics.target")["Wants"]
    there = {path.name for path in FOLDER.glob("conversation-analytics-*")}
    assert set(wanted.split()) <= there
    assert there - set(wanted.split()) == {"conversation-analytics-health.service"}


@pytest.fixture
def placed(tmp_path: Path) -> list[str]:
    """The units with programs that exist here."""
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed")
    here = os.fspath(Path(sys.executable).parent)
    for path in FOLDER.glob("*.*"):
        if path.suffix in {".service", ".target", ".timer"}:
            text = path.read_text("utf-8").replace("/opt/platform/bin", here)
            text = text.replace("/opt/deploy", os.fspath(compose.DEPLOY))
            (tmp_path / path.name).write_text(text, encoding="utf-8")
    return sorted(os.fspath(path) for path in tmp_path.iterdir())


def test_systemd_takes_the_units(placed: list[str]) -> None:
    verified = subprocess.run(
        [ANALYZE or "", "verify", "--man=no", *placed],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    told = [line for line in verified.stderr.splitlines() if "conversation-analytics" in line]
    assert (verified.returncode, told) == (0, [])


def test_systemd_finds_little_exposed(placed: list[str]) -> None:
    for path in placed:
        if path.endswith(".service"):
            rated = subprocess.run(
                # In tenths: 2.0 of 10, where an unhardened service has 9.6.
                [ANALYZE or "", "security", "--offline=true", "--threshold=20", path],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert rated.returncode == 0, rated.stdout[-500:]
