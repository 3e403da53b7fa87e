"""What is stale follows from what is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.staleness import (
    PENDING,
    StaleAsset,
    StoredPartition,
    awaited_name,
    awaited_place,
    stale_assets,
)

MADE_FROM: dict[str, tuple[str, ...]] = {
    "raw": (),
    "messages": ("raw",),
    "partials": ("messages",),
    "report": ("partials",),
    "documents": ("messages", "report"),
}
ORIGIN = {"source": "nocodb", "window": "w"}
ORIGINS = {"raw": ORIGIN}
Stored = dict[str, StoredPartition | None]


def make(stored: Stored, versions: dict[str, str], assets: list[str]) -> Stored:
    """Make `assets` as runs would: the content follows the inputs and the asset's version."""
    made = dict(stored)
    for asset, names_of_inputs in MADE_FROM.items():
        if asset not in assets:
            continue
        inputs = {name: str(held.sha256) for name in names_of_inputs if (held := made[name])}
        digest = "|".join([versions[asset], *inputs.values()])
        made[asset] = StoredPartition(
            None if asset == "documents" else digest, inputs if names_of_inputs else ORIGIN
        )
    return made


WHOLE = make(dict.fromkeys(MADE_FROM), dict.fromkeys(MADE_FROM, "1"), list(MADE_FROM))


def names(stored: Stored) -> list[str]:
    return [stale.asset for stale in stale_assets(stored, MADE_FROM, ORIGINS)]


def test_a_day_just_made_is_not_stale() -> None:
    assert names(WHOLE) == []


def test_nothing_stored_is_all_missing() -> None:
    stale = stale_assets(dict.fromkeys(MADE_FROM), MADE_FROM, ORIGINS)
    assert stale == tuple(StaleAsset(asset, "missing") for asset in MADE_FROM)


def test_changed_rows_make_everything_after_them_stale() -> None:
    changed = make(WHOLE, dict.fromkeys(MADE_FROM, "2"), ["raw"])
    assert stale_assets(changed, MADE_FROM, ORIGINS) == (
        StaleAsset("messages", "raw has changed since"),
        StaleAsset("partials", "messages is to be made again"),
        StaleAsset("report", "partials is to be made again"),
        StaleAsset("documents", "messages is to be made again"),
    )


def test_a_run_that_died_on_the_way_leaves_the_rest_stale() -> None:
    changed = make(WHOLE, dict.fromkeys(MADE_FROM, "2"), ["raw", "messages", "partials"])
    assert names(changed) == ["report", "documents"]


def test_a_lost_copy_is_made_again_alone() -> None:
    assert names({**WHOLE, "documents": None}) == ["documents"]


@pytest.mark.parametrize("name", ["source", "window"])
def test_rows_of_another_source_or_zone_are_read_again(name: str) -> None:
    raw = WHOLE["raw"]
    assert raw is not None
    other: Stored = {**WHOLE, "raw": replace(raw, inputs={**ORIGIN, name: "other"})}
    assert names(other) == list(MADE_FROM)


def test_other_settings_make_the_asset_and_what_follows_stale() -> None:
    partials = WHOLE["partials"]
    assert partials is not None
    with_options = replace(partials, inputs={**partials.inputs, "options": "a"})
    for stored, options, stale in (
        (partials, {}, []),
        (with_options, {"options": "a"}, []),
        (partials, {"options": "a"}, ["partials", "report", "documents"]),
        (with_options, {"options": "b"}, ["partials", "report", "documents"]),
        (with_options, {}, ["partials", "report", "documents"]),
    ):
        origins = {**ORIGINS, "partials": options}
        found = stale_assets({**WHOLE, "partials": stored}, MADE_FROM, origins)
        assert [one.asset for one in found] == stale


def test_what_has_rows_that_wait_is_stale_and_what_follows_from_it() -> None:
    partials = WHOLE["partials"]
    assert partials is not None
    waiting = replace(partials, inputs={**partials.inputs, PENDING: "12"})
    found = stale_assets({**WHOLE, "partials": waiting}, MADE_FROM, ORIGINS)
    assert [one.asset for one in found] == ["partials", "report", "documents"]
    assert found[0].reason == "12 rows wait for a later run"


@pytest.mark.parametrize(
    ("recorded", "now", "stale"),
    [("", "", False), ("a", "a", False), ("", "a", True), ("a", "b", True), ("a", "", True)],
)
def test_rows_that_moved_are_asked_for_once_where_they_went_has_changed(
    recorded: str, now: str, *, stale: bool
) -> None:
    raw, name = WHOLE["raw"], awaited_name("raw", "2026-11-29")
    assert raw is not None
    stored = {**WHOLE, "raw": replace(raw, inputs={**raw.inputs, name: recorded})}
    found = stale_assets(stored, MADE_FROM, ORIGINS, {name: now})
    assert [one.asset for one in found] == (list(MADE_FROM) if stale else [])
    if stale:
        expected = "rows of it have moved to raw of 2026-11-29, which has changed since"
        assert found[0].reason == expected


@pytest.mark.parametrize("key", ["2026-11-29", None])
def test_a_place_is_read_from_its_name(key: str | None) -> None:
    assert awaited_place(awaited_name("raw_messages", key)) == ("raw_messages", key)


@given(
    steps=st.lists(
        st.tuples(st.sets(st.sampled_from(list(MADE_FROM))), st.sampled_from("123")), max_size=8
    )
)
def test_making_what_is_stale_gives_what_making_everything_gives(
    steps: list[tuple[set[str], str]],
) -> None:
    """Whatever was made in whatever order, by whatever version of the source."""
    stored: Stored = dict.fromkeys(MADE_FROM)
    versions = dict.fromkeys(MADE_FROM, "1")
    for assets, version in steps:
        versions["raw"] = version
        # A run makes an asset only where its inputs are there.
        possible = [
            asset
            for asset in MADE_FROM
            if asset in assets and all(stored[i] or i in assets for i in MADE_FROM[asset])
        ]
        if all(stored[i] or i in possible for a in possible for i in MADE_FROM[a]):
            stored = make(stored, versions, possible)
    if stored["raw"] is not None:
        versions["raw"] = str(stored["raw"].sha256)
    mended = make(stored, versions, names(stored))
    assert mended == make(mended, versions, list(MADE_FROM))
    assert names(mended) == []
