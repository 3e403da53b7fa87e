"""Ticks of the sensors that look at what is stored, over the sample source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path


def environment(folder: Path, first: dt.date) -> dict[str, str]:
    return {
        "PARQUET_BASE_DIR": str(folder / "lake"),
        "SQLITE_PATH": str(folder / "documents.sqlite"),
        "ANALYTICS_START_DATE": first.isoformat(),
        "SAMPLE_TURNS_PER_DAY": "5",
    }


def settings_in(folder: Path, first: dt.date) -> Settings:
    return parse_settings(environment(folder, first))


def tick(sensor: str, settings: Settings, instance: dg.DagsterInstance) -> dg.SensorResult:
    repository = build_definitions(settings).get_repository_def()
    documents = open_documents(settings)
    resources = {"lake": open_lake(settings), "documents": documents}
    with dg.build_sensor_context(
        resources=resources, repository_def=repository, instance=instance
    ) as context:
        result = repository.get_sensor_def(sensor)(context)
    documents.close()
    assert isinstance(result, dg.SensorResult)
    return result


def told(sensor: str, settings: Settings, instance: dg.DagsterInstance) -> str:
    """Return why a tick starts no run."""
    result = tick(sensor, settings, instance)
    assert isinstance(result.skip_reason, dg.SkipReason)
    return str(result.skip_reason.skip_message)
