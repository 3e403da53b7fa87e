"""Values that belong to partitions, computed one at a time.

A run over a range of days hands on a `Partitioned`: iterating it computes one
partition after the other, so that a range never has to fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from conversation_analytics.core.errors import TransientError

T = TypeVar("T")
U = TypeVar("U")


class PartitionReplacedError(TransientError):
    """Another run replaced the partition since this one began it: begin again."""


def replaced_meanwhile(where: str) -> PartitionReplacedError:
    """Return the error of a writer that comes too late for the partition `where`."""
    return PartitionReplacedError(
        f"{where}: another run replaced this partition while this one was at it or paused; what "
        "that run wrote stands, nothing of this one was added to it: run this partition again"
    )


@dataclass(frozen=True)
class Partitioned(Mapping[str, T], Generic[T]):
    """A read-only mapping from partition key to a value that is computed on each access.

    Attributes:
        keys_sorted: the partition keys in ascending order.
        compute: gives the value of one key.
    """

    keys_sorted: tuple[str, ...]
    compute: Callable[[str], T]

    def __getitem__(self, key: str) -> T:
        """Compute the value of `key`; KeyError if the key is not of this range."""
        if key not in self.keys_sorted:
            raise KeyError(key)
        return self.compute(key)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys in ascending order."""
        return iter(self.keys_sorted)

    def __len__(self) -> int:
        """Count the partitions."""
        return len(self.keys_sorted)

    def map(self, function: Callable[[str, T], U]) -> Partitioned[U]:
        """Return the partitions of `function(key, value)`, computed on access."""
        return Partitioned(self.keys_sorted, lambda key: function(key, self[key]))


@dataclass(frozen=True, slots=True)
class Described(Generic[T]):
    """A value with what an operator should see about it.

    Attributes:
        value: the value itself.
        facts: counts and names for the UI; no message text, no user ids.
        origin: what the value was made of beside other partitions, by name.
        on_stored: called once the value is stored; what it raises counts as the write's.
    """

    value: T
    facts: Mapping[str, str | int]
    origin: Mapping[str, str] = field(default_factory=dict)
    on_stored: Callable[[], None] = lambda: None
