"""The platform's own log: LOG_LEVEL, and LOG_FILE with one JSON object a line."""

from __future__ import annotations

import datetime as dt
import json
import logging
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.settings import Settings

LOGGER = "conversation_analytics"


class JsonLines(logging.Formatter):
    """Renders a record as one JSON object: time (UTC), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logs(settings: Settings) -> None:
    """Set the level and the file of the platform's logger; repeating it changes nothing.

    Raises:
        SettingsError: LOG_FILE cannot be opened.
    """
    logger = logging.getLogger(LOGGER)
    logger.setLevel(settings.log_level.upper())
    for handler in [h for h in logger.handlers if isinstance(h.formatter, JsonLines)]:
        logger.removeHandler(handler)
        handler.close()
    if settings.log_file:
        path: Path = settings.log_file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = logging.FileHandler(path, encoding="utf-8")
        except OSError as error:
            raise SettingsError(
                f"cannot write LOG_FILE {path}: {error.strerror}; name a file that this user may "
                "write, or leave it empty"
            ) from error
        file.setFormatter(JsonLines())
        logger.addHandler(file)
