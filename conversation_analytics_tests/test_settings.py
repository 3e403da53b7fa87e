from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conversation_analytics import generated
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.generated import generated_files
from conversation_analytics.settings import (
    SETTINGS,
    Setting,
    load_settings,
    parse_settings,
    unknown_settings,
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
    "ENABLE_GPU": "perhaps",
    "GPU_MIN_ROWS": "many",
    "GPU_MEMORY_LIMIT": "80%",
    "CUDA_VISIBLE_DEVICES": "0;1",
    "DASK_SCHEDULER_ADDRESS": "http://127.0.0.1:8786",
    "IO_THREADS": "0",
    "LOG_LEVEL": "LOUD",
}
ODD = [
    ("NOCODB_BASE_URL", "http://h:99999"),
    ("NOCODB_BASE_URL", "http://h:port"),
    ("NOCODB_BASE_URL", "http://a host"),
    ("NOCODB_BASE_URL", "http://[::1"),
    ("NOCODB_API_TOKEN", "two words"),
    ("NOCODB_API_TOKEN", "tökên"),
    ("NOCODB_API_TOKEN", '"quoted"'),
    ("NOCODB_MESSAGES_TABLE", "a\0b"),
    ("NOCODB_MESSAGES_TABLE", "conversations"),
    ("S3_ENDPOINT_URL", "http://127.0.0.1:0"),
    ("DASK_SCHEDULER_ADDRESS", "127.0.0.1:8786"),
    ("DASK_SCHEDULER_ADDRESS", "tcp://scheduler"),
    ("DASK_SCHEDULER_ADDRESS", "tls://scheduler:99999"),
    ("DASK_SCHEDULER_ADDRESS", "tcp://user:pw@scheduler:8786"),
    ("S3_BUCKET", "192.168.1.1"),
    ("S3_BUCKET", "a..b"),
    ("S3_PREFIX", "./a"),
    ("MONGODB_DATABASE", "admin"),
    ("MONGODB_MESSAGES_COLLECTION", "Conversations"),
    ("MONGODB_MESSAGES_COLLECTION", "system.users"),
    ("MONGODB_MESSAGES_COLLECTION", "sqlite_master"),
    ("MONGODB_MESSAGES_COLLECTION", "document_partitions"),
    ("MONGODB_MESSAGES_COLLECTION", "_partition_generations"),
    ("MONGODB_MESSAGES_COLLECTION", "a..b"),
    ("PARQUET_BASE_DIR", "s3://bucket/lake"),
    ("PARQUET_BASE_DIR", "~nobody-of-that-name/lake"),
    ("SQLITE_PATH", "a\0b"),
    ("LOG_FILE", "~nobody-of-that-name/log"),
    ("ANALYTICS_TIMEZONE", "localtime"),
    ("ANALYTICS_TIMEZONE", "right/UTC"),
    ("ANALYTICS_TIMEZONE", "../UTC"),
    ("ANALYTICS_TIMEZONE", "Europe"),
    ("ANALYTICS_START_DATE", "20261101"),
    ("ANALYTICS_START_DATE", "2026-02-30"),
    ("ANALYTICS_START_DATE", "0001-01-01"),
    ("MAX_RETRIES", "٣"),
    ("RETRY_DELAY", "nan"),
    ("CHUNK_SIZE", "9" * 5000),
]


@pytest.mark.parametrize(("name", "value"), [*WRONG.items(), *ODD])
def test_a_wrong_value_is_named_with_what_to_do(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({name: value})
    assert name in str(caught.value)
    assert len(str(caught.value)) < 600


@given(st.sampled_from(SETTINGS), st.text(max_size=300))
def test_any_text_is_taken_or_refused_with_its_name(setting: Setting, value: str) -> None:
    try:
        parse_settings({setting.name: value})
    except SettingsError as error:
        assert setting.name in str(error)  # noqa: PT017 - both outcomes are right


PASSWORDS = st.text(st.sampled_from("pP4/@:?#[]% $&=+,;\\\"'é"), min_size=3)


@example("44/", "http")
@given(PASSWORDS, st.sampled_from(["mongodb", "mongodb+srv", "http", "https", "mongo", ""]))
def test_an_address_with_a_password_is_never_shown(password: str, scheme: str) -> None:
    address = f"{scheme}://somebody:{password}secret@127.0.0.1:1"
    for name in ("MONGODB_URI", "NOCODB_BASE_URL", "S3_ENDPOINT_URL", "PARQUET_BASE_DIR"):
        try:
            shown = repr(parse_settings({name: address}))
        except SettingsError as error:
            shown = str(error)
        assert "secret" not in shown.replace("secret, empty", "")


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://127.0.0.1:27017/?replicaSet=rs0",
        "mongodb://a:1,b:2,c/db?w=majority&readPreference=primary",
        "mongodb://user:p%40ss%2Fword@[::1]:27017/admin?authSource=admin",
        "mongodb+srv://user:pa$$+word@cluster0.ab1cd.mongodb.net/?retryWrites=true&appName=a-b",
        "mongodb://user@%2Ftmp%2Fmongodb-27017.sock",
    ],
)
def test_usual_connection_strings_are_taken(uri: str) -> None:
    assert parse_settings({"MONGODB_URI": uri}).mongodb_uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:pass@", "mongodb://", "mongodb:///db", "mongodb://h:port/",
        "mongodb://user:p@ss@h/", "mongodb://user:p/ss@h/", "mongodb://user:1/2@h", "localhost",
        "mongodb://h:70000", "mongodb://h, i/",
    ],
)  # fmt: skip
def test_a_wrong_connection_string_is_told_by_its_form(uri: str) -> None:
    with pytest.raises(SettingsError, match="percent-encode") as caught:
        parse_settings({"MONGODB_URI": uri})
    assert "p@ss" not in str(caught.value)
    assert "p/ss" not in str(caught.value)


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


@pytest.mark.parametrize(
    "text",
    [
        "CHUNK_SIZE=7\n", "\ufeffCHUNK_SIZE=7\r\n", "export CHUNK_SIZE = '7'  # seven\n",
        "# CHUNK_SIZE=9\nOTHER\nCHUNK_SIZE=8\nCHUNK_SIZE=7",
    ],
)  # fmt: skip
def test_env_files_of_any_editor_are_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / ".env"
    file.write_text(text, encoding="utf-8")
    assert load_settings({}, file).chunk_size == 7


def test_a_line_that_would_be_dropped_is_named_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("CHUNK_SIZE=7\nNOCODB_API_TOKEN t0p-s3cret\nIO_THREADS\n")
    with pytest.raises(SettingsError, match="line 2, 3: expected NAME=value") as caught:
        load_settings({}, file)
    assert "t0p-s3cret" not in str(caught.value)


def test_an_empty_variable_puts_the_file_aside(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MONGODB_URI=mongodb://h/\n")
    assert load_settings({"MONGODB_URI": ""}, file).mongodb_uri == ""


def test_generating_writes_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    generated.main()
    for name, text in generated_files().items():
        assert (tmp_path / name).read_text(encoding="utf-8") == text


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


def test_variables_of_extensions_are_theirs_alone_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("EXT_JSONL_FOLDER=/data\nEXT_JSONL_KEY='t0p s3cret'\nEXT_TRANSLATOR_URL=x\n")
    given = {"EXT_JSONL_FOLDER": " /other ", "EXT_EMPTY_ONE": " ", "EXTRA": "1"}
    settings = load_settings(given, file)
    assert settings.options_of("jsonl") == {"folder": "/other", "key": "t0p s3cret"}
    assert settings.options_of("empty") == {}
    assert "s3cret" not in repr(settings)
    assert unknown_settings(file) == []
    assert not settings.names_extensions
    with pytest.raises(SettingsError, match="EXT_A_B is in quotes"):
        parse_settings({"EXT_A_B": '"x"'})


def test_packages_of_extensions_are_spelled_as_the_index_does() -> None:
    settings = parse_settings({"EXTENSIONS": "My_Metric.One, other,my--metric-one"})
    assert settings.extensions == ("my-metric-one", "other")
    assert settings.names_extensions


@pytest.mark.parametrize("name", ["SOURCE", "TRANSLATOR", "TAXONOMY"])
def test_a_part_of_an_extension_is_named_in_any_case(name: str) -> None:
    settings = parse_settings({name: "Mine"})
    assert settings.values[name] == "mine"
    assert settings.names_extensions


@pytest.mark.parametrize("name", ["NOCODB_API_TOKEN", "NOCODB_PROJECT_ID"])
def test_nocodb_without_its_address_is_not_taken_for_the_sample(name: str) -> None:
    with pytest.raises(SettingsError, match=f"NOCODB_BASE_URL is empty, but {name} is set"):
        parse_settings({name: "abcd"})
    assert parse_settings({name: "abcd", "SOURCE": "sample"}).source_kind == "sample"
