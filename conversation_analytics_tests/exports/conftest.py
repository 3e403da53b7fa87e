"""Days of the sample source as a lake, and the real ConvoKit in a folder of its own."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.core.contract import default_contract
from conversation_analytics.core.rows import type_rows
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.zones import DAILY
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.store import Lake
from conversation_analytics.sample.source import SampleSource
from conversation_analytics.sample.traffic import SampleTraffic
from conversation_analytics.stack.nocodb_install import cache_dir
from conversation_analytics.stack.processes import locked

if TYPE_CHECKING:
    from collections.abc import Callable

    from conversation_analytics.core.source import Source

DAYS = ("2026-11-09", "2026-11-10", "2026-11-11")
_LOCK = Path(__file__).with_name("convokit.txt")
_READER = Path(__file__).with_name("convokit_reader.py")


def sample_source() -> SampleSource:
    first, last = (dt.date.fromisoformat(day) for day in (DAYS[0], DAYS[-1]))
    return SampleSource(SampleTraffic(7, 150), first, last)


def write_days(lake: Lake, source: Source) -> None:
    """Write the conversations and messages of the days, typed."""
    contract = default_contract()
    for day in DAYS:
        start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
        for table in (SourceTable.CONVERSATIONS, SourceTable.MESSAGES):
            raw = source.read_window(table, start, start + dt.timedelta(days=1))
            curated = DAILY[table].curated
            rows = type_rows(raw, curated, where=day, contract=contract.tables[table])
            lake.write(curated, day, rows.frame)


@pytest.fixture(scope="session")
def lake_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations and messages of three days, typed."""
    folder = tmp_path_factory.mktemp("sample") / "lake"
    write_days(Lake(LocalObjects(folder)), sample_source())
    return folder


@pytest.fixture
def lake(lake_folder: Path) -> Lake:
    return Lake(LocalObjects(lake_folder))


@pytest.fixture(scope="session")
def convokit_folder() -> Path:
    """Give a folder for PYTHONPATH; installed at its first use on a machine, in seconds."""
    digest = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:8]
    target = cache_dir() / f"convokit-{digest}-python{sys.version_info[0]}.{sys.version_info[1]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / "convokit.lock", "install of ConvoKit", wait=True):
        if not (target / ".installed").exists():
            install = [
                sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q",
                "--no-deps", "--no-build-isolation", "--require-hashes", "--upgrade",
                "--target", os.fspath(target), "-r", os.fspath(_LOCK),
            ]  # fmt: skip
            subprocess.run(install, check=True, timeout=240)
            (target / ".installed").touch()
    return target


@pytest.fixture
def load_corpus(convokit_folder: Path, tmp_path: Path) -> Callable[[Path], Any]:
    """Load a corpus with ConvoKit itself, in a process of its own, and tell what is in it."""

    def load(corpus: Path) -> Any:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.fspath(tmp_path),  # it writes a configuration there
            "PYTHONPATH": os.fspath(convokit_folder),
            "LC_ALL": "C",
        }
        answer = tmp_path / "convokit" / "answer.json"
        answer.parent.mkdir()
        subprocess.run(
            [sys.executable, os.fspath(_READER), os.fspath(corpus), os.fspath(answer)],
            env=environment, check=True, timeout=120,
        )  # fmt: skip
        return json.loads(answer.read_text())

    return load
