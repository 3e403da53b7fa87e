"""Webhooks of finished reports: once for each content, signed, and nothing of anybody in them."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.alerts.webhook import WebhookUnavailableError
from conversation_analytics.core import schemas
from conversation_analytics.core.errors import LakeError, LakeUnavailableError, SettingsError
from conversation_analytics.core.periods import Period
from conversation_analytics.definitions import build_definitions
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.resources.connections import open_lake
from conversation_analytics.sensors.finished_reports import NOTE
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.alerts.receiver import Answer, Receiver, receiving
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
URL_TOKEN = "T0KEN-in-the-path"
TODAY = dt.datetime.now(dt.UTC).date()
DAYS = [TODAY - dt.timedelta(days=age) for age in (3, 2, 0)]
WEEK = Period.WEEK.before(Period.WEEK.start_of(TODAY))


def settings_in(folder: Path, port: int, **more: str) -> Settings:
    return parse_settings(
        {
            "PARQUET_BASE_DIR": str(folder / "lake"),
            "SQLITE_PATH": str(folder / "documents.sqlite"),
            "ANALYTICS_START_DATE": (TODAY - dt.timedelta(days=40)).isoformat(),
            "SAMPLE_TURNS_PER_DAY": "30",
            "REPORT_WEBHOOK_URL": f"http://127.0.0.1:{port}/{URL_TOKEN}",
            "REPORT_WEBHOOK_SECRET": SECRET,
            "REPORT_WEBHOOK_ALLOW_PRIVATE": "true",
            **more,
        }
    )


def look(settings: Settings) -> str:
    """Return what a tick of the sensor says."""
    repository = build_definitions(settings).get_repository_def()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(
            resources={"lake": open_lake(settings)}, repository_def=repository, instance=instance
        ) as context,
    ):
        result = repository.get_sensor_def("finished_reports")(context)
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    """Return what came since, each body checked against its signature as a receiver does."""
    found = []
    for request in receiver.requests:
        headers = request.headers
        signed = headers["webhook-id"] + "." + headers["webhook-timestamp"] + "."
        digest = hmac.digest(KEY, signed.encode() + request.body, hashlib.sha256)
        assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        found.append({"id": headers["webhook-id"], **json.loads(request.body)})
    receiver.requests.clear()
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with three days, today among them, the week before, and nothing delivered yet."""
    folder = tmp_path_factory.mktemp("made")
    settings = settings_in(folder, 9)
    assert look(settings) == "First look: the 0 reports that are there are known."
    for day in DAYS:
        assert run_job(settings, "daily", day.isoformat()).success
    assert run_job(settings, "daily", WEEK.isoformat()).success
    assert run_job(settings, "weekly", WEEK.isoformat()).success
    return folder


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    """The lake of `made`, with nothing delivered."""
    note = made / "lake" / "reports" / NOTE
    before = note.read_bytes()
    yield made
    note.write_bytes(before)


def test_a_finished_report_is_told_once_and_again_when_it_has_changed(folder: Path) -> None:
    expected = {f"daily/{day}" for day in (*DAYS[:2], WEEK)} | {f"weekly/{WEEK}"}
    with receiving() as receiver:
        settings = settings_in(folder, receiver.port)
        assert look(settings) == "4 of 4 reports delivered, 0 are left."
        told = bodies(receiver)
        names = {f"{one['data']['period']}/{one['data']['first_day']}": one for one in told}
        assert names.keys() == expected  # not today's: it is not over
        lake = open_lake(settings)
        one = names[f"daily/{DAYS[0]}"]
        report = lake.read(schemas.DAILY_REPORT, DAYS[0].isoformat())
        overall = report.filter(pl.col("app_id").is_null())
        turns = overall.filter(pl.col("metric") == "turns")["value"][0]
        assert one["type"] == "report.finished"
        assert one["data"]["figures"]["turns"] == float(turns) > 0
        assert 0 <= one["data"]["figures"]["error_rate"] <= 1
        costs = overall.filter((pl.col("metric") == "cost") & pl.col("value").is_not_null())
        assert {c["currency"]: c["amount"] for c in one["data"]["figures"]["cost"]} == {
            currency: str(value) for currency, value in costs.select("currency", "value").rows()
        }
        assert one["data"]["files"]["html"].endswith(f"reports/daily/{DAYS[0]}.html")
        assert one["data"]["again"] is False
        week = names[f"weekly/{WEEK}"]["data"]
        assert week["last_day"] == Period.WEEK.end_of(WEEK).isoformat()
        assert week["label"] == Period.WEEK.label(WEEK)

        # Nothing of anybody.
        messages = lake.read(schemas.MESSAGES, DAYS[0].isoformat())
        everything = json.dumps(told)
        for column in ("user_id", "query", "conversation_id", "app_id"):
            values = messages[column].drop_nulls().to_list()
            assert values
            assert not [value for value in values if len(value) > 3 and value in everything]

        # The same content: neither by another look nor after the same run again.
        assert look(settings) == "0 of 4 reports delivered, 0 are left."
        assert run_job(settings, "daily", DAYS[0].isoformat()).success
        assert look(settings) == "0 of 4 reports delivered, 0 are left."
        assert bodies(receiver) == []

        # Other content, and its files tell it: once more, under another id.
        changed = settings_in(folder, receiver.port, SAMPLE_TURNS_PER_DAY="40")
        assert run_job(changed, "daily", DAYS[0].isoformat()).success
        assert look(settings) == "1 of 4 reports delivered, 0 are left."
        [again] = bodies(receiver)
        assert again["data"]["again"] is True
        assert again["id"] != one["id"]
        assert look(settings) == "0 of 4 reports delivered, 0 are left."

        # The first content comes back: a receiver that drops ids it knows must not keep the other.
        for back, known in ((settings, {one["id"], again["id"]}), (changed, set[str]())):
            assert run_job(back, "daily", DAYS[0].isoformat()).success
            assert look(settings) == "1 of 4 reports delivered, 0 are left."
            [once_more] = bodies(receiver)
            assert once_more["id"] not in known | {one["id"], again["id"]}
    assert run_job(settings_in(folder, 9), "daily", DAYS[0].isoformat()).success


@pytest.mark.parametrize("text", ["null", "{", '["daily"]', '{"daily/2026-11-21": {"sha": 1}}'])
def test_a_note_that_cannot_be_read_is_named_with_what_to_do(folder: Path, text: str) -> None:
    (folder / "lake" / "reports" / NOTE).write_text(text)
    with pytest.raises(LakeError, match=r"reports/delivered\.json: expected .* or remove it: "):
        look(settings_in(folder, 9))


def test_a_receiver_that_is_away_gets_it_later_and_one_that_refuses_blocks_no_other(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(Answer(503), Answer(503), Answer(503), Answer(204)) as receiver:
        settings = settings_in(folder, receiver.port)
        with pytest.raises(WebhookUnavailableError, match=r"took no report in 3 tries.*503"):
            look(settings)
        first = {request.headers["webhook-id"] for request in receiver.requests}
        assert len(first) == 1
        assert look(settings) == "4 of 4 reports delivered, 0 are left."
        assert first < {one["id"] for one in bodies(receiver)}
        assert look(settings) == "0 of 4 reports delivered, 0 are left."
    (folder / "lake" / "reports" / NOTE).write_text("{}")
    with receiving(Answer(422), Answer(200)) as receiver:
        settings = settings_in(folder, receiver.port)
        assert "refused the report: HTTP 422. Look at REPORT_WEBHOOK_URL" in look(settings)
        refused, *taken = bodies(receiver)
        assert len(taken) == 3
    with receiving() as receiver:
        settings = settings_in(folder, receiver.port)
        assert look(settings) == "1 of 4 reports delivered, 0 are left."
        assert [one["id"] for one in bodies(receiver)] == [refused["id"]]
    assert URL_TOKEN not in caplog.text
    assert SECRET not in caplog.text


class Dying(LocalObjects):
    """A lake that is gone between the receiver's answer and the note of it, once."""

    def put(self, path: str, data: bytes) -> None:
        if path.endswith(NOTE):
            raise LakeUnavailableError("gone")
        super().put(path, data)


def test_who_dies_before_the_note_delivers_the_same_id_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        settings = settings_in(folder, receiver.port)
        with monkeypatch.context() as patched:
            patched.setattr("conversation_analytics.lake.store.LocalObjects", Dying)
            with pytest.raises(LakeUnavailableError):
                look(settings)
        [once] = bodies(receiver)
        assert look(settings) == "4 of 4 reports delivered, 0 are left."
        assert [one for one in bodies(receiver) if one["id"] == once["id"]] == [once]


def test_private_addresses_are_refused_unless_allowed_and_redirects_always(folder: Path) -> None:
    with receiving() as receiver:
        settings = settings_in(folder, receiver.port, REPORT_WEBHOOK_ALLOW_PRIVATE="false")
        assert "has an address that is not public: nothing is sent" in look(settings)
        assert receiver.requests == []
    with (
        receiving() as elsewhere,
        receiving(Answer(302, {"Location": f"http://127.0.0.1:{elsewhere.port}/"})) as receiver,
    ):
        assert "redirects (HTTP 302): not followed" in look(settings_in(folder, receiver.port))
        assert elsewhere.requests == []


def test_settings_that_cannot_work_are_named() -> None:
    with pytest.raises(SettingsError, match="REPORT_WEBHOOK_SECRET is empty"):
        parse_settings({"REPORT_WEBHOOK_URL": "https://hooks.example/T0KEN"})
    for wrong, named in (
        ({"REPORT_WEBHOOK_URL": "http://hooks.example/T0KEN"}, "REPORT_WEBHOOK_ALLOW_HTTP"),
        ({"REPORT_WEBHOOK_SECRET": "hunter2"}, "REPORT_WEBHOOK_SECRET"),
    ):
        values = {
            "REPORT_WEBHOOK_URL": "https://hooks.example/", "REPORT_WEBHOOK_SECRET": SECRET, **wrong
        }  # fmt: skip
        with pytest.raises(SettingsError, match=named) as refusal:
            build_definitions(parse_settings(values))
        assert "T0KEN" not in str(refusal.value)
        assert "hunter2" not in str(refusal.value)


def test_without_the_setting_there_is_no_such_sensor() -> None:
    repository = build_definitions(parse_settings({})).get_repository_def()
    assert not repository.has_sensor_def("finished_reports")
