from __future__ import annotations

from pathlib import Path

import pytest

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.generated import generated_files
from conversation_analytics.settings import (
    SETTINGS,
    load_settings,
    parse_settings,
)

ROOT = Path(__file__).parents[1]
NOCODB = {
    "NOCODB_BASE_URL": "http://127.0.0.1:8080/",
    "NOCODB_API_TOKEN": "t0p-s3cret",
    "NOCODB_PROJECT_ID": "p123",
}


def test_nothing_set_gives_the_embedded_platform() -> None:
    settings = parse_settings({})
    assert settings.source_kind == "sample"
    assert settings.mongodb_uri == ""
    assert settings.s3_enabled is False


def test_a_base_url_selects_nocodb_and_loses_its_slash() -> None:
    settings = parse_settings(NOCODB)
    assert settings.source_kind == "nocodb"
    assert settings.nocodb_base_url == "http://127.0.0.1:8080"


WRONG = {
    "NOCODB_BASE_URL": "localhost:8080",
    "MAX_RETRIES": "-1",
    "RETRY_DELAY": "soon",
    "CHUNK_SIZE": "1001",
    "MONGODB_URI": "http://x",
    "MONGODB_DATABASE": "a b",
    "MONGODB_MESSAGES_COLLECTION": "$where",
    "PARQUET_COMPRESSION": "rar",
    "PARQUET_PARTITION_BY": "app",
    "PARQUET_ROW_GROUP_SIZE": "1",
    "S3_ENABLED": "maybe",
    "S3_PREFIX": "../up",
    "ANALYTICS_TIMEZONE": "Mars/Olympus",
    "ANALYTICS_START_DATE": "22.11.2026",
    "EXECUTOR": "threads",
    "ENABLE_GPU": "true",
    "GPU_MIN_ROWS": "1000000",
    "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:8786",
    "NOCODB_FEEDBACKS_TABLE": "message_feedbacks",
    "IO_THREADS": "0",
    "LOG_LEVEL": "LOUD",
}


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=list(WRONG))
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({name: value})
    assert name in str(caught.value)
    assert "allowed is" in str(caught.value) or "not part of this version" in str(caught.value)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(WRONG)
    assert all(name in str(caught.value) for name in WRONG)


def test_no_secret_is_ever_shown() -> None:
    settings = parse_settings(
        {
            **NOCODB,
            "MONGODB_URI": "mongodb://user:pa55word@h/",
            "AWS_ACCESS_KEY_ID": "AKIAxx",
            "AWS_SECRET_ACCESS_KEY": "sh4dow",
        }
    )
    for secret in ("t0p-s3cret", "pa55word", "sh4dow", "AKIAxx"):
        assert secret not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        parse_settings({"MONGODB_URI": "mongo://user:pa55word@h/"})
    assert "pa55word" not in str(caught.value)


def test_nocodb_without_its_token_names_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="NOCODB_API_TOKEN is empty"):
        parse_settings({"SOURCE": "nocodb", "NOCODB_BASE_URL": "http://h"})


def test_a_platform_without_a_lake_is_refused() -> None:
    with pytest.raises(SettingsError, match="PARQUET_STORAGE_ENABLED"):
        parse_settings({"PARQUET_STORAGE_ENABLED": "false"})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("CHUNK_SIZE=10\nIO_THREADS=3\n")
    settings = load_settings({"CHUNK_SIZE": "20"}, file)
    assert (settings.chunk_size, settings.io_threads) == (20, 3)


def test_multithreading_off_means_one_thread() -> None:
    settings = parse_settings({"ENABLE_MULTITHREADING": "false", "IO_THREADS": "8"})
    assert (settings.threads_io, settings.threads_processing) == (1, 1)


def test_the_generated_files_are_in_step() -> None:
    for name, text in generated_files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"run `make docs`: {name}"
    assert parse_settings({s.name: s.default for s in SETTINGS}) == parse_settings({})


def test_every_variable_of_the_seed_is_there() -> None:
    names = {setting.name for setting in SETTINGS}
    assert {
        "NOCODB_BASE_URL", "NOCODB_API_TOKEN", "NOCODB_PROJECT_ID", "NOCODB_CONVERSATION_TABLE",
        "NOCODB_MESSAGES_TABLE", "MONGODB_URI", "MONGODB_DATABASE", "S3_ENABLED", "S3_BUCKET",
        "S3_PREFIX", "S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION",
        "PARQUET_STORAGE_ENABLED", "PARQUET_BASE_DIR", "PARQUET_PARTITION_BY",
        "PARQUET_COMPRESSION", "PARQUET_ROW_GROUP_SIZE", "PARQUET_PAGE_SIZE",
        "PARQUET_TARGET_FILE_SIZE_MB", "PARQUET_MAX_RECORDS_PER_FILE", "ENABLE_MULTITHREADING",
        "MAX_WORKERS", "CHUNK_SIZE", "IO_THREADS", "PROCESSING_THREADS", "BATCH_SIZE",
        "MAX_RETRIES", "RETRY_DELAY", "LOG_LEVEL", "LOG_FILE", "ANALYTICS_TIMEZONE",
        "ANALYTICS_START_DATE", "EXECUTOR", "ENABLE_GPU", "GPU_MEMORY_LIMIT",
        "CUDA_VISIBLE_DEVICES",
        "GPU_MIN_ROWS", "DASK_SCHEDULER_ADDRESS", "NOCODB_FEEDBACKS_TABLE",
    } <= names  # fmt: skip
