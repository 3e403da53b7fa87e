"""Categories and topics on the sample source: made, documented, stale when they should be."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from conversation_analytics.assets import categories as assets_of_categories
from conversation_analytics.assets.lineage import stale_days
from conversation_analytics.core.categories import CATEGORIES
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.core.taxonomy import OTHER
from conversation_analytics.core.topic_tables import CONVERSATION_TOPICS, TOPICS
from conversation_analytics.definitions import daily_graph
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.platform import run_job

if TYPE_CHECKING:
    from pathlib import Path

FIRST, LAST = "2026-11-02", "2026-11-10"
TAXONOMY = """
topic:
  - {label: code, description: programming and databases, threshold: 0.3}
  - {label: shop, description: orders and deliveries and refunds, threshold: 0.3}
mood:
  - {label: good, examples: [thanks, great]}
  - {label: bad, examples: [terrible, it is broken]}
"""


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("language")
    (folder / "taxonomy.yaml").write_text(TAXONOMY, "utf-8")
    given = {
        "PARQUET_BASE_DIR": str(folder / "lake"),
        "SQLITE_PATH": str(folder / "documents.sqlite"),
        "ANALYTICS_START_DATE": FIRST,
        "SAMPLE_TURNS_PER_DAY": "60",
        "TAXONOMY_FILE": str(folder / "taxonomy.yaml"),
        "TOPIC_MIN_USERS": "3",
        "TOPIC_MIN_CONVERSATIONS": "3",
    }
    settings = parse_settings(given)
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(settings, "daily", FIRST, LAST, instance=instance)
        run_job(settings, "topics", FIRST, "2026-11-09", instance=instance)
    return given


@pytest.fixture
def settings(variables: dict[str, str]) -> Settings:
    return parse_settings(variables)


def stale(settings: Settings) -> dict[str, str]:
    with contextlib.closing(open_documents(settings)) as documents:
        days = stale_days(daily_graph(settings), open_lake(settings), documents, settings, [FIRST])
        return {one.asset: one.reason for day in days for one in day.assets}


def test_every_conversation_has_one_category_of_each_type(settings: Settings) -> None:
    lake = open_lake(settings)
    said = lake.read(MESSAGES, FIRST).filter(
        (pl.col("query").str.strip_chars() != "") & pl.col("invoke_from").ne_missing("debugger")
    )
    rows = lake.read(CATEGORIES, FIRST)
    assert set(rows["conversation_id"]) == set(said["conversation_id"])
    per = rows.group_by("conversation_id").agg(pl.col("category_type").sort().str.join(","))
    assert set(per["category_type"]) == {"mood,topic"}
    assert set(rows["category_value"]) <= {"code", "shop", "good", "bad", OTHER}
    assert {"code", "shop"} <= set(rows["category_value"])
    assert rows["confidence_score"].is_between(0, 1).all()
    assert (
        rows.group_by("category_type")
        .agg(pl.col("taxonomy_hash").n_unique())
        .rows(named=False)
        .count(("topic", 1))
        == 1
    )


def test_the_documents_are_those_of_the_table(settings: Settings) -> None:
    rows = open_lake(settings).read(CATEGORIES, FIRST)
    with contextlib.closing(open_documents(settings)) as documents:
        found = list(documents.find("categories", {"day": FIRST}))
    assert {(d["conversation_id"], d["category_type"], d["category_value"]) for d in found} == set(
        rows.select("conversation_id", "category_type", "category_value").iter_rows()
    )


def test_a_changed_taxonomy_makes_categories_stale_and_what_tells_of_them(
    variables: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    assert stale(settings) == {}
    other = tmp_path / "taxonomy.yaml"
    other.write_text(TAXONOMY.replace("[thanks, great]", "[thanks, great, perfect]"), "utf-8")
    changed = stale(parse_settings({**variables, "TAXONOMY_FILE": str(other)}))
    assert changed == {
        "categories": "made of other inputs or with other settings",
        "category_documents": "categories is to be made again",
        "category_partials": "categories is to be made again",
        "daily_report_files": "category_partials is to be made again",
    }
    other.write_text("# the same, said otherwise\n" + TAXONOMY, "utf-8")
    assert stale(parse_settings({**variables, "TAXONOMY_FILE": str(other)})) == {}


def test_a_day_made_again_needs_no_model_for_what_it_knows(
    variables: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is new")

    monkeypatch.setattr(assets_of_categories, "train_taxonomy", refuse)
    before = open_lake(settings).stat(CATEGORIES, FIRST).sha256
    with dg.DagsterInstance.ephemeral() as instance:
        result = run_job(parse_settings(variables), "daily", FIRST, FIRST, instance=instance)
    assert open_lake(settings).stat(CATEGORIES, FIRST).sha256 == before
    told = [
        event.materialization.metadata["conversations_new"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(CATEGORIES.name)
    ]
    assert told == [0]


def test_a_corrected_conversation_is_as_the_person_said(
    variables: dict[str, str], tmp_path: Path
) -> None:
    lake = open_lake(parse_settings(variables))
    one = lake.read(CATEGORIES, LAST)["conversation_id"][0]
    corrections = tmp_path / "corrections.yaml"
    corrections.write_text(
        f"- {{type: mood, label: bad, by: ann, conversation_id: '{one}'}}\n", "utf-8"
    )
    settings = parse_settings({**variables, "TAXONOMY_CORRECTIONS_FILE": str(corrections)})
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(settings, "daily", LAST, LAST, instance=instance)
    rows = lake.read(CATEGORIES, LAST).filter(
        (pl.col("conversation_id") == one) & (pl.col("category_type") == "mood")
    )
    assert rows.select("category_value", "confidence_score", "created_by").rows() == [
        ("bad", 1.0, "ann")
    ]


def test_topics_of_weeks_go_on_and_keep_their_limits(settings: Settings) -> None:
    lake = open_lake(settings)
    first, second = (lake.read(TOPICS, key) for key in (FIRST, "2026-11-09"))
    assert first["shown"].any()
    assert first.filter(~pl.col("shown"))["label"].null_count() == (~first["shown"]).sum()
    assert set(first["topic_id"]) <= set(second["topic_id"])
    assert (first.filter("shown")["users"] >= 3).all()
    placed = lake.read(CONVERSATION_TOPICS, FIRST)
    assert placed["conversation_id"].is_unique().all()
    counts = dict(placed.group_by("topic_id").len().iter_rows())
    assert counts == dict(first.select("topic_id", "conversations").iter_rows())


def test_topics_again_are_the_same_bytes(variables: dict[str, str], settings: Settings) -> None:
    lake = open_lake(settings)
    before = [lake.stat(table, FIRST).sha256 for table in (TOPICS, CONVERSATION_TOPICS)]
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(parse_settings(variables), "topics", FIRST, FIRST, instance=instance)
    assert [lake.stat(t, FIRST).sha256 for t in (TOPICS, CONVERSATION_TOPICS)] == before
