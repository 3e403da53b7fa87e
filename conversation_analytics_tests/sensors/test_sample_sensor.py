from __future__ import annotations

from contextlib import closing

import dagster as dg

from conversation_analytics.definitions import build_definitions
from conversation_analytics.resources.connections import open_source
from conversation_analytics.settings import parse_settings


def test_the_sensor_works_on_the_sample_source_too() -> None:
    settings = parse_settings({"SAMPLE_TURNS_PER_DAY": "20"})
    repository = build_definitions(settings).get_repository_def()
    sensor = repository.get_sensor_def("nocodb_changes")
    with (
        closing(open_source(settings)) as source,
        dg.build_sensor_context(repository_def=repository, resources={"source": source}) as context,
    ):
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert result.cursor
