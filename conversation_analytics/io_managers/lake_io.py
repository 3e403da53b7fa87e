"""Assets to Parquet partitions of the lake and back."""

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.plan.outputs import StepOutputHandle

from conversation_analytics.core.engine import Engine, taken_by
from conversation_analytics.core.errors import ContractError
from conversation_analytics.core.partitions import Described, Partitioned
from conversation_analytics.core.schemas import TableSchema
from conversation_analytics.core.tables import TABLES
from conversation_analytics.io_managers.day_spread import DaySpread, RangeStep, WrittenDays
from conversation_analytics.io_managers.document_io import DocumentIOManager
from conversation_analytics.io_managers.partition_metadata import (
    add_partition_metadata,
    computed_by,
)
from conversation_analytics.io_managers.read_log import ReadLog, StepAttempt, attempt_of
from conversation_analytics.io_managers.retries import retry_if_transient
from conversation_analytics.lake.store import Generation, Lake

_BY_NAME = {table.name: table for table in TABLES}
_PREVIEW_ROWS = 5
PLANNED = "planned"
"""Metadata of an input: its partitions are wanted as plans, not as frames."""
# Text, ids of people and whole rows stay out of metadata.
_NEVER_SHOWN = frozenset(
    {"query", "answer", "name", "summary", "inputs", "payload", "error", "extra", "user_id",
     "message_metadata", "from_end_user_id", "from_account_id", "words", "centre",
     "text", "translated", "text_sha256"}
)  # fmt: skip


class LakeIOManager(dg.IOManager):
    """Stores `polars.DataFrame`s of pinned tables, one object a partition.

    Outputs: a frame (one partition, or an unpartitioned asset), a `Described` frame, a
    mapping from partition key to either (a range), a pandas frame with a `day` column, or, for
    an unpartitioned asset, a function that gives a frame.
    Inputs: a `Partitioned` of frames for a partitioned asset, else a frame.
    """

    def __init__(
        self,
        lake: Lake,
        threads: int,
        reads: ReadLog,
        engine: Engine,
        on_partition: Callable[[str, str | None], None],
        spread: DaySpread | None = None,
    ) -> None:
        """Keep where and how days are computed, and who hears of progress.

        Args:
            lake: the lake.
            threads: days handled at once in this process.
            reads: what was read.
            engine: what computes the plans.
            on_partition: called with asset and partition key after each stored partition.
            spread: computes days in other processes; None: all are computed in this one.
        """
        self._lake = lake
        self._spread = spread
        self._written_elsewhere: dict[StepAttempt, WrittenDays] = {}
        self._threads = threads
        self._reads = reads
        self._engine = engine
        self._on_partition = on_partition

    @retry_if_transient()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Publish every partition of this output; each is replaced whole."""
        schema = _table_of(context)
        attempt = attempt_of(context.step_context)
        begun = self._reads.begun(attempt) or {}
        if not context.has_asset_partitions:
            since = begun.get((schema.name, None))
            compute = obj if callable(obj) else lambda: obj
            written_whole = self.write(attempt, schema, None, compute, since)
            context.add_output_metadata(written_whole | _lineage(context))
            return
        keys = sorted(context.asset_partition_keys)
        if self._spread is not None and self._spread.takes(context.op_def.name, len(keys)):
            self._add(context, keys, self._elsewhere(context, self._spread, keys)[schema.name])
            return
        values = _by_partition(obj, keys, schema)
        threads = int(context.definition_metadata.get("threads", self._threads))
        with ThreadPoolExecutor(max_workers=min(threads, len(keys))) as pool:
            written = pool.map(
                lambda key: self.write(
                    attempt, schema, key, lambda: values[key], begun.get((schema.name, key))
                ),
                keys,
            )
            self._add(context, keys, dict(zip(keys, written, strict=True)))

    def _add(
        self,
        context: dg.OutputContext,
        keys: Sequence[str],
        written: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Attach the metadata of each partition of a range."""
        for key in keys:
            # The UI takes it from the newest materialization: once is enough.
            lineage = _lineage(context) if key == keys[-1] else {}
            add_partition_metadata(context, key, {**written[key], **lineage})

    @retry_if_transient()
    def load_input(self, context: dg.InputContext) -> Any:
        """Return a lazy mapping of the partitions, or the frame of an unpartitioned asset.

        Of an input that is `PLANNED` partitions are plans, which decode the columns they need.
        """
        schema = _BY_NAME[context.asset_key.path[-1]]
        begin_outputs(context.step_context, self._lake, self._reads)
        attempt = attempt_of(context.step_context)
        if not context.has_asset_partitions:
            return self._reader(attempt, schema)(None).collect()
        planned = PLANNED in (context.definition_metadata or {})
        return self.days(attempt, schema, context.asset_partition_keys, planned=planned)

    def days(
        self, attempt: StepAttempt, schema: TableSchema, keys: Sequence[str], *, planned: bool
    ) -> Partitioned[pl.LazyFrame] | Partitioned[pl.DataFrame]:
        """Return a lazy mapping of partitions, of plans or of frames; see `load_input`."""
        ordered, scan = tuple(sorted(keys)), self._reader(attempt, schema)
        if planned:
            return Partitioned(ordered, lambda key: taken_by(self._engine, scan(key)))
        # It is decoded and nothing else: no engine serves there.
        return Partitioned(ordered, lambda key: scan(key).collect())

    def _reader(
        self, attempt: StepAttempt, schema: TableSchema
    ) -> Callable[[str | None], pl.LazyFrame]:
        # Assets compute lazily, or in their body: there, too, an outage repeats the step.
        @retry_if_transient()
        def scan(key: str | None) -> pl.LazyFrame:
            rows, info = self._lake.scan(schema, key)
            self._reads.add(attempt, key, schema.name, info.sha256)
            return rows

        return scan

    def _elsewhere(
        self, context: dg.OutputContext, spread: DaySpread, keys: Sequence[str]
    ) -> WrittenDays:
        """Let the days be computed, all outputs of the step together, and return what came of it.

        The value of the output is left alone: it would compute the days here.
        """
        attempt = attempt_of(context.step_context)
        if attempt not in self._written_elsewhere:  # else another output of the step was the first
            begun, told = self._reads.begun(attempt) or {}, context.log.info
            step = RangeStep(
                context.op_def.name, attempt, tuple(keys), begun, told, self._on_partition
            )
            self._written_elsewhere[attempt] = spread.compute(step)
        return self._written_elsewhere[attempt]

    def write(
        self,
        attempt: StepAttempt,
        schema: TableSchema,
        key: str | None,
        compute: Callable[[], Any],
        since: Generation | None,
    ) -> dict[str, Any]:
        """Compute and publish one partition; return the metadata of its materialization.

        Args:
            attempt: under which its inputs are noted as read.
            schema: of its table.
            key: of the partition; None for a table without partitions.
            compute: gives its frame, or a `Described` one.
            since: what was stored before its inputs were read; None begins here.
        """
        started = time.perf_counter()
        since = since or self._lake.begin(schema, key)
        value = compute()
        inputs = self._reads.inputs(attempt, key)
        told = value if isinstance(value, Described) else Described(value, {})
        frame = schema.conform(told.value)
        written = self._lake.write(schema, key, frame, since, {**inputs, **told.origin})
        told.on_stored()
        self._on_partition(schema.name, key)
        return {
            "dagster/row_count": written.rows,
            "size_bytes": written.size_bytes,
            "seconds": round(time.perf_counter() - started, 3),
            "path": written.path,
            "sha256": written.sha256,
            "changed": written.changed,
            "preview": _preview(frame),
            **computed_by(self._engine),
            **told.facts,
        }


def begin_outputs(step: StepExecutionContext, lake: Lake, reads: ReadLog) -> None:
    """Remember the state of what a step will replace, before it reads its first input.

    Reading an input does it; an asset that reads by itself calls this first. Whoever replaces one
    of the outputs from then on makes the step begin again.
    """
    attempt = attempt_of(step)
    if reads.begun(attempt) is not None:
        return
    begun: dict[tuple[str, str | None], Generation] = {}
    documents: dict[tuple[str, str], int] = {}
    for output in step.step.step_outputs:
        handle = StepOutputHandle(step.step.key, output.name)
        target = step.get_output_context(handle)
        schema = _BY_NAME.get(target.asset_key.path[-1])
        if schema is not None:
            keys = target.asset_partition_keys if target.has_asset_partitions else [None]
            begun |= {(schema.name, key): lake.begin(schema, key) for key in keys}
        elif isinstance(manager := step.get_io_manager(handle), DocumentIOManager):
            documents |= manager.begin(target)
    reads.begin(attempt, begun, documents)


def _lineage(context: dg.OutputContext) -> dict[str, Any]:
    name = "dagster/column_lineage"
    return {key: value for key, value in context.definition_metadata.items() if key == name}


def _table_of(context: dg.OutputContext) -> TableSchema:
    return _BY_NAME[context.asset_key.path[-1]]


def _by_partition(obj: Any, keys: list[str], schema: TableSchema) -> Mapping[str, Any]:
    if isinstance(obj, Mapping):
        return obj
    if isinstance(obj, pl.DataFrame | Described) and len(keys) == 1:
        return {keys[0]: obj}
    frame = pl.from_pandas(obj, schema_overrides=dict(schema.polars))
    # pandas frames of reports carry their day, or the first one of their period
    first = pl.col(schema.columns[0].name)
    days = {key: frame.filter(first == dt.date.fromisoformat(key)) for key in keys}
    if (lost := frame.height - sum(part.height for part in days.values())) > 0:
        raise ContractError(
            f"{schema.name}: expected rows of the days {keys[0]} to {keys[-1]} of this run, got "
            f"{lost} of {frame.height} rows of another day or none; correct the asset's frame"
        )
    return days


def _preview(frame: pl.DataFrame) -> dg.TableMetadataValue:
    shown = [name for name in frame.columns if name not in _NEVER_SHOWN]
    records = [
        dg.TableRecord({name: "" if value is None else str(value) for name, value in row.items()})
        for row in frame.select(shown).head(_PREVIEW_ROWS).iter_rows(named=True)
    ]
    return dg.MetadataValue.table(
        records, schema=dg.TableSchema([dg.TableColumn(name) for name in shown])
    )


def column_schema(schema: TableSchema) -> dg.TableSchema:
    """Return the table as Dagster shows it: columns, types, descriptions, constraints."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in schema.columns
        ]
    )
