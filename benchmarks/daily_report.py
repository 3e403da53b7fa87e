"""One day's report from its rows, against hand-written SQL of DuckDB, and pandas.

Each reads the Parquet files of a day and computes the same figures by app and over all apps: every
metric of the registry but those that follow from the others by a division, and but rephrased
questions, which SQL has no function for: they are left out on all sides, and what they take is
printed beside. Ours makes the partials of the day and merges the report out of them, as the
platform does, though that is more than the peers have to do. Percentiles are ours within 1%;
DuckDB's are exact, as they are in pandas.

python benchmarks/daily_report.py [TURNS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet  # noqa: F401 - pandas reads with it: not to be timed
from rapidfuzz import process  # noqa: F401 - as above
from shared.made_up_days import day_of, file_of, scan, write_day
from shared.measured import alone, medians, print_beside
from shared.report_sql import report_of_rows, require_equal, values_of

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.partials import daily_partials
from conversation_analytics.core.rephrases import rephrased_turns
from conversation_analytics.core.schemas import CONVERSATIONS, FEEDBACKS, MESSAGES, TableSchema

ROUNDS = 3
USERS = 150_000
LENGTHS = {
    "1_2": (1, 2), "3_5": (3, 5), "6_10": (6, 10), "11_20": (11, 20), "21_up": (21, 10**9),
}  # fmt: skip
KEPT = [
    "id", "conversation_id", "parent_message_id", "app_id", "user_id", "currency", "created_at",
    "status", "answer", "message_tokens", "answer_tokens", "total_price", "latency_s",
    "time_to_first_token_s", "invoke_from",
]  # fmt: skip


def ours(folder: Path) -> pl.DataFrame:
    """Return the report of the day, made of its partials."""
    tables = (scan(folder, table) for table in (CONVERSATIONS, MESSAGES, FEEDBACKS))
    partials = daily_partials(*tables, day=day_of(0)).collect()
    return daily_report(partials.lazy(), day_of(0), engine=CPU)


def rephrases(folder: Path) -> pl.DataFrame:
    """Return the turns that ask again."""
    return rephrased_turns(scan(folder, MESSAGES), engine=CPU)


def by_nearest_rank(times: pd.Series, percents: list[int]) -> dict[int, float]:
    """Return percentiles as ours are defined: pandas has no such interpolation of its own."""
    known = times.where(times > 0).dropna().to_numpy(dtype=float)
    found = np.quantile(known, [percent / 100 for percent in percents], method="inverted_cdf")
    return dict(zip(percents, found, strict=True))


def with_pandas(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what `report_of_rows` does."""

    def read(table: TableSchema, columns: list[str]) -> pd.DataFrame:
        rows = pd.read_parquet(file_of(folder, table, 0), columns=columns, dtype_backend="pyarrow")
        if "invoke_from" in columns:
            rows = rows[rows["invoke_from"].ne("debugger").fillna(value=True)]
        return rows.assign(app=rows["app_id"].fillna(""))

    turns = read(MESSAGES, KEPT)
    for name, most in (("message_tokens", 10**9), ("answer_tokens", 10**9)):
        turns[name] = turns[name].where(turns[name].between(0, most))
    for name in ("latency_s", "time_to_first_token_s"):
        turns[name] = turns[name].where((turns[name] > 0) & (turns[name] < 1e9))
    turns = turns.assign(
        error=(turns["status"] == "error").fillna(value=False),
        nothing=turns["answer"].fillna("") == "",
        micros=(turns["latency_s"] * 1e6).round(),
        timed_tokens=turns["answer_tokens"].where(turns["latency_s"].notna()),
    )
    ordered = turns.sort_values("created_at")
    family = ordered.loc[ordered["parent_message_id"].notna()]
    again = family.loc[family.duplicated(["conversation_id", "parent_message_id"]), "app"]
    failed = ordered["created_at"].where(ordered["error"] | ordered["nothing"])
    chats = (
        ordered.assign(failed_at=failed)
        .groupby(["app", "conversation_id"])
        .agg(n=("id", "size"), last=("created_at", "max"), failed_at=("failed_at", "max"))
        .reset_index()
    )
    chats["abandoned"] = (chats["failed_at"] == chats["last"]).fillna(value=False)
    said = ordered.loc[ordered["user_id"].notna(), ["app", "user_id", "created_at"]]
    silence = said.groupby(["app", "user_id"])["created_at"].diff()
    said["begins"] = silence.isna() | (silence > pd.Timedelta(minutes=30))
    users = said.groupby(["app", "user_id"])["begins"].agg(["size", "sum"]).reset_index()
    created = read(CONVERSATIONS, ["app_id", "invoke_from"])
    given = read(FEEDBACKS, ["app_id", "conversation_id", "rating", "from_source", "gone"])
    given = given[given["from_source"].ne("admin").fillna(value=True)]
    given = given[~given["gone"].fillna(value=False)]
    given = given.assign(likes=given["rating"] == "like", dislikes=given["rating"] == "dislike")
    rated = given.groupby(["app", "conversation_id"])[["likes", "dislikes"]].sum().reset_index()
    rows = []
    for app in [None, *turns["app"].unique()]:
        of = {
            name: frame if app is None else frame[frame["app"] == app]
            for name, frame in (
                ("turns", turns), ("chats", chats), ("users", users), ("created", created),
                ("rated", rated),
            )
        }  # fmt: skip
        people = (
            of["users"].groupby("user_id")["size"].sum() if app is None else of["users"]["size"]
        )
        one, n, seconds = of["turns"], of["chats"]["n"], of["turns"]["micros"].sum() / 1e6
        quantile = by_nearest_rank(one["latency_s"], [50, 90, 95, 99])
        first = by_nearest_rank(one["time_to_first_token_s"], [50, 95])
        rows.append(
            {
                "app": app,
                "conversations_new": len(of["created"]),
                "conversations_active": len(n),
                "turns": len(one),
                **{
                    f"conversations_{name}": n.between(least, most).sum()
                    for name, (least, most) in LENGTHS.items()
                },
                "continued_conversations": (n > 1).sum(),
                "abandoned_conversations": of["chats"]["abandoned"].sum(),
                "active_users": len(people),
                "engaged_users": (people > 1).sum(),
                "sessions": of["users"]["sum"].sum(),
                "errors": one["error"].sum(),
                "empty_answers": one["nothing"].sum(),
                "regenerations": len(again) if app is None else (again == app).sum(),
                "message_tokens": one["message_tokens"].sum(),
                "answer_tokens": one["answer_tokens"].sum(),
                "likes": of["rated"]["likes"].sum(),
                "dislikes": of["rated"]["dislikes"].sum(),
                "satisfied_conversations": (of["rated"]["likes"] > of["rated"]["dislikes"]).sum(),
                "dify_average_response_time": seconds / len(one),
                "output_speed": one["timed_tokens"].sum() / seconds,
                **{f"latency_p{q}": quantile[q] for q in (50, 90, 95, 99)},
                **{f"time_to_first_token_p{q}": first[q] for q in (50, 95)},
            }
        )
    sums = ["total_price", "message_tokens", "answer_tokens"]
    by_app = turns.groupby(["app", "currency"])[sums].sum().reset_index()
    everywhere = turns.groupby("currency")[sums].sum().reset_index()
    money = pd.concat([by_app, everywhere])  # whose app is unknown: over all
    tokens = money["message_tokens"] + money["answer_tokens"]
    return pd.DataFrame(rows), pd.DataFrame(
        {
            "app": money["app"],
            "currency": money["currency"],
            "cost": money["total_price"],
            "cost_per_1k_tokens": 1000 * money["total_price"].astype(float) / tokens,
        }
    )


def check(folder: Path) -> None:
    """Compare every figure with those of the peers."""
    report = ours(folder)
    require_equal(report, values_of(*report_of_rows(folder)), "DuckDB")
    of_apps, of_currencies = (
        pl.DataFrame(frame.astype(object).where(frame.notna(), None).to_dict("list"), strict=False)
        for frame in with_pandas(folder)
    )
    require_equal(report, values_of(of_apps, of_currencies), "pandas")


def main(turns: int) -> None:
    """Print what each takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone(write_day, folder, 0, turns // 60 * 60, USERS)
        alone(check, folder)
        ways = {
            "DuckDB": report_of_rows, "pandas": with_pandas, "ours": ours,
            "rephrased questions, beside": rephrases,
        }  # fmt: skip
        taken = medians(ways, folder, rounds=ROUNDS)
    print(f"{turns} turns")
    print_beside(taken, "DuckDB")
    print(f"ours / pandas {taken['ours'].cpu_s / taken['pandas'].cpu_s:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
