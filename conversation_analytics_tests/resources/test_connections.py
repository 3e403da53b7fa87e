"""The column contract of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.contract import default_contract
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.source import SourceTable
from conversation_analytics.resources.connections import column_contract
from conversation_analytics.settings import Settings, parse_settings

if TYPE_CHECKING:
    from pathlib import Path


def settings_with(contract: Path | str, source: str = "nocodb") -> Settings:
    return parse_settings(
        {
            "SOURCE": source,
            "NOCODB_COLUMN_CONTRACT": str(contract),
            "NOCODB_BASE_URL": "http://127.0.0.1:1",
            "NOCODB_API_TOKEN": "t",
            "NOCODB_PROJECT_ID": "p",
        }
    )


def test_without_a_file_columns_are_named_as_dify_names_them() -> None:
    assert column_contract(settings_with("")) == default_contract()


def test_a_file_is_read_for_nocodb_and_not_for_the_sample(tmp_path: Path) -> None:
    file = tmp_path / "contract.toml"
    file.write_text('[messages.names]\nquery = "user_text"\n')
    contract = column_contract(settings_with(file))
    assert contract.tables[SourceTable.MESSAGES].at_source("query") == "user_text"
    assert column_contract(settings_with(file, "sample")) == default_contract()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"[message]"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "contract.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"NOCODB_COLUMN_CONTRACT: .*contract\.toml"):
        column_contract(settings_with(file))
