"""Which assets of a day are missing, or were made of other bytes than their inputs hold now.

Everything after the raw zone is a function of its inputs. So each stored partition records
the digests of the partitions it was made of, and what has to be made again follows from
what is stored: it does not depend on any log of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


PENDING: Final = "pending"
"""What an asset records beside its inputs while rows of it wait for a later run: how many."""

AWAITED: Final = "awaited/"
"""Before the name of a raw partition that another one records because rows have moved there.

They stay where they were until it holds them. Its digest is recorded, '' where there was none: once
it has another one, the rows are asked for again, and as long as it has not, nothing is.
"""


def awaited_name(table: str, key: str | None) -> str:
    """Return what a raw partition records another one as to which rows of it have moved."""
    return f"{AWAITED}{table}/{key or ''}"


def awaited_place(name: str) -> tuple[str, str | None]:
    """Return the table and the key that `awaited_name` was given."""
    table, _, key = name.removeprefix(AWAITED).partition("/")
    return table, key or None


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """What the storage says of one partition of an asset.

    Attributes:
        sha256: digest of its content; None where it has none (files, documents).
        inputs: digest of each input at the time it was made, by the input's name.
        outdated: whether it was written for another version of its table.
    """

    sha256: str | None
    inputs: Mapping[str, str]
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class StaleAsset:
    """An asset of a day that has to be made again, and why."""

    asset: str
    reason: str


def stale_assets(
    stored: Mapping[str, StoredPartition | None],
    made_from: Mapping[str, tuple[str, ...]],
    origins: Mapping[str, Mapping[str, str]],
    awaited: Mapping[str, str] | None = None,
) -> tuple[StaleAsset, ...]:
    """Compare the stored partitions of one day with each other.

    Args:
        stored: by asset; None where nothing is stored. All assets of `made_from` are in it.
        made_from: inputs of each asset, an asset after all of its inputs; none for assets
            that are read from the source.
        origins: what assets must have recorded beside the digests of their inputs: where rows
            come from, or the settings they depend on; nothing for those that are not in it.
        awaited: digest now of each partition that is recorded as `AWAITED`, by that name; '' where
            there is none. None: nothing of the raw zone is among `stored`.

    Returns:
        Assets to make again, in the order of `made_from`: those that are not as they should
        be, and everything that is made of them.
    """
    found: dict[str, str] = {}
    for asset, inputs in made_from.items():
        partition = stored[asset]
        upstream = [name for name in inputs if name in found]
        if partition is None:
            found[asset] = "missing"
        elif partition.outdated:
            found[asset] = "made by another version"
        elif upstream:
            found[asset] = f"{upstream[0]} is to be made again"
        elif _beside(partition, inputs) != dict(origins.get(asset, {})):
            found[asset] = (
                "made of other inputs or with other settings"
                if inputs
                else "read from another source or for another time zone"
            )
        else:
            changed = [
                name
                for name in inputs
                if (held := stored[name]) is None or partition.inputs.get(name) != held.sha256
            ]
            arrived = [
                name
                for name, sha256 in partition.inputs.items()
                if name.startswith(AWAITED) and (awaited or {})[name] != sha256
            ]
            if changed:
                found[asset] = f"{changed[0]} has changed since"
            elif arrived:
                table, key = awaited_place(arrived[0])
                where = f"{table} of {key or 'no day'}"
                found[asset] = f"rows of it have moved to {where}, which has changed since"
            elif rows := partition.inputs.get(PENDING):
                found[asset] = f"{rows} rows wait for a later run"
    return tuple(StaleAsset(asset, reason) for asset, reason in found.items())


def _beside(partition: StoredPartition, inputs: tuple[str, ...]) -> dict[str, str]:
    known = {*inputs, PENDING}
    return {
        name: value
        for name, value in partition.inputs.items()
        if name not in known and not name.startswith(AWAITED)
    }
