"""The test of the example: the platform takes the text."""

from __future__ import annotations

from support_taxonomy import taxonomy

from conversation_analytics.contracts import check_taxonomy


def test_the_platform_takes_it() -> None:
    parsed = check_taxonomy(taxonomy())
    assert {one.name: [label.name for label in one.labels] for one in parsed.types} == {
        "desk": ["hardware", "access"], "urgency": ["now", "whenever"],
    }  # fmt: skip
