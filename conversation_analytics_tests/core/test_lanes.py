"""Which step goes where."""

from __future__ import annotations

import pytest

from conversation_analytics.core.lanes import (
    LANE_TAG,
    PLANS,
    Lane,
    LaneRules,
    RecordedRows,
    StepFacts,
    needs_rows,
    place,
)

RULES = LaneRules(gpu=True, gpu_min_rows=1000, light_rows=10, max_workers=2)
NO_GPU = LaneRules(gpu=False, gpu_min_rows=1000, light_rows=10, max_workers=2)
ONE = LaneRules(gpu=True, gpu_min_rows=1000, light_rows=10, max_workers=1)
HEAVY, LIGHT, BETWEEN = RecordedRows(1000, 1000), RecordedRows(9, 9), RecordedRows(10, 10)


def facts(
    rows: RecordedRows | None = None,
    *,
    op: dict[str, str] | None = None,
    run: dict[str, str] | None = None,
    alone: bool = False,
) -> StepFacts:
    return StepFacts(op or {}, run or {}, rows, alone)


def lane(name: str) -> dict[str, str]:
    return {LANE_TAG: name}


@pytest.mark.parametrize(
    ("step", "rules", "expected"),
    [
        pytest.param(facts(op=lane("cpu"), run=lane("inline")), RULES, "cpu", id="op's tag wins"),
        pytest.param(facts(HEAVY, op={**PLANS}, run=lane("cpu")), RULES, "cpu", id="or the run's"),
        pytest.param(facts(op=lane("gpu")), RULES, "gpu", id="an op's gpu needs no plans"),
        pytest.param(facts(LIGHT, run=lane("gpu")), RULES, "inline", id="a run's gpu needs plans"),
        pytest.param(facts(LIGHT, op={**PLANS}, run=lane("gpu")), RULES, "gpu", id="and has them"),
        pytest.param(facts(op=lane("gpu"), alone=True), NO_GPU, "inline", id="gpu is off"),
        pytest.param(facts(HEAVY, op={**PLANS}), RULES, "gpu", id="heavy plans"),
        pytest.param(facts(HEAVY, op={**PLANS}), NO_GPU, "cpu", id="heavy plans, gpu is off"),
        pytest.param(facts(HEAVY), RULES, "cpu", id="heavy without plans"),
        pytest.param(facts(RecordedRows(31_000, 999), op={**PLANS}), RULES, "cpu",
                     id="many plans, none heavy"),
        pytest.param(facts(BETWEEN), RULES, "cpu", id="neither heavy nor light"),
        pytest.param(facts(BETWEEN, alone=True), RULES, "inline", id="nothing else to do"),
        pytest.param(facts(LIGHT), RULES, "inline", id="light"),
        pytest.param(facts(), RULES, "cpu", id="nothing recorded"),
        pytest.param(facts(), ONE, "inline", id="one at a time"),
    ],
)  # fmt: skip
def test_a_step_goes_where_it_belongs(step: StepFacts, rules: LaneRules, expected: Lane) -> None:
    assert place(step, rules) == expected


@pytest.mark.parametrize("where", ["op", "run"])
def test_a_tag_that_names_no_lane_is_told(where: str) -> None:
    wrong = lane("fast")
    step = facts(op=wrong) if where == "op" else facts(run=wrong)
    with pytest.raises(ValueError, match="'fast': expected one of inline, cpu, gpu"):
        place(step, RULES)


@pytest.mark.parametrize(
    ("step", "rules", "expected"),
    [
        pytest.param(facts(op=lane("cpu")), RULES, False, id="a tag decides"),
        pytest.param(facts(alone=True), RULES, False, id="alone, without plans"),
        pytest.param(facts(op={**PLANS}, alone=True), RULES, True, id="alone, with plans"),
        pytest.param(facts(op={**PLANS}, alone=True), NO_GPU, False, id="alone, gpu is off"),
        pytest.param(facts(), ONE, False, id="one at a time"),
        pytest.param(facts(), NO_GPU, True, id="others are ready"),
    ],
)
def test_rows_are_looked_up_only_where_they_decide(
    step: StepFacts,
    rules: LaneRules,
    expected: bool,  # noqa: FBT001
) -> None:
    assert needs_rows(step, rules) is expected
    if not expected:
        assert place(step, rules) == place(
            StepFacts(step.op_tags, step.run_tags, HEAVY, step.alone), rules
        )
