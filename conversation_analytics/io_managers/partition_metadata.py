"""Metadata of one partition of a range run."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from conversation_analytics.core.engine import Engine


def add_partition_metadata(
    context: dg.OutputContext, key: str, metadata: Mapping[str, Any]
) -> None:
    """Attach `metadata` to the materialization of partition `key` of this output's asset.

    `OutputContext.add_output_metadata` would copy one value to every day of a range.
    """
    step = context.step_context
    step.add_asset_metadata(metadata=metadata, asset_key=context.asset_key, partition_key=key)


def computed_by(engine: Engine) -> dict[str, str]:
    """Return what the metadata of a partition tells of the engine that its step ran with.

    `device` is there where it ran on one, `because` where it was to and did not.
    """
    choice = engine.choice
    told = {"engine": choice.kind, "device": choice.device, "because": choice.because}
    return {name: value for name, value in told.items() if value}
