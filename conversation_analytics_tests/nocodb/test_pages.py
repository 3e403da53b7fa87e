"""A page taken apart: whatever stands inside of a row spoils no other row."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.nocodb.pages import _cut, take_apart

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(rows=st.lists(JSON, max_size=5), indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_the_slow_way_cuts_where_the_fast_way_does(
    rows: list[Any],
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001 - a choice of hypothesis
) -> None:
    page = {"a": rows, "list": rows, "pageInfo": {"pageSize": 3, "isLastPage": True}}
    body = json.dumps(page, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    cut = _cut(body)
    assert [json.dumps(json.loads(bytes(row))) for row in cut.rows] == [
        json.dumps(row)
        for row in json.loads(body)["list"]
    ]  # fmt: skip
    listing = take_apart(body)
    assert [bytes(row) for row in listing.rows] == [bytes(row) for row in cut.rows]
    assert (listing.page_size, listing.is_last) == (3, True)


@given(body=st.binary() | st.text(alphabet='{}[]",:\\a ').map(str.encode))
def test_anything_is_a_page_or_an_error_but_never_another_one(body: bytes) -> None:
    try:
        listing = take_apart(body)
    except (ValueError, msgspec.DecodeError):
        return
    assert all(bytes(row) in body for row in listing.rows)


@pytest.mark.parametrize("size", [None, "25", 2.5, True, [], 0, -1, 2**70])
def test_a_page_size_that_is_no_number_is_unknown(size: object) -> None:
    body = json.dumps({"list": [], "pageInfo": {"pageSize": size, "isLastPage": "no"}}).encode()
    listing = take_apart(body)
    assert listing.page_size == (size if type(size) is int else None)
    assert listing.is_last is None
