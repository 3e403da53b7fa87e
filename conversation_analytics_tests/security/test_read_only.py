"""The commands of docs/security.md: a web server that only shows, and only on this machine."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from conversation_analytics.stack.processes import free_port, running_process
from conversation_analytics_tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
LAUNCH = """
mutation($p: ExecutionParams!) {
  launchRun(executionParams: $p) { __typename ... on UnauthorizedError { message } }
}
"""
START = "mutation($s: SensorSelector!){startSensor(sensorSelector:$s){__typename}}"
REPOSITORY = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "conversation_analytics.definitions",
}


def documented(name: str) -> str:
    """Return the one command of the page that begins like that."""
    [found] = re.findall(rf"^    ({re.escape(name)} .*)$", PAGE, re.MULTILINE)
    return str(found)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The documented read-only web server, on a port of its own."""
    folder = tmp_path_factory.mktemp("read-only")
    (folder / "home").mkdir()
    free = free_port()
    program, *words = shlex.split(documented(".venv/bin/dagster-webserver"))
    assert program == ".venv/bin/dagster-webserver"
    words[words.index("-p") + 1] = str(free)
    with running_process(
        "dagster-webserver",
        [str(Path(sys.executable).parent / "dagster-webserver"), *words],
        data_dir=folder,
        ready=lambda: answers(free),
        deadline_seconds=120,
        environment={"DAGSTER_HOME": str(folder / "home")},
        stop_signal=signal.SIGINT,
    ):
        yield free


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5).ok
    except requests.ConnectionError:
        return False


def ask(port: int, query: str, **variables: object) -> Any:
    answer = requests.post(
        f"http://127.0.0.1:{port}/graphql", json={"query": query, "variables": variables},
        timeout=60,
    )  # fmt: skip
    return answer.json()["data"]


def test_a_read_only_instance_shows_and_starts_nothing(port: int) -> None:
    shown = ask(port, "{assetNodes{assetKey{path}}}")
    assert ["messages"] in [one["assetKey"]["path"] for one in shown["assetNodes"]]
    launched = ask(
        port,
        LAUNCH,
        p={
            "selector": {**REPOSITORY, "pipelineName": "undated"},
            "mode": "default",
            "runConfigData": {},
        },
    )
    assert launched["launchRun"]["__typename"] == "UnauthorizedError"
    started = ask(port, START, s={**REPOSITORY, "sensorName": "run_failures"})
    assert started["startSensor"]["__typename"] == "UnauthorizedError"
    assert ask(port, "{runsOrError{... on Runs{results{id}}}}")["runsOrError"]["results"] == []


def listening(port: int) -> set[str]:
    """Return the local addresses, as the kernel writes them, that listen on a port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def test_it_listens_on_loopback_alone(port: int) -> None:
    assert listening(port) == {"0100007F"}


def test_make_dev_names_loopback() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.findall(r"dagster dev .*", makefile) == ["dagster dev -h 127.0.0.1 -p $(PORT)"]


def test_the_proxies_of_the_page_lead_to_loopback_and_ask_who_it_is() -> None:
    recipes = re.findall(r"```(?:nginx|caddy)\n(.*?)```", PAGE, re.DOTALL)
    assert len(recipes) == 3
    for recipe in recipes:
        targets = re.findall(
            r"(?:proxy_pass|reverse_proxy) (?:http://)?(\S+?);?$", recipe, re.MULTILINE
        )
        assert "127.0.0.1:3000" in targets
        assert all(target.startswith("127.0.0.1:") for target in targets)
        assert re.search(r"auth_basic|basic_auth|auth_request", recipe)
