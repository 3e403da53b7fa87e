"""Files and folders that appear under their names whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from typing import BinaryIO


_FOR_ALL: Final = 0o666
"""Less what the umask takes."""
_NO_FILES: Final = {
    stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip


@contextmanager
def new_file(target: Path, *, overwrite: bool, mode: int = _FOR_ALL) -> Iterator[BinaryIO]:
    """Give a file beside `target` that takes its name at the end, or leaves no trace.

    Args:
        target: the name; its folder exists.
        overwrite: whether a file may stand there already.
        mode: who may do what with the file, less the umask.

    Raises:
        ExportError: the name is taken, by what is no file whatever `overwrite` says, or its
            folder is missing.
    """
    _require_place(target, overwrite=overwrite)
    beside = _beside(target)
    try:
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        with os.fdopen(handle, "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        _require_place(target, overwrite=overwrite)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path, names: Collection[str], *, overwrite: bool) -> Iterator[Path]:
    """Give a folder beside `target` that takes its name at the end, or leaves no trace.

    Args:
        target: the name; its parent exists.
        names: the files that will be in it. A folder with any other is never overwritten.
        overwrite: whether such a folder may stand there already.

    Raises:
        ExportError: the name is taken, or its parent is missing.
    """
    _require_folder_place(target, names, overwrite=overwrite)
    beside, before = _beside(target), _beside(target)
    try:
        beside.mkdir()
        yield beside
        _require_folder_place(target, names, overwrite=overwrite)
        if target.exists():
            target.rename(before)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if before.exists() and not target.exists():
            before.rename(target)
        shutil.rmtree(before, ignore_errors=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _require_place(target: Path, *, overwrite: bool) -> None:
    _require_parent(target)
    try:
        kind = stat.S_IFMT(target.lstat().st_mode)
    except FileNotFoundError:
        return
    if kind == stat.S_IFDIR:
        raise ExportError(f"{target}: expected the name of a file, got a folder")
    if kind != stat.S_IFREG:  # it would be replaced by the file, a device for everybody
        raise ExportError(
            f"{target}: expected the name of a file, got {_NO_FILES.get(kind, 'no file')}, "
            "which was left as it is; give another name"
        )
    if not overwrite:
        raise _taken(target)


def _require_folder_place(target: Path, names: Collection[str], *, overwrite: bool) -> None:
    _require_parent(target)
    if not target.exists() and not target.is_symlink():
        return
    if target.is_symlink() or not target.is_dir():
        raise ExportError(f"{target}: expected the name of a new folder, got a file or link")
    held = sorted(path.name for path in target.iterdir())
    if held and not overwrite:
        raise _taken(target)
    if others := [name for name in held if name not in names]:
        raise ExportError(
            f"{target}: expected a corpus to overwrite, got a folder with {len(others)} "
            "other files in it; name another folder"
        )


def _require_parent(target: Path) -> None:
    if not target.parent.is_dir():
        raise ExportError(f"{target}: there is no folder {target.parent}: make it first")


def _taken(target: Path) -> ExportError:
    return ExportError(
        f"{target}: there is one already, and it was left as it is; give another name, or "
        "--overwrite"
    )
