"""The chaos suite's table: counted by the tests, printed at the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conversation_analytics_tests.faults.ledger import (
    TABLE_VARIABLE,
    Ledger,
    chaos_kills,
    chaos_rounds,
)

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_LEDGER = pytest.StashKey[Ledger]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEDGER] = Ledger()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when == "call":
        item.config.stash[_LEDGER].close_test(failed=call.excinfo is not None)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    ledger = config.stash[_LEDGER]
    if not ledger.tallies:
        return
    terminalreporter.section("faults")
    for line in ledger.lines():
        terminalreporter.line(line)
    if path := os.environ.get(TABLE_VARIABLE):
        Path(path).write_text(ledger.page(), encoding="utf-8")


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    return pytestconfig.stash[_LEDGER]


@pytest.fixture(scope="session")
def rounds() -> int:
    """How many tries are wanted."""
    return chaos_rounds()


@pytest.fixture(scope="session")
def kills() -> int:
    """How often a run is to be killed."""
    return chaos_kills()
