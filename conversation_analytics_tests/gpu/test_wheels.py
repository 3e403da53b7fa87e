"""Small wheels there and back: packed, cut, joined, installed by pip without a registry."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conversation_analytics.core.errors import WheelsError
from conversation_analytics.gpu.wheels import LOCK, MANIFEST, MIB, install, join, main, pack

NAMES = ("made-up-engine", "made-up-memory", "made-up-small")


def wheel(folder: Path, name: str, size: int) -> Path:
    """Write an installable wheel whose module holds so many bytes that do not compress."""
    module = name.replace("-", "_")
    content = {
        f"{module}/__init__.py": b"SIZE = %d\n" % size,
        f"{module}/library.so": random.Random(name).randbytes(size),
        f"{module}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
        "Version: 1.0\n".encode(),
        f"{module}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: a test\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')}"
        f",{len(data)}\n"
        for path, data in content.items()
    )
    content[f"{module}-1.0.dist-info/RECORD"] = (
        record + f"{module}-1.0.dist-info/RECORD,,\n"
    ).encode()
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in content.items():
            archive.writestr(inner, data)
    return path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with wheels, and the lock file that names them."""
    folder = tmp_path_factory.mktemp("registry")
    sizes = (5 * MIB // 2, MIB, 1000)
    lines = []
    for name, size in zip(NAMES, sizes, strict=True):
        path = wheel(folder, name, size)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name}==1.0 --hash=sha256:{digest}\n")
    (folder / "lock.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def packed(registry: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "packed"
    pack(
        registry / "lock.txt", folder, part_bytes=MIB,
        pip_arguments=("--no-index", "--find-links", str(registry)),
    )  # fmt: skip
    return folder


def test_wheels_come_out_as_they_went_in(registry: Path, packed: Path, tmp_path: Path) -> None:
    parts = sorted(packed.glob("*.part"))
    assert [part.stat().st_size for part in parts[:-1]] == [MIB] * 3
    assert {path.name for path in packed.iterdir()} == {
        MANIFEST, LOCK, *(f"wheels-{number:03d}.part" for number in range(4)),
    }  # fmt: skip
    join(packed, tmp_path / "wheels")
    for one in registry.glob("*.whl"):
        assert (tmp_path / "wheels" / one.name).read_bytes() == one.read_bytes()


def test_they_are_installed_without_a_registry(packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install(packed, pip_arguments=("--target", str(target)))
    code = "import made_up_engine, made_up_small; print(made_up_engine.SIZE, made_up_small.SIZE)"
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(target)},
    ).stdout  # fmt: skip
    assert told.split() == [str(5 * MIB // 2), "1000"]
    assert not list(packed.glob("tmp*"))


def test_all_that_is_missing_or_torn_is_named(packed: Path, tmp_path: Path) -> None:
    (packed / "wheels-000.part").unlink()
    (packed / "wheels-001.part").write_bytes(b"x")
    data = bytearray((packed / "wheels-002.part").read_bytes())
    data[100] ^= 1
    (packed / "wheels-002.part").write_bytes(data)
    with pytest.raises(WheelsError) as caught:
        join(packed, tmp_path / "wheels")
    assert str(caught.value).split(": ", 1)[1] == (
        "3 of 5 files are not what was packed: wheels-000.part is missing; wheels-001.part has 1 "
        f"bytes, expected {MIB}; wheels-002.part has another SHA-256; bring these again"
    )
    assert not (tmp_path / "wheels").exists()


def test_a_manifest_of_other_wheels_is_refused(packed: Path, tmp_path: Path) -> None:
    told = json.loads((packed / MANIFEST).read_text())
    told["wheels"][1]["sha256"] = "0" * 64
    (packed / MANIFEST).write_text(json.dumps(told))
    with pytest.raises(WheelsError, match=r"made_up_memory-1.0.*expected SHA-256 0{64}"):
        join(packed, tmp_path / "wheels")
    assert not (tmp_path / "wheels" / "made_up_memory-1.0-py3-none-any.whl").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "is not there"),
        ("{", "is torn"),
        ('{"format": 1}', "is torn"),
        ('{"format": 2}', "expected format 1, got 2"),
        (
            '{"format":1,"wheels":[],"parts":[],"lock":{"name":"../a","size":1,"sha256":""}}',
            "is torn",
        ),
    ],
    ids=["missing", "no JSON", "no parts", "later", "out of the folder"],
)
def test_a_manifest_that_cannot_be_read_is_told(
    packed: Path, tmp_path: Path, text: str | None, told: str
) -> None:
    (packed / MANIFEST).unlink()
    if text is not None:
        (packed / MANIFEST).write_text(text)
    with pytest.raises(WheelsError, match=told):
        join(packed, tmp_path / "wheels")


def test_a_wheel_of_another_hash_than_the_locks_is_not_packed(
    registry: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"made-up-small==1.0 --hash=sha256:{'0' * 64}\n")
    folder = tmp_path / "packed"
    where = ["--", "--no-index", "--find-links", str(registry)]
    assert main(["pack", str(lock), str(folder), *where]) == 1
    assert "pip download: exit status 1" in capfd.readouterr().err
    assert not list(folder.iterdir())


def test_a_folder_in_use_is_left_alone(registry: Path, packed: Path) -> None:
    with pytest.raises(WheelsError, match="expected a new or empty folder"):
        pack(registry / "lock.txt", packed)


def test_the_command_needs_nothing_but_a_checkout(packed: Path, tmp_path: Path) -> None:
    """The other side has no package installed: `-S -E` leaves the environment's out."""
    told = subprocess.run(
        [sys.executable, "-S", "-E", "-m", "conversation_analytics.gpu.wheels", "join",
         str(packed), str(tmp_path / "wheels")],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    ).stdout  # fmt: skip
    assert told == "join: 3 wheels, 4 MiB, 4 parts\n"
