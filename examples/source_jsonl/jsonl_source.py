"""Conversations from a folder of JSON Lines, one file a table, read whole with each request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from conversation_analytics.core.errors import SettingsError, SourceRequestError
from conversation_analytics.core.served_rows import served_changes, served_rows
from conversation_analytics.core.source import SourceTable
from conversation_analytics.core.values import decode_json

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class JsonlSource:
    """`conversations.jsonl`, `messages.jsonl` and, where there are ratings, `feedbacks.jsonl`."""

    folder: Path

    def read_window(self, table: SourceTable, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Return the rows created in `[start, end)`."""
        created_at = pl.col("created_at")
        return self._rows(table).filter((created_at >= start) & (created_at < end))

    def read_undated(self, table: SourceTable) -> pl.DataFrame:
        """Return the rows without a time of creation."""
        return self._rows(table).filter(pl.col("created_at").is_null())

    def read_ids(self, table: SourceTable, ids: Sequence[str]) -> pl.DataFrame:
        """Return the rows with these ids."""
        return self._rows(table).filter(pl.col("id").is_in(list(ids)))

    def changes_since(self, table: SourceTable, since: dt.datetime) -> pl.DataFrame:
        """Return what was created or updated since."""
        return served_changes(self._rows(table), since)

    def describe(self) -> dict[str, str]:
        """Return where the rows come from."""
        return {"source": "jsonl", "folder": str(self.folder)}

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _rows(self, table: SourceTable) -> pl.DataFrame:
        file = self.folder / f"{table}.jsonl"
        if table is SourceTable.FEEDBACKS and not file.exists():
            return served_rows(table, [])
        return served_rows(table, _lines(file))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceRequestError(
            f"{file}: expected a readable file in UTF-8, got {type(error).__name__}; correct "
            "EXT_JSONL_FOLDER or the file"
        ) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = decode_json(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise SourceRequestError(
                    f"{file}, line {number}: expected a JSON object; correct the line"
                )
            yield row


def open_source(options: Mapping[str, str]) -> JsonlSource:
    """Return the source of EXT_JSONL_FOLDER."""
    if not options.get("folder"):
        raise SettingsError("EXT_JSONL_FOLDER is empty: expected the folder of the .jsonl files")
    return JsonlSource(Path(options["folder"]))
