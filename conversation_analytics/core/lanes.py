"""Where the executor runs a step: in the run's process, in a warm one, or on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Lane = Literal["inline", "cpu", "gpu"]
LANES: tuple[Lane, ...] = get_args(Lane)
LANE_TAG = "conversation_analytics/lane"
"""Tag of an op or a run that names its lane; the op's wins."""
PLANS_TAG = "conversation_analytics/computes"
PLANS: Mapping[str, str] = {PLANS_TAG: "plans"}
"""Op tags of an asset whose work is the plans that it computes: a GPU may help it."""


@dataclass(frozen=True, slots=True)
class RecordedRows:
    """What is recorded of the partitions that a step reads, in rows of its largest input.

    Attributes:
        total: over all of its partitions.
        per_plan: on the average of the partitions that the step makes; each is a plan.
    """

    total: int
    per_plan: int


@dataclass(frozen=True, slots=True)
class LaneRules:
    """Which step goes where.

    Attributes:
        gpu: devices may be used.
        gpu_min_rows: rows of a plan from which a device is worth its transfers.
        light_rows: a step of fewer rows in all is over before another process has begun.
        max_workers: steps at once on the CPU.
    """

    gpu: bool
    gpu_min_rows: int
    light_rows: int
    max_workers: int


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What is known of a step that is ready.

    Attributes:
        op_tags: of the step.
        run_tags: of its run.
        rows: None where nothing is recorded.
        alone: no other step runs or is ready: nothing waits for this process meanwhile.
    """

    op_tags: Mapping[str, str]
    run_tags: Mapping[str, str]
    rows: RecordedRows | None
    alone: bool

    @property
    def computes_plans(self) -> bool:
        """Whether an engine computes what it makes."""
        return self.op_tags.get(PLANS_TAG) == PLANS[PLANS_TAG]


def named_lane(facts: StepFacts) -> Lane | None:
    """Return the lane that a tag names, or None.

    A run's `gpu` is for its steps that compute plans: others have no use for a device.

    Raises:
        ValueError: a tag names no lane.
    """
    for tags in (facts.op_tags, facts.run_tags):
        name = tags.get(LANE_TAG)
        if name is None:
            continue
        lane = next((lane for lane in LANES if lane == name), None)
        if lane is None:
            raise ValueError(f"tag {LANE_TAG} is {name!r}: expected one of {', '.join(LANES)}")
        if lane != "gpu" or tags is facts.op_tags or facts.computes_plans:
            return lane
    return None


def needs_rows(facts: StepFacts, rules: LaneRules) -> bool:
    """Tell whether `place` looks at the rows: looking them up takes time."""
    if named_lane(facts) is not None:
        return False
    return (rules.gpu and facts.computes_plans) or not (facts.alone or rules.max_workers == 1)


def place(facts: StepFacts, rules: LaneRules) -> Lane:
    """Return the lane of a step.

    Raises:
        ValueError: a tag names no lane.
    """
    named = named_lane(facts)
    if named is not None:
        return named if named != "gpu" or rules.gpu else place_on_cpu(facts, rules)
    if (
        rules.gpu
        and facts.computes_plans
        and facts.rows is not None
        and facts.rows.per_plan >= rules.gpu_min_rows
    ):
        return "gpu"
    return place_on_cpu(facts, rules)


def place_on_cpu(facts: StepFacts, rules: LaneRules) -> Lane:
    """Return `inline` where nothing is gained by another process, else `cpu`."""
    if facts.alone or rules.max_workers == 1:
        return "inline"
    light = facts.rows is not None and facts.rows.total < rules.light_rows
    return "inline" if light else "cpu"
