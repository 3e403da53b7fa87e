"""Metadata of one partition of a range run."""

from collections.abc import Mapping
from typing import Any

import dagster as dg


def add_partition_metadata(
    context: dg.OutputContext, key: str, metadata: Mapping[str, Any]
) -> None:
    """Attach `metadata` to the materialization of partition `key` of this output's asset.

    `OutputContext.add_output_metadata` would copy one value to every day of a range.
    """
    step = context.step_context
    step.add_asset_metadata(metadata=metadata, asset_key=context.asset_key, partition_key=key)
