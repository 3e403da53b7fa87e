"""The table of corrections on a real NocoDB, and the days that it changes."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets.lineage import stale_days
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.corrections import CORRECTIONS
from conversation_analytics.core.errors import ContractError, SourceRequestError
from conversation_analytics.definitions import build_definitions, daily_graph
from conversation_analytics.nocodb.client import NocoDBClient, NocoDBConfig
from conversation_analytics.nocodb.corrections import read_corrections
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.nocodb_seed import create_base, insert_rows, update_rows
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer

pytestmark = pytest.mark.nocodb
COLUMNS = ("type", "label", "text", "conversation_id", "by")
FIRST, LAST = "2026-11-02", "2026-11-04"
TAXONOMY = """
topic:
  - {label: code, description: programming and databases, threshold: 0.3}
  - {label: shop, description: orders and deliveries and refunds, threshold: 0.3}
mood:
  - {label: good, examples: [thanks, great]}
  - {label: bad, examples: [terrible, it is broken]}
"""


def create_table(server: NocodbServer, columns: tuple[str, ...] = COLUMNS) -> tuple[str, str]:
    """Return base and table, as somebody makes them in the grid."""
    base = create_base(server, f"corrections {uuid.uuid4().hex}")
    made = server.request(
        "POST",
        f"/api/v2/meta/bases/{base}/tables",
        {"title": "Corrections", "table_name": "corrections",
         "columns": [
             {"title": "Id", "column_name": "id", "uidt": "ID"},
             *({"title": one, "column_name": one, "uidt": "LongText" if one == "text" else
                "SingleLineText"} for one in columns),
         ]},
    )  # fmt: skip
    return base, str(made["id"])


@contextlib.contextmanager
def client_of(server: NocodbServer, base: str, **changes: Any) -> Iterator[NocoDBClient]:
    client = NocoDBClient(NocoDBConfig(server.base_url, server.api_token, base, **changes))
    with contextlib.closing(client):
        yield client


def test_every_row_is_read_page_by_page_by_title_and_by_id(nocodb: NocodbServer) -> None:
    base, table = create_table(nocodb)
    rows = [
        {"type": "topic", "label": " shop ", "text": f"where is parcel {n}\n now", "by": "ann"}
        for n in range(25)
    ]
    ids = insert_rows(nocodb, table, [*rows, {"type": None}])
    for name, version in (("Corrections", "v2"), (table, "v1")):
        with client_of(nocodb, base, page_size=10, api_version=version) as client:
            found = read_corrections(client, name)
        assert set(found["row_id"]) == set(map(str, ids))
        one = found.filter(pl.col("row_id") == str(ids[3])).row(0)
        assert one == (str(ids[3]), "topic", "shop", "where is parcel 3 now", None, "ann")
        assert found.filter(pl.col("row_id") == str(ids[-1])).row(0)[1:] == (None,) * 5


def test_an_empty_table_has_no_corrections_and_a_wrong_one_is_told(nocodb: NocodbServer) -> None:
    base, _ = create_table(nocodb)
    with client_of(nocodb, base) as client:
        assert read_corrections(client, "Corrections").equals(CORRECTIONS.empty())
        with pytest.raises(SourceRequestError, match="Correct NOCODB_CORRECTIONS_TABLE"):
            read_corrections(client, "corections")
    base, _ = create_table(nocodb, ("kind", "label"))
    with (
        client_of(nocodb, base) as client,
        pytest.raises(
            ContractError, match=r"lacks: type, text or conversation_id; it has: CreatedAt, Id"
        ),
    ):
        read_corrections(client, "Corrections")


def stale(settings: Settings) -> dict[str, str]:
    """Return of each stale day why its categories are."""
    keys = ["2026-11-02", "2026-11-03", "2026-11-04"]
    with contextlib.closing(open_documents(settings)) as documents:
        days = stale_days(daily_graph(settings), open_lake(settings), documents, settings, keys)
        return {day.key: next(a.reason for a in day.assets if a.asset == "categories")
                for day in days}  # fmt: skip


def test_a_correction_makes_exactly_the_days_stale_that_it_touches(
    nocodb: NocodbServer, tmp_path: Path
) -> None:
    base, table = create_table(nocodb)
    (tmp_path / "taxonomy.yaml").write_text(TAXONOMY, "utf-8")
    settings = parse_settings(
        {
            "SOURCE": "sample",
            "PARQUET_BASE_DIR": str(tmp_path / "lake"),
            "SQLITE_PATH": str(tmp_path / "documents.sqlite"),
            "ANALYTICS_START_DATE": FIRST,
            "SAMPLE_TURNS_PER_DAY": "30",
            "TAXONOMY_FILE": str(tmp_path / "taxonomy.yaml"),
            "NOCODB_BASE_URL": nocodb.base_url,
            "NOCODB_API_TOKEN": nocodb.api_token,
            "NOCODB_PROJECT_ID": base,
            "NOCODB_CORRECTIONS_TABLE": "Corrections",
        }
    )
    lake = open_lake(settings)
    repository = build_definitions(settings).get_repository_def()

    def look(instance: dg.DagsterInstance) -> int:
        with dg.build_sensor_context(
            resources={"lake": lake}, repository_def=repository, instance=instance
        ) as context:
            result = repository.get_sensor_def("changed_corrections")(context)
        assert isinstance(result, dg.SensorResult)
        return len(result.run_requests or [])

    with dg.DagsterInstance.ephemeral() as instance:
        assert look(instance) == 1  # nothing is held yet
        run_job(settings, "read_corrections", instance=instance)
        assert look(instance) == 0
        run_job(settings, "daily", FIRST, LAST, instance=instance)
        assert stale(settings) == {}

        # One conversation: its day alone, and it is as the person said.
        rows = lake.read(CATEGORIES, LAST)
        days_of_first = set(lake.read(CATEGORIES, FIRST)["conversation_id"])
        one = next(i for i in rows["conversation_id"] if i not in days_of_first)
        touched = [
            key for key in lake.keys(CATEGORIES)
            if one in set(lake.read(CATEGORIES, key)["conversation_id"])
        ]  # fmt: skip
        [identifier] = insert_rows(
            nocodb, table, [{"type": "mood", "label": "bad", "conversation_id": one, "by": "ann"}]
        )
        assert look(instance) == 1
        assert stale(settings) == {}  # what is held decides
        run_job(settings, "read_corrections", instance=instance)
        why = "made of other inputs or with other settings"
        assert stale(settings) == dict.fromkeys(touched, why)
        for key in touched:
            run_job(settings, "daily", key, instance=instance)
        assert stale(settings) == {}
        corrected = lake.read(CATEGORIES, LAST).filter(
            (pl.col("conversation_id") == one) & (pl.col("category_type") == "mood")
        )
        assert corrected.select("category_value", "confidence_score", "created_by").rows() == [
            ("bad", 1.0, "ann")
        ]

        # Wrong rows are told by id and change nothing; a new example changes every day.
        wrong = insert_rows(nocodb, table, [{"type": "mood", "label": "sad", "text": "alas"}])[0]
        result = run_job(settings, "read_corrections", instance=instance)
        [check] = result.get_asset_check_evaluations()
        assert not check.passed
        assert check.severity is dg.AssetCheckSeverity.WARN
        assert f"row {wrong}: expected as label one of good, bad, other" in str(check.description)
        assert "alas" not in str(check.description)
        assert stale(settings) == {}
        update_rows(nocodb, table, [{"Id": wrong, "label": "bad"}])
        run_job(settings, "read_corrections", instance=instance)
        assert stale(settings) == dict.fromkeys(["2026-11-02", "2026-11-03", "2026-11-04"], why)
        run_job(settings, "daily", FIRST, LAST, instance=instance)

        # A correction that is taken back.
        update_rows(nocodb, table, [{"Id": identifier, "conversation_id": None, "type": None,
                                     "label": None, "by": None}])  # fmt: skip
        run_job(settings, "read_corrections", instance=instance)
        assert stale(settings) == dict.fromkeys(touched, why)
