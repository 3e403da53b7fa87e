"""Packages as an installer leaves them: a module, its metadata, its entry points."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def put_package(
    folder: Path, name: str, code: str, entry_points: Mapping[str, str], version: str = "1.0"
) -> None:
    """Put a distribution with one module of `code`, called as it is but for its hyphens.

    Args:
        folder: of the path.
        name: of the distribution.
        code: of the module.
        entry_points: `kind:name` to what is in the module.
        version: of the distribution.
    """
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for key, value in entry_points.items():
        kind, _, entry = key.partition(":")
        lines += [f"[conversation_analytics.{kind}]", f"{entry} = {module}:{value}"]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
