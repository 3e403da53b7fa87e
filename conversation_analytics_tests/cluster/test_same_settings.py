"""Two processes compare their settings."""

from __future__ import annotations

from conversation_analytics.cluster.same_settings import OF_A_MACHINE, marks_of, others
from conversation_analytics.settings import SETTINGS, parse_settings

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def test_settings_that_differ_are_named_and_no_value_is() -> None:
    ours = marks_of(parse_settings({"S3_PREFIX": "a", "EXT_SITE_URL": "x"}), KEY)
    theirs = marks_of(parse_settings({"S3_PREFIX": "b", "MAX_WORKERS": "7"}), KEY)
    assert others(theirs, ours) == ["EXT_SITE_URL", "S3_PREFIX"]
    assert others(ours, ours) == []


def test_a_mark_says_nothing_under_another_key() -> None:
    settings = parse_settings({"PSEUDONYM_KEY": "a-made-up-key-of-more-than-32-characters-1"})
    marks, again = marks_of(settings, KEY), marks_of(settings, OTHER_KEY)
    assert marks.keys() == again.keys()
    assert all(marks[name] != again[name] for name in marks)
    assert "made-up" not in "".join(marks.values())


def test_what_may_differ_between_machines_are_settings() -> None:
    assert {one.name for one in SETTINGS} >= OF_A_MACHINE
