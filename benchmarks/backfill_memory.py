"""Peak memory of a backfill of few days against one of ten times as many.

Each is `conversation-analytics backfill` on the sample in a process of its own, with lake,
documents and Dagster's records in a temporary folder.

python benchmarks/backfill_memory.py [FEW_DAYS] [TURNS_A_DAY]
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LAST = dt.date(2026, 11, 20)
TIMES = 10
PACKAGE = Path(__file__).parents[1]


def peak_bytes(days: int, turns: int) -> int:
    """Return the peak of resident memory of a backfill of so many days."""
    first = LAST - dt.timedelta(days=days - 1)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(Path(folder) / "dagster"),
            "PARQUET_BASE_DIR": str(Path(folder) / "lake"),
            "SQLITE_PATH": str(Path(folder) / "documents.sqlite"),
            "ANALYTICS_START_DATE": first.isoformat(),
            "SAMPLE_TURNS_PER_DAY": str(turns),
            "PYTHONPATH": str(PACKAGE),
        }
        words = ("backfill", first.isoformat(), LAST.isoformat())
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "conversation_analytics.cli", *words],
            cwd=folder, env=environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(
                f"the backfill of {days} days failed: {os.waitstatus_to_exitcode(status)}"
            )
    return usage.ru_maxrss * 1024


def main() -> None:
    """Measure both and print the ratio."""
    few = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    small, large = (peak_bytes(days, turns) for days in (few, few * TIMES))
    print(f"{turns} turns a day; peak of resident memory, MB:")
    print(f"  {few:>4} days  {small / 1e6:8.0f}")
    print(f"  {few * TIMES:>4} days  {large / 1e6:8.0f}")
    print(f"  ratio      {large / small:8.2f}  (of the days: {TIMES})")


if __name__ == "__main__":
    main()
