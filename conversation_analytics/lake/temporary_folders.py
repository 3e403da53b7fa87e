"""Folders for rows that do not fit in memory: gone with their process, however that ended.

They hold what people wrote, in clear. A process that is killed removes nothing, so who comes next
does: every such folder is locked by the process that uses it, and one that nobody has locked is
left over. A lock goes with its process; no clock and no process number says who is alive.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

SQL: Final = "conversation-analytics-sql-"
"""How the names of folders begin in which queries spill."""
EXPORT: Final = "conversation-analytics-export-"
"""The same of exports that sort."""
_LOCK: Final = ".lock"  # a file, for NFS locks no folders
_logger: Final = logging.getLogger(__name__)


class TemporaryFolder:
    """A new folder below the system's temporary one, of this user alone; a context manager.

    Attributes:
        path: where.
    """

    def __init__(self, beginning: str) -> None:
        """Remove what others left over, then make the folder.

        Args:
            beginning: of its name: `SQL` or `EXPORT`.

        Raises:
            OSError: the temporary folder is full, or takes no files or locks.
        """
        remove_leftovers()
        self.path, self._handle = _made(beginning)

    def __enter__(self) -> Path:
        """Return the path."""
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the folder."""
        self.remove()

    def remove(self) -> None:
        """Remove the folder with all that is in it; a second time does nothing."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            _remove(self.path)
        finally:
            os.close(handle)


def remove_leftovers() -> int:
    """Remove the folders of this user that no process uses any more; return how many.

    Those of others, and links, are left alone.
    """
    removed = 0
    with os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith((SQL, EXPORT)) and _is_own(entry):
                removed += _removed_if_left(Path(entry.path))
    return removed


def _is_own(entry: os.DirEntry[str]) -> bool:
    try:
        return (
            entry.is_dir(follow_symlinks=False)
            and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
        )
    except FileNotFoundError:  # its process is done
        return False


def _made(beginning: str) -> tuple[Path, int | None]:
    """Return a new folder, and what holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=beginning))
        try:
            handle = _open_lock(folder)
        except FileNotFoundError:  # taken for a leftover before it was locked
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_of(folder, handle):
            return folder, handle
        os.close(handle)


def _removed_if_left(folder: Path) -> bool:
    try:
        handle = _open_lock(folder)
    except FileNotFoundError:  # its process is done
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its process is alive
        return False
    else:
        return _is_of(folder, handle) and _remove(folder)
    finally:
        os.close(handle)


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)


def _is_of(folder: Path, handle: int) -> bool:
    """Say whether the lock that is held is still the folder's: it may be gone, or another's."""
    try:
        return os.path.samestat(os.fstat(handle), (folder / _LOCK).stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _remove(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _logger.warning(
            "folder=%s: expected to remove it, and it is still there: it may hold what people "
            "wrote; delete it by hand", folder,
        )  # fmt: skip
        return False
    return True
