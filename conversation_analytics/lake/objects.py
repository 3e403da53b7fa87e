"""Objects by path: what the lake asks of a storage, and the local folder that does it.

An object is replaced whole or not at all, whatever kills the writer.
"""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import itertools
import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from conversation_analytics.core.errors import LakeError, LakeUnavailableError
from conversation_analytics.core.partitions import replaced_meanwhile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Names start with no dot, so neither '..' nor a temporary file is a valid part.
_PART = re.compile(r"[A-Za-z0-9_=+@-][A-Za-z0-9_.=+@-]{0,199}")
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_LOCK_POLL_S = 0.01
_MISPLACED = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object: its path below the root and its size in bytes."""

    path: str
    size: int


class ObjectStore(Protocol):
    """A flat store of objects by slash-separated path, below a root it never leaves.

    Safe to call from several threads. Every method raises LakeUnavailableError where the
    storage does not answer, and LakeError where it refuses or the path is not valid.
    """

    def put(self, path: str, data: bytes) -> None:
        """Replace the object as a whole: readers see all of the old or all of the new."""

    def version(self, path: str) -> str | None:
        """Return a token that changes when the object is replaced; None where there is none."""

    def swap(self, path: str, data: bytes, seen: str | None) -> str:
        """Put `data` as `put` does, if the object's version is still `seen`; return the new one.

        Raises:
            PartitionReplacedError: it is not, and what is there is not `data`; it stays.
        """

    def delete_while(self, paths: Iterable[str], path: str, version: str) -> None:
        """Remove `paths` for as long as the object `path` is of `version`."""

    def get(self, path: str) -> bytes | None:
        """Return the whole object, all of it of one version; None where there is none."""

    def tail(self, path: str, size: int) -> bytes | None:
        """Return the last `size` bytes (or all, if fewer), all of one version; None if none."""

    def list(self, prefix: str) -> tuple[ObjectInfo, ...]:
        """Return the objects in the folder `prefix` ('' is the root) and below, by path."""

    def delete(self, path: str) -> None:
        """Remove the object; nothing happens where there is none."""

    def size(self, path: str) -> int | None:
        """Return the object's size in bytes; None where there is none."""

    def written_at(self, path: str) -> dt.datetime | None:
        """Return when the object was written, by the storage's clock; None where there is none."""

    def uri(self, path: str) -> str:
        """Return what other tools call the object: an absolute path or an s3:// URI."""

    def describe(self) -> dict[str, str]:
        """Return kind and place, no credentials."""


def require_path(path: str) -> str:
    """Return `path` if every part of it is a plain name.

    Raises:
        LakeError: a part is empty, starts with a dot, is too long, or has a character
            other than letters, digits and `_.=+@-`.
    """
    if not all(_PART.fullmatch(part) for part in path.split("/")):
        raise LakeError(
            f"lake path {path!r}: expected names of letters, digits and _.=+@- that do not start "
            "with a dot, joined by '/'; nothing outside the lake's root can be named"
        )
    return path


class LocalObjects:
    """Objects as files below `root`, which is created at the first write.

    A file is written under a dot-name beside its place, synced, and renamed. The writer
    holds a lock on the dot-file, which the kernel drops when it dies: the next writer to
    that folder removes every dot-file that nobody has locked.

    Comparing a version and renaming happens under a lock on `.lock` in the table's folder,
    held for a fraction of a millisecond and dropped by the kernel with its holder. A holder
    that is stopped right there makes the others give up after `lock_timeout_s` seconds.
    """

    def __init__(self, root: Path, lock_timeout_s: float = 30.0) -> None:
        self.root = root.absolute()
        self._lock_timeout_s = lock_timeout_s

    def __repr__(self) -> str:
        """Show the root."""
        return f"LocalObjects({str(self.root)!r})"

    def put(self, path: str, data: bytes) -> None:
        """Replace the file as a whole, durably."""
        target = self._file(path)
        with _local_errors("write", target), _written_beside(target, data) as temporary:
            temporary.replace(target)

    def version(self, path: str) -> str | None:
        """Return what identifies the file of this moment; None where there is no file."""
        file = self._file(path)
        with _local_errors("read", file):
            return _version(file)

    def swap(self, path: str, data: bytes, seen: str | None) -> str:
        """Replace the file as a whole, durably, if it is still the one of version `seen`."""
        target = self._file(path)
        with (
            _local_errors("write", target),
            _written_beside(target, data) as temporary,
            self._locked(path),
        ):
            found = _version(target)
            if found != seen:
                if found is not None and target.read_bytes() == data:
                    temporary.unlink()
                    return found
                raise replaced_meanwhile(str(target))
            if found is not None:
                _make_later(temporary, target.stat().st_mtime_ns)
            new = _token(temporary.stat())
            temporary.replace(target)
        return new

    def delete_while(self, paths: Iterable[str], path: str, version: str) -> None:
        """Remove the files, durably, if the file `path` is of `version`."""
        file = self._file(path)
        with _local_errors("delete beside", file), self._locked(path):
            if _version(file) == version:
                for one in paths:
                    self.delete(one)

    def get(self, path: str) -> bytes | None:
        """Return the file's bytes; None where there is no file."""
        file = self._file(path)
        with _local_errors("read", file):
            try:
                return file.read_bytes()
            except FileNotFoundError:
                return None

    def tail(self, path: str, size: int) -> bytes | None:
        """Return the file's last `size` bytes; None where there is no file."""
        path_on_disk = self._file(path)
        with _local_errors("read", path_on_disk):
            try:
                with path_on_disk.open("rb") as file:
                    file.seek(max(0, file.seek(0, os.SEEK_END) - size))
                    return file.read()
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> tuple[ObjectInfo, ...]:
        """Return the files in the folder `prefix` and below, dot-files left out."""
        folder = self._file(prefix) if prefix else self.root
        with _local_errors("list", folder):
            return tuple(sorted(self._walk(folder), key=lambda info: info.path))

    def delete(self, path: str) -> None:
        """Remove the file, durably."""
        file = self._file(path)
        with _local_errors("delete", file), suppress(FileNotFoundError):
            file.unlink()
            _sync_folder(file.parent)

    def size(self, path: str) -> int | None:
        """Return the file's size; None where there is no file."""
        file = self._file(path)
        with _local_errors("read", file):
            try:
                return file.stat().st_size
            except FileNotFoundError:
                return None

    def written_at(self, path: str) -> dt.datetime | None:
        """Return the file's time of change: of a network drive, its server's clock."""
        file = self._file(path)
        with _local_errors("read", file):
            try:
                return dt.datetime.fromtimestamp(file.stat().st_mtime, dt.UTC)
            except FileNotFoundError:
                return None

    def uri(self, path: str) -> str:
        """Return the absolute path."""
        return str(self._file(path))

    def describe(self) -> dict[str, str]:
        """Return the kind and the root folder."""
        return {"storage": "local", "root": str(self.root)}

    def _file(self, path: str) -> Path:
        return self.root / require_path(path)

    @contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """Hold the lock of the table's folder; a file, for NFS locks no folders."""
        place = self.root / path.partition("/")[0]
        lock = (place if place.is_dir() else self.root) / ".lock"
        try:
            handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        except PermissionError:  # another user's: to read it is enough, but not on NFS
            handle = os.open(lock, os.O_RDONLY)
        try:
            deadline = time.monotonic() + self._lock_timeout_s
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise LakeUnavailableError(
                            f"cannot replace {self._file(path)}: another process has held {lock} "
                            f"for {self._lock_timeout_s} s; if it is stopped, continue or kill "
                            "it (`fuser` names it), then run this partition again"
                        ) from None
                    time.sleep(_LOCK_POLL_S)
            yield
        finally:
            os.close(handle)

    def _walk(self, folder: Path) -> Iterator[ObjectInfo]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:  # no such folder, or just removed
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if entry.is_dir():
                yield from self._walk(path)
                continue
            with suppress(FileNotFoundError):  # just removed
                yield ObjectInfo(path.relative_to(self.root).as_posix(), entry.stat().st_size)


@contextmanager
def _written_beside(target: Path, data: bytes) -> Iterator[Path]:
    """Give a synced dot-file of `data` to be renamed; sync the folder then, or remove it."""
    _make_folder(target.parent)
    _remove_dead_temporaries(target.parent)
    handle, temporary = _open_temporary(target)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    _sync_folder(target.parent)


def _version(file: Path) -> str | None:
    try:
        return _token(file.stat())
    except FileNotFoundError:
        return None


def _token(found: os.stat_result) -> str:
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"


def _make_later(file: Path, than_ns: int) -> None:
    """Give `file` a later time than the file it replaces: clocks tick in milliseconds only."""
    found = file.stat()
    if found.st_mtime_ns <= than_ns:
        os.utime(file, ns=(found.st_atime_ns, than_ns + 1))


def _open_temporary(target: Path) -> tuple[int, Path]:
    """Create and lock a dot-file beside `target`; return its descriptor and path."""
    for number in itertools.count():
        name = f".{target.name}.{os.getpid()}-{threading.get_native_id()}-{number}.tmp"
        temporary = target.with_name(name)
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:  # of a process in another container, or of a dead one
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # another writer removed it before it was locked
    raise AssertionError


def _remove_dead_temporaries(folder: Path) -> None:
    for temporary in folder.glob(".*.tmp"):
        try:
            handle = os.open(temporary, os.O_WRONLY)
        except FileNotFoundError:  # its writer is done
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # What was opened may be published by now, and the name in use for the next file.
            if os.path.samestat(os.fstat(handle), temporary.stat()):
                temporary.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):  # its writer lives, or is done
            continue
        finally:
            os.close(handle)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _local_errors(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot {action} {path}: {error.strerror}"
        if error.errno in _DISK_FULL:
            raise LakeError(
                f"{what}; what was there is untouched: free space, or set PARQUET_BASE_DIR "
                "to a larger disk"
            ) from error
        if error.errno in _DENIED:
            raise LakeError(f"{what}; give this user access to PARQUET_BASE_DIR") from error
        if error.errno in _MISPLACED:
            raise LakeError(
                f"{what}; a file stands where a folder should or the reverse: move it away"
            ) from error
        raise LakeUnavailableError(f"{what}; check the disk of PARQUET_BASE_DIR") from error
