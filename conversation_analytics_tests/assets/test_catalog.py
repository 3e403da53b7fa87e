"""What the UI tells of assets."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from conversation_analytics.assets.catalog import personal_data
from conversation_analytics.core.column_lineage import COLUMN_SOURCES
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import parse_settings

DOCS = Path(__file__).parents[2] / "docs"
EVERYTHING = {
    "NOCODB_BASE_URL": "http://nocodb.example", "NOCODB_API_TOKEN": "t", "NOCODB_PROJECT_ID": "p",
    "NOCODB_FEEDBACKS_TABLE": "f", "NOCODB_RESULTS_TABLE": "r",
    "TRANSLATOR_URL": "http://translator.example",
}  # fmt: skip


def specs(**environment: str) -> dict[str, dg.AssetSpec]:
    definitions = build_definitions(parse_settings(environment))
    return {one.key.path[-1]: one for one in definitions.resolve_all_asset_specs()}


def lineage_of(spec: dg.AssetSpec) -> dict[str, list[str]]:
    told = spec.metadata["dagster/column_lineage"]
    assert isinstance(told, dg.TableColumnLineageMetadataValue | dg.TableColumnLineage)
    lineage = told if isinstance(told, dg.TableColumnLineage) else told.value
    return {
        column: [f"{dep.asset_key.path[-1]}.{dep.column_name}" for dep in deps]
        for column, deps in lineage.deps_by_column.items()
    }


@pytest.mark.parametrize("docs_url", ["", "https://docs.example/analytics"])
def test_every_asset_leads_to_a_page_that_is_there(docs_url: str) -> None:
    for name, spec in specs(**EVERYTHING, DOCS_URL=docs_url).items():
        text = spec.description or ""
        start = f"[More]({docs_url}/" if docs_url else "More: docs/"
        page = text.rpartition(start)[2].removesuffix(".html)").removesuffix(".md")
        assert (DOCS / f"{page}.md").is_file(), name


def test_every_asset_has_an_owner_and_says_where_it_is_and_what_it_holds_of_people() -> None:
    for name, spec in specs(**EVERYTHING).items():
        assert list(spec.owners) == ["team:analytics"], name
        assert spec.tags["zone"] == spec.group_name, name
        assert spec.tags["personal_data"] in {"text", "people", "none"}, name


def test_owners_are_a_setting() -> None:
    found = specs(ASSET_OWNERS="team:chat, ops@example.org")
    assert {tuple(spec.owners) for spec in found.values()} == {("team:chat", "ops@example.org")}
    with pytest.raises(SettingsError, match="ASSET_OWNERS"):
        parse_settings({"ASSET_OWNERS": "somebody"})


@pytest.mark.parametrize(
    ("asset", "held"),
    [
        ("raw_messages", "text"),
        ("messages", "text"),
        ("message_documents", "text"),
        ("translations", "text"),
        ("daily_partials", "people"),
        ("user_analytics", "people"),
        ("user_analytics_documents", "people"),
        ("daily_report", "none"),
        ("model_performance", "none"),
    ],
)
def test_what_is_held_of_people(asset: str, held: str) -> None:
    assert personal_data(asset) == held


def test_lineage_leads_to_the_assets_that_the_table_is_made_from() -> None:
    found = specs(**EVERYTHING)
    for name in COLUMN_SOURCES.keys() & found.keys():
        parents = {dep.asset_key.path[-1] for dep in found[name].deps}
        for column, sources in lineage_of(found[name]).items():
            assert {source.split(".")[0] for source in sources} <= parents, (name, column)
            assert sorted(sources) == sorted(COLUMN_SOURCES[name][column])


def test_what_is_not_read_is_no_source() -> None:
    without = specs(**{key: v for key, v in EVERYTHING.items() if "FEEDBACKS" not in key})
    assert lineage_of(without["daily_partials"])["likes"] == []
    assert lineage_of(specs(**EVERYTHING)["daily_partials"])["likes"] == ["feedbacks.rating"]


def test_the_first_job_says_what_to_click() -> None:
    definitions = build_definitions(parse_settings({}))
    told = definitions.resolve_job_def("daily").description or ""
    named = ("daily", "weekly", "monthly", "users", "topics", "nocodb_changes", "daily_close",
             "daily_report", "daily_report_files")  # fmt: skip
    repository = definitions.get_repository_def()
    known = (
        {job.name for job in repository.get_all_jobs()}
        | {schedule.name for schedule in repository.schedule_defs}
        | {sensor.name for sensor in repository.sensor_defs}
        | set(specs())
    )
    for name in named:
        assert f"`{name}`" in told
        assert name in known
