"""Takes the wheels of the GPU engine to a machine that reaches no package registry.

    python -m conversation_analytics.gpu.wheels pack requirements-gpu.txt FOLDER
    python -m conversation_analytics.gpu.wheels install FOLDER

`pack` downloads what the lock file names and cuts it into parts of at most 60 MiB (libcudf alone is
about 300 MB), with a manifest of digests; the folder is taken over in any way and in any number of
journeys. `install` verifies every part and every wheel, and lets pip install them by the lock's
hashes, without a registry. It needs a checkout and a Python with pip, and nothing else of this
package. The Python of both sides must be of one version and platform, or what `pack` is told after
`--` must name the other side's (`-- --python-version 3.12 --platform manylinux_2_28_x86_64`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from conversation_analytics.core.errors import PermanentError, WheelsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIB: Final = 2**20
PART_BYTES: Final = 60 * MIB
MANIFEST: Final = "wheels.json"
LOCK: Final = "requirements.txt"
_FORMAT: Final = 1
_PART: Final = "wheels-{:03d}.part"
_CHUNK: Final = MIB


@dataclass(frozen=True, slots=True)
class Piece:
    """A file with its digest.

    Attributes:
        name: of the file, without a folder.
        size: in bytes.
        sha256: of its content, hexadecimal.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a packed folder holds.

    Attributes:
        lock: the lock file, a copy of which is beside it.
        wheels: in the order in which they stand in the parts, one behind the other.
        parts: in their order.
    """

    lock: Piece
    wheels: tuple[Piece, ...]
    parts: tuple[Piece, ...]


def pack(
    lock: Path,
    folder: Path,
    *,
    part_bytes: int = PART_BYTES,
    python: str = sys.executable,
    pip_arguments: Sequence[str] = (),
) -> Manifest:
    """Download what a lock file names, and cut it into parts.

    Args:
        lock: requirements with hashes, complete.
        folder: new or empty.
        part_bytes: of a part at most.
        python: with pip, of the version for which wheels are wanted.
        pip_arguments: for `pip download`, such as another platform's.

    Returns:
        What the folder holds now.

    Raises:
        WheelsError: the folder is not empty, or pip fails: its own words are on standard error.
    """
    if folder.exists() and any(folder.iterdir()):
        raise WheelsError(f"{folder}: expected a new or empty folder; name another one")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as loaded:
        _pip(
            python, "download", "--require-hashes", "--no-deps", "--only-binary=:all:",
            "--requirement", str(lock), "--dest", loaded, *pip_arguments,
        )  # fmt: skip
        files = sorted(Path(loaded).iterdir())
        wheels = tuple(_piece(file) for file in files)
        parts = tuple(_cut(files, folder, part_bytes))
    shutil.copyfile(lock, folder / LOCK)
    manifest = Manifest(_piece(folder / LOCK), wheels, parts)
    told = json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1)
    (folder / MANIFEST).write_text(told + "\n", "utf-8")
    return manifest


def join(folder: Path, wheels: Path) -> Manifest:
    """Put the wheels together again, every part and every wheel verified.

    Args:
        folder: as `pack` made it, or as much of it as has come.
        wheels: where they go; what is there of the same name is replaced.

    Raises:
        WheelsError: the manifest, a part or a wheel is missing or is not what was packed. All parts
            that are wanted again are named.
    """
    manifest = read_manifest(folder)
    wrong = [told for one in (manifest.lock, *manifest.parts) if (told := _wrong(folder, one))]
    if wrong:
        raise WheelsError(
            f"{folder}: {len(wrong)} of {len(manifest.parts) + 1} files are not what was packed: "
            f"{'; '.join(wrong)}; bring these again"
        )
    wheels.mkdir(parents=True, exist_ok=True)
    with closing(_Parts([folder / part.name for part in manifest.parts])) as stream:
        for wheel in manifest.wheels:
            digest = hashlib.sha256()
            with (wheels / wheel.name).open("wb") as file:
                for chunk in stream.take(wheel.size):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != wheel.sha256:
                (wheels / wheel.name).unlink()
                raise WheelsError(
                    f"{folder}: {wheel.name}: expected SHA-256 {wheel.sha256}, got "
                    f"{digest.hexdigest()}: the manifest is of other parts; pack again"
                )
    return manifest


def install(
    folder: Path, *, python: str = sys.executable, pip_arguments: Sequence[str] = ()
) -> Manifest:
    """Install packed wheels, without a registry.

    Args:
        folder: as of `join`; there must be room for the wheels beside the parts.
        python: with pip, into whose environment they go.
        pip_arguments: for `pip install`, such as `--target`.

    Raises:
        WheelsError: as `join`, or pip fails: its own words are on standard error.
    """
    with tempfile.TemporaryDirectory(dir=folder) as joined:
        manifest = join(folder, Path(joined))
        _pip(
            python, "install", "--no-index", "--find-links", joined, "--no-deps",
            "--require-hashes", "--requirement", str(folder / LOCK), *pip_arguments,
        )  # fmt: skip
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder should hold.

    Raises:
        WheelsError: the manifest is missing, torn, or of another format.
    """
    path = folder / MANIFEST
    try:
        told = json.loads(path.read_text("utf-8"))
        if (form := told["format"]) != _FORMAT:
            raise WheelsError(f"{path}: expected format {_FORMAT}, got {form!r}; pack again")
        return Manifest(
            _told_piece(told["lock"]),
            tuple(map(_told_piece, told["wheels"])),
            tuple(map(_told_piece, told["parts"])),
        )
    except FileNotFoundError as error:
        raise WheelsError(f"{path}: is not there; bring it, `pack` writes it last") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WheelsError(f"{path}: is torn ({type(error).__name__}); bring it again") from error


def _told_piece(told: Any) -> Piece:
    piece = Piece(str(told["name"]), int(told["size"]), str(told["sha256"]))
    if Path(piece.name).name != piece.name:
        raise ValueError(piece.name)  # a name of a file, never a way out of the folder
    return piece


def _wrong(folder: Path, piece: Piece) -> str:
    """Return what is wrong with a file; nothing where it is what was packed."""
    path = folder / piece.name
    if not path.is_file():
        return f"{piece.name} is missing"
    if (size := path.stat().st_size) != piece.size:
        return f"{piece.name} has {size} bytes, expected {piece.size}"
    return "" if _piece(path).sha256 == piece.sha256 else f"{piece.name} has another SHA-256"


def _cut(files: Sequence[Path], folder: Path, part_bytes: int) -> Iterator[Piece]:
    """Write the files one behind the other into parts."""
    left = sum(file.stat().st_size for file in files)
    with closing(_Parts(files)) as stream:
        for number in range(-(-left // part_bytes)):
            part = folder / _PART.format(number)
            with part.open("wb") as out:
                for chunk in stream.take(part_bytes):
                    out.write(chunk)
            yield _piece(part)


class _Parts:
    """Reads files as if they were one."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._left = iter(files)
        self._open: BinaryIO | None = None

    def take(self, size: int) -> Iterator[bytes]:
        """Yield the next bytes, so many in all, or fewer at the end."""
        while size > 0:
            if self._open is None:
                if (file := next(self._left, None)) is None:
                    return
                self._open = file.open("rb")
            chunk = self._open.read(min(size, _CHUNK))
            if not chunk:
                self._open.close()
                self._open = None
                continue
            size -= len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open.close()


def _piece(path: Path) -> Piece:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Piece(path.name, path.stat().st_size, digest)


def _pip(python: str, command: str, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - a Python that the caller names
        [python, "-m", "pip", "--disable-pip-version-check", "--quiet", command, *arguments],
        check=False, stdout=sys.stderr,
    )  # fmt: skip
    if done.returncode:
        raise WheelsError(
            f"pip {command}: exit status {done.returncode}, see what it said; try again, or mend "
            "the lock file or the Python that is named"
        )


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m conversation_analytics.gpu.wheels")
    parser.add_argument("--python", default=sys.executable, help="with pip; this one")
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="download a lock's wheels, cut into parts")
    packing.add_argument("lock", type=Path)
    packing.add_argument("folder", type=Path)
    packing.add_argument("--part-mib", type=int, default=PART_BYTES // MIB)
    joining = commands.add_parser("join", help="verify the parts and put the wheels together")
    joining.add_argument("folder", type=Path)
    joining.add_argument("wheels", type=Path)
    installing = commands.add_parser("install", help="verify the parts and install the wheels")
    installing.add_argument("folder", type=Path)
    own, pip_arguments = list(arguments), []
    if "--" in own:
        own, pip_arguments = own[: own.index("--")], own[own.index("--") + 1 :]
    told = parser.parse_args(own)
    try:
        if told.command == "pack":
            manifest = pack(
                told.lock, told.folder, part_bytes=told.part_mib * MIB, python=told.python,
                pip_arguments=pip_arguments,
            )  # fmt: skip
        elif told.command == "join":
            manifest = join(told.folder, told.wheels)
        else:
            manifest = install(told.folder, python=told.python, pip_arguments=pip_arguments)
    except PermanentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    size = sum(one.size for one in manifest.wheels) / MIB
    sys.stdout.write(
        f"{told.command}: {len(manifest.wheels)} wheels, {size:.0f} MiB, "
        f"{len(manifest.parts)} parts\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
