"""What goes over the wire: no secret that a worker does not need, and none in the clear."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.cluster.requests import (
    files_to_send,
    is_private,
    settings_there,
    settings_to_send,
)
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.settings import SETTINGS, Settings, parse_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.cluster.requests import BatchRequest

TLS, PLAIN = "tls://scheduler:8786", "tcp://scheduler:8786"
SECRET = "a-Secret-Word-0123456789-abcdefgh-XYZ"
_FORMS = {
    "MONGODB_URI": f"mongodb://user:{SECRET}@host",
    "ALERT_WEBHOOK_URL": f"https://host/{SECRET}",
    "REPORT_WEBHOOK_URL": f"https://host/{SECRET}",
}
SECRETS = {one.name: _FORMS.get(one.name, SECRET) for one in SETTINGS if one.secret}
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def with_secrets() -> Settings:
    return parse_settings({**SECRETS, "SOURCE": "sample", "S3_BUCKET": "bucket"})


def request_of(settings: Settings, **files: bytes) -> BatchRequest:
    return {
        "versions": {}, "settings": settings, "step": "", "attempt": ("", "", 0), "days": (),
        "begun": {},
        "files": {name: {"name": "file.yaml", "content": told} for name, told in files.items()},
    }  # fmt: skip


def test_nothing_secret_goes_in_the_clear() -> None:
    sent = settings_to_send(with_secrets(), PLAIN)
    assert {name for name in SECRETS if sent.values[name]} == set()
    assert SECRET.encode() not in pickle.dumps(sent)


def test_only_the_keys_of_the_bucket_go_over_tls() -> None:
    sent = settings_to_send(with_secrets(), TLS)
    assert {name for name in SECRETS if sent.values[name]} == KEYS
    assert SECRET not in repr(request_of(sent))  # Dask logs the arguments of what failed


@pytest.mark.parametrize("address", [PLAIN, TLS])
def test_no_variable_of_an_extension_travels(address: str) -> None:
    options = {"EXT_ONE_LINE_METRICS_TOKEN": SECRET, "EXT_JSONL_FOLDER": f"/home/{SECRET}"}
    settings = parse_settings({"SOURCE": "sample", **options})
    assert settings.of_extensions == options
    sent = settings_to_send(settings, address)
    assert sent.of_extensions == {}
    assert SECRET.encode() not in pickle.dumps(sent)
    assert b"EXT_" not in pickle.dumps(sent)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        (TLS, True),
        (PLAIN, False),
        ("tcp://127.0.0.1:8786", True),
        ("tcp://[::1]:8786", True),
        ("tcp://localhost:8786", True),
        ("tcp://10.0.0.7:8786", False),
    ],
)
def test_who_else_can_read(address: str, *, private: bool) -> None:
    assert is_private(address) is private


def test_a_workers_own_keys_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    request = request_of(settings_to_send(with_secrets(), TLS))
    assert settings_there(request, lambda: tmp_path).aws_secret_access_key == SECRET
    for name in KEYS:
        monkeypatch.setenv(name, f"own-{name}")
    there = settings_there(request, lambda: tmp_path)
    assert {there.values[name] for name in KEYS} == {f"own-{name}" for name in KEYS}


def test_files_of_settings_come_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.yaml").write_text("one", encoding="utf-8")
    settings = parse_settings({"TAXONOMY_FILE": "file.yaml", "PARQUET_BASE_DIR": "lake"})
    files, sent = files_to_send(settings), settings_to_send(settings, PLAIN)
    assert files == {"TAXONOMY_FILE": {"name": "file.yaml", "content": b"one"}}
    assert sent.parquet_base_dir == tmp_path / "lake"
    worker = tmp_path / "worker"
    worker.mkdir()
    first, again, other = (
        settings_there(request_of(sent, TAXONOMY_FILE=told), lambda: worker)
        for told in (b"one", b"one", b"other")
    )
    assert first.taxonomy_file.read_bytes() == b"one"
    assert again == first  # so that what was made of it is kept
    assert other.taxonomy_file.read_bytes() == b"other"
    assert other.taxonomy_corrections_file is None


def test_a_file_that_is_not_there_is_told_by_its_setting(tmp_path: Path) -> None:
    settings = parse_settings({"TAXONOMY_FILE": str(tmp_path / "none.yaml")})
    with pytest.raises(SettingsError, match=r"TAXONOMY_FILE: .*none\.yaml: expected a file"):
        files_to_send(settings)
