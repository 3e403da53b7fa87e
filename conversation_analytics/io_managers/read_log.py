"""Which partitions a step has read, so that what it writes can say what it was made of."""

from collections.abc import Mapping

from dagster._core.execution.context.system import StepExecutionContext

from conversation_analytics.lake.store import Generation

StepAttempt = tuple[str, str, int]


def attempt_of(step: StepExecutionContext) -> StepAttempt:
    """Return run, step and attempt: a step that is repeated reads anew."""
    return step.run_id, step.step.key, step.previous_attempt_count


Begun = Mapping[tuple[str, str | None], Generation]
"""State of the partitions that a step replaces, when it began: by table and key."""


BegunDocuments = Mapping[tuple[str, str], int]
"""Generations of the documents that a step replaces, when it began: by collection and partition."""


class ReadLog:
    """Digests of the lake partitions that steps of this process have read, and when they began.

    Safe for several threads. One is shared by the IO managers of a process.
    """

    def __init__(self) -> None:
        """Start with nothing read."""
        self._reads: dict[tuple[StepAttempt, str | None], dict[str, str]] = {}
        self._begun: dict[StepAttempt, Begun] = {}
        self._documents_begun: dict[StepAttempt, BegunDocuments] = {}

    def begin(
        self, attempt: StepAttempt, outputs: Begun, documents: BegunDocuments | None = None
    ) -> None:
        """Note what the step will replace, as it is before the step reads anything.

        Args:
            attempt: of the step.
            outputs: partitions of the lake.
            documents: partitions of documents; None: it replaces none.
        """
        self._begun[attempt] = outputs
        self._documents_begun[attempt] = documents or {}

    def begun(self, attempt: StepAttempt) -> Begun | None:
        """Return what `begin` was given; None where the step has not begun."""
        return self._begun.get(attempt)

    def documents_begun(self, attempt: StepAttempt) -> BegunDocuments:
        """Return what `begin` was given of documents; nothing where the step has not begun."""
        return self._documents_begun.get(attempt, {})

    def add(self, attempt: StepAttempt, key: str | None, table: str, sha256: str) -> None:
        """Note that the step has read partition `key` of `table`, whose digest is `sha256`."""
        self._reads.setdefault((attempt, key), {})[table] = sha256

    def add_beside(self, attempt: StepAttempt, key: str | None, origin: Mapping[str, str]) -> None:
        """Note what partition `key` is made of beside other partitions, by name."""
        self._reads.setdefault((attempt, key), {}).update(origin)

    def inputs(self, attempt: StepAttempt, key: str | None) -> dict[str, str]:
        """Return the digests read for partition `key`, by table."""
        return dict(self._reads.get((attempt, key), {}))
