"""Every test that docs/security.md cites for an attack exists."""

from __future__ import annotations

import re

from conversation_analytics_tests.commands import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def test_every_attack_has_a_test_that_exists() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "**" not in line]
    attacks = rows[1:]
    assert len(attacks) > 25
    for row in attacks:
        cited = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
        assert cited, row
        for path, name in cited:
            code = (ROOT / "conversation_analytics_tests" / path).read_text("utf-8")
            assert f"def {name}(" in code, f"{path} has no {name}"
