from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_lake, open_source
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_sensor_works_on_the_sample_source_too(tmp_path: Path) -> None:
    settings = parse_settings(
        {"SAMPLE_TURNS_PER_DAY": "20", "PARQUET_BASE_DIR": str(tmp_path / "lake")}
    )
    repository = build_definitions(settings).get_repository_def()
    sensor = repository.get_sensor_def("nocodb_changes")
    with (
        closing(open_source(settings)) as source,
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(
            repository_def=repository,
            resources={"source": source, "lake": open_lake(settings)},
            instance=instance,
        ) as context,
    ):
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert result.cursor
