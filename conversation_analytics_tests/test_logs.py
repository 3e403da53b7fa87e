from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.logs import configure_logs
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_log_file_holds_one_json_object_a_line_from_the_level_on(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "platform.jsonl"
    settings = parse_settings({"LOG_LEVEL": "warning", "LOG_FILE": str(file)})
    configure_logs(settings)
    configure_logs(settings)
    logger = logging.getLogger("conversation_analytics.nocodb.reader")
    logger.info("not this one")
    logger.warning("window read: rows=%d", 3)
    configure_logs(parse_settings({}))
    [line] = [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]
    assert (line["level"], line["message"]) == ("WARNING", "window read: rows=3")
    assert line["logger"] == "conversation_analytics.nocodb.reader"


def test_a_log_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "log"):
        with pytest.raises(SettingsError, match=re.escape(f"cannot write LOG_FILE {place}: ")):
            configure_logs(parse_settings({"LOG_FILE": str(place)}))
