"""Rows that Dagster has recorded of what a step reads: it decides where the step runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.core.lanes import RecordedRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster._core.execution.plan.step import ExecutionStep

_ROWS = "dagster/row_count"
# Repeated runs leave several records of a partition; more are not looked at.
_RECORDS_A_PARTITION = 4
_RECORDS = 2000


class RowRecords:
    """Looks up recorded rows for the steps of one run, each input once."""

    def __init__(
        self, instance: dg.DagsterInstance, run: dg.DagsterRun, job: dg.JobDefinition
    ) -> None:
        """Keep where to look."""
        self._instance = instance
        self._run = run
        self._job = job
        self._known: dict[tuple[dg.AssetKey, tuple[str, ...] | None], int | None] = {}

    def of_step(self, step: ExecutionStep) -> RecordedRows | None:
        """Return the rows of the step's largest input, or None where none are recorded.

        A step that reads from outside has no input: what it has made itself the last time counts.
        """
        layer = self._job.asset_layer
        definition = layer.get_assets_def_for_node(step.node_handle)
        if definition is None:
            return None
        made = self._keys_of_run(definition.partitions_def)
        checked = {check.asset_key for check in definition.check_keys} - set(definition.keys)
        totals = [
            self._total(key, self._keys_read(key, definition.partitions_def, made))
            for key in sorted({*definition.dependency_keys, *checked})
        ]
        known = [total for total in totals if total is not None]
        if not known and not totals:
            last = [self._last(key) for key in sorted(definition.keys)]
            known = [rows * len(made or ("",)) for rows in last if rows is not None]
        if not known:
            return None
        return RecordedRows(max(known), max(known) // len(made or ("",)))

    def _keys_of_run(self, partitions: dg.PartitionsDefinition[str] | None) -> tuple[str, ...]:
        """Return the partitions that the run makes of assets with `partitions`."""
        if partitions is None:
            return ()
        tags = self._run.tags
        first = tags.get("dagster/asset_partition_range_start") or tags.get("dagster/partition")
        last = tags.get("dagster/asset_partition_range_end") or first
        if first is None or last is None:
            return ()
        return tuple(partitions.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))

    def _keys_read(
        self,
        key: dg.AssetKey,
        partitions: dg.PartitionsDefinition[str] | None,
        made: tuple[str, ...],
    ) -> tuple[str, ...] | None:
        """Return the partitions of input `key` that are read; None: it has none, or all count."""
        layer = self._job.asset_layer
        upstream = layer.get(key).partitions_def if layer.has(key) else None
        if upstream is None or partitions is None or not made:
            return None
        if upstream == partitions:
            return made
        if isinstance(upstream, dg.TimeWindowPartitionsDefinition) and isinstance(
            partitions, dg.TimeWindowPartitionsDefinition
        ):
            window = dg.TimeWindow(
                partitions.time_window_for_partition_key(made[0]).start,
                partitions.time_window_for_partition_key(made[-1]).end,
            )
            return tuple(upstream.get_partition_keys_in_time_window(window))
        return None

    def _total(self, key: dg.AssetKey, keys: tuple[str, ...] | None) -> int | None:
        found = (key, keys)
        if found not in self._known:
            self._known[found] = self._look_up(key, keys)
        return self._known[found]

    def _look_up(self, key: dg.AssetKey, keys: Sequence[str] | None) -> int | None:
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=keys)
        limit = min(_RECORDS, _RECORDS_A_PARTITION * len(keys)) if keys else _RECORDS
        rows: dict[str | None, int] = {}
        for record in self._instance.fetch_materializations(wanted, limit=limit).records:
            made = record.asset_materialization
            count = None if made is None else _row_count(made)
            if made is not None and count is not None:
                rows.setdefault(made.partition, count)  # the newest comes first
        return sum(rows.values()) if rows else None

    def _last(self, key: dg.AssetKey) -> int | None:
        event = self._instance.get_latest_materialization_event(key)
        made = None if event is None else event.asset_materialization
        return None if made is None else _row_count(made)


def _row_count(made: dg.AssetMaterialization) -> int | None:
    value = made.metadata.get(_ROWS)
    return value.value if isinstance(value, dg.IntMetadataValue) else None
