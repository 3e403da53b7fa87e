from __future__ import annotations

import datetime as dt
import itertools
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.sample.phrases import LANGUAGES, THEMES
from conversation_analytics.sample.traffic import SampleTraffic

DAY = dt.date(2026, 11, 3)
WEEK = [DAY + dt.timedelta(days=number) for number in range(7)]
CONVERSATION_COLUMNS = [
    "id", "app_id", "app_model_config_id", "model_provider", "override_model_configs",
    "model_id", "mode", "name", "summary", "inputs", "introduction", "system_instruction",
    "system_instruction_tokens", "status", "invoke_from", "from_source", "from_end_user_id",
    "from_account_id", "read_at", "read_account_id", "dialogue_count", "created_at",
    "updated_at", "is_deleted",
]  # fmt: skip
MESSAGE_COLUMNS = [
    "id", "app_id", "model_provider", "model_id", "override_model_configs", "conversation_id",
    "inputs", "query", "message", "message_tokens", "message_unit_price", "message_price_unit",
    "answer", "answer_tokens", "answer_unit_price", "answer_price_unit", "parent_message_id",
    "provider_response_latency", "total_price", "currency", "status", "error",
    "message_metadata", "invoke_from", "from_source", "from_end_user_id", "from_account_id",
    "created_at", "updated_at", "agent_based", "workflow_run_id",
]  # fmt: skip


@pytest.fixture(scope="module")
def week() -> list[dict[str, Any]]:
    traffic = SampleTraffic()
    return [row for day in WEEK for row in traffic.messages(day)]


def test_rows_have_difys_columns() -> None:
    traffic = SampleTraffic(turns_per_day=50)
    assert all(list(row) == CONVERSATION_COLUMNS for row in traffic.conversations(DAY))
    assert all(list(row) == MESSAGE_COLUMNS for row in traffic.messages(DAY))


def test_a_day_is_the_same_in_another_process() -> None:
    program = (
        "import datetime as dt, hashlib;"
        "from conversation_analytics.sample.traffic import SampleTraffic as T;"
        "t = T(seed=3, turns_per_day=60); d = dt.date(2026, 11, 3);"
        "print(hashlib.sha256(repr((t.messages(d), t.conversations(d))).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_another_seed_gives_other_traffic() -> None:
    one, two = (SampleTraffic(seed, 50).messages(DAY) for seed in (1, 2))
    assert {row["id"] for row in one}.isdisjoint(row["id"] for row in two)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    turns=st.integers(1, 200),
    day=st.dates(dt.date(2000, 1, 2), dt.date(2100, 1, 1)) | st.just(dt.date(2026, 3, 29)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"]),
)
def test_days_partition_the_turns_of_their_conversations(
    seed: int, turns: int, day: dt.date, zone: str
) -> None:
    traffic = SampleTraffic(seed, turns, ZoneInfo(zone))
    begun = traffic.conversations(day)
    today, tomorrow = traffic.messages(day), traffic.messages(day + dt.timedelta(days=1))
    for rows in (begun, today):
        assert {row["created_at"].astimezone(traffic.zone).date() for row in rows} <= {day}
        assert rows == sorted(rows, key=lambda row: (row["created_at"], row["id"]))
    ids = [row["id"] for row in today + tomorrow]
    assert len(ids) == len(set(ids))
    counted = Counter(row["conversation_id"] for row in today + tomorrow)
    for row in begun:
        assert counted[row["id"]] == row["dialogue_count"]
        assert row["updated_at"] >= row["created_at"]


def test_conversations_run_past_midnight() -> None:
    traffic = SampleTraffic()
    over = [
        row["id"]
        for before, day in itertools.pairwise(WEEK)
        for begun in [{row["id"] for row in traffic.conversations(before)}]
        for row in traffic.messages(day)
        if row["conversation_id"] in begun
    ]
    assert over


def test_prices_are_exact_in_every_row(week: list[dict[str, Any]]) -> None:
    for row in week:
        price = (Decimal(row["message_unit_price"]) * Decimal(row["message_price_unit"])) * row[
            "message_tokens"
        ]
        price += (Decimal(row["answer_unit_price"]) * Decimal(row["answer_price_unit"])) * row[
            "answer_tokens"
        ]
        assert Decimal(row["total_price"]) == price
    assert {row["currency"] for row in week} == {"USD", "CNY"}


def test_traffic_has_what_real_traffic_has(week: list[dict[str, Any]]) -> None:
    turns = len(week)
    errors = [row for row in week if row["status"] == "error"]
    unfinished = [row for row in week if row["status"] == "normal" and row["answer"] == ""]
    assert 0.01 < len(errors) / turns < 0.05
    assert all(row["error"] and row["answer"] == "" for row in errors)
    assert 0.001 < len(unfinished) / turns < 0.02
    siblings = Counter(row["parent_message_id"] for row in week if row["parent_message_id"])
    assert sum(count > 1 for count in siblings.values()) > turns * 0.005
    origins = Counter(row["invoke_from"] for row in week)
    assert all(origins[origin] for origin in ("web-app", "service-api", "debugger", None))
    assert all(
        (row["from_end_user_id"] is None) == (row["invoke_from"] == "debugger") for row in week
    )
    users = Counter(row["from_end_user_id"] for row in week)
    assert len(users) > 200
    assert users.most_common(1)[0][1] < turns * 0.06
    assert len({row["app_id"] for row in week}) == 4
    assert len({row["model_id"] for row in week}) == 5  # one app names no model
    languages = {msgspec.json.decode(row["inputs"])["locale"] for row in week}
    assert languages == set(LANGUAGES)
    assert any("```" in row["answer"] for row in week)


def test_latency_grows_with_the_answer(week: list[dict[str, Any]]) -> None:
    finished = [row for row in week if row["answer"]]
    short = [r["provider_response_latency"] for r in finished if r["answer_tokens"] < 25]
    long = [r["provider_response_latency"] for r in finished if r["answer_tokens"] > 100]
    assert sum(long) / len(long) > 1.5 * sum(short) / len(short)
    for row in finished:
        usage = msgspec.json.decode(row["message_metadata"])["usage"]
        assert 0 < usage["time_to_first_token"] < row["provider_response_latency"]
        assert usage["total_price"] == row["total_price"]


def test_weekends_are_quieter_and_users_return() -> None:
    traffic = SampleTraffic()
    turns = {day.weekday(): len(traffic.messages(day)) for day in WEEK}
    assert max(turns[5], turns[6]) < min(turns[number] for number in range(5))
    this, later = (
        {row["from_end_user_id"] for row in traffic.messages(DAY + dt.timedelta(days=days))}
        for days in (0, 14)
    )
    assert len(this & later) > 20


def test_undated_rows_are_one_conversation_of_three_turns() -> None:
    traffic = SampleTraffic()
    (conversation,), messages = traffic.undated_conversations(), traffic.undated_messages()
    assert conversation["dialogue_count"] == len(messages) == 3
    assert {row["conversation_id"] for row in messages} == {conversation["id"]}
    assert {row["created_at"] for row in [conversation, *messages]} == {None}


def test_every_language_has_every_theme() -> None:
    for language in LANGUAGES.values():
        assert set(language.themes) == set(THEMES)
