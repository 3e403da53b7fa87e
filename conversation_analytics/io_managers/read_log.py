"""Which partitions a step has read, so that what it writes can say what it was made of."""

from dagster._core.execution.context.system import StepExecutionContext

StepAttempt = tuple[str, str, int]


def attempt_of(step: StepExecutionContext) -> StepAttempt:
    """Return run, step and attempt: a step that is repeated reads anew."""
    return step.run_id, step.step.key, step.previous_attempt_count


class ReadLog:
    """Digests of the lake partitions that steps of this process have read.

    Safe for several threads. One is shared by the IO managers of a process.
    """

    def __init__(self) -> None:
        """Start with nothing read."""
        self._reads: dict[tuple[StepAttempt, str | None], dict[str, str]] = {}

    def add(self, attempt: StepAttempt, key: str | None, table: str, sha256: str) -> None:
        """Note that the step has read partition `key` of `table`, whose digest is `sha256`."""
        self._reads.setdefault((attempt, key), {})[table] = sha256

    def inputs(self, attempt: StepAttempt, key: str | None) -> dict[str, str]:
        """Return the digests read for partition `key`, by table."""
        return dict(self._reads.get((attempt, key), {}))
