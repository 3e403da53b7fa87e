"""JSON taken apart: the slow way gives what the fast way does, and more."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation_analytics.core.json_text import _cut_members, elements, members

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(row=st.dictionaries(st.text(), JSON, max_size=5))
def test_members_are_those_of_the_object(row: dict[str, Any]) -> None:
    text = json.dumps(row).encode()
    expected = {
        msgspec.json.decode(json.dumps(key)): value
        for key, value in row.items()
        if not any("\ud800" <= sign <= "\udfff" or sign == "\0" for sign in key)
    }
    found = {key: json.loads(value) for key, value in _cut_members(text).items()}
    assert json.dumps({key: found[key] for key in expected}) == json.dumps(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1.10,"b":"x"}', {"a": "1.10", "b": '"x"'}),
        ('{"a":"\\ud800","b":NaN}', {"a": '"\\ud800"', "b": "NaN"}),
        ('{"a":%s}' % ("[" * 5000 + "]" * 5000), {"a": "[" * 5000 + "]" * 5000}),
        ('{"a":1,"a":2}', {"a": "2"}),
        ("{}", {}),
    ],
)
def test_members_stay_the_text_they_are(text: str, expected: dict[str, str]) -> None:
    found = {key: bytes(value).decode() for key, value in members(text.encode()).items()}
    assert found == expected


@pytest.mark.parametrize("text", ["[1]", "7", "{", '{"a"}', '{"a":1', '{"a":1}}', '{"a":1,,"b":2}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        members(text.encode())


def test_elements_are_cut_at_the_outermost_level() -> None:
    assert elements(b'[1, "a,]", {"b": [2, 3]}]') == [b"1", b'"a,]"', b'{"b": [2, 3]}']
