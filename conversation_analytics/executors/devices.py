"""The GPUs of this machine, and who may use which: CUDA is never begun here."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LISTING_SECONDS = 20.0
_GPU_LINE = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[^)\s]+)\)")
_MIG_LINE = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)\s]+)\)")


def visible_devices(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the devices that this process may use, as CUDA_VISIBLE_DEVICES names them.

    They are asked of the driver's `nvidia-smi`, which leaves no context on a device. A machine
    without it has none. A device that is cut by MIG counts as its parts.

    Args:
        environment: CUDA_VISIBLE_DEVICES in it restricts them: numbers (in the order of
            nvidia-smi) or the beginnings of UUIDs; the first that there is not ends the list.
    """
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607 - wherever the driver's package puts it
            capture_output=True, text=True, timeout=_LISTING_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if listed.returncode != 0:
        return ()
    return restrict(parse_listing(listed.stdout), environment.get("CUDA_VISIBLE_DEVICES"))


def parse_listing(text: str) -> dict[str, tuple[str, ...]]:
    """Return the devices of each number in what `nvidia-smi -L` prints."""
    found: dict[str, tuple[str, ...]] = {}
    whole: dict[str, str] = {}
    number = ""
    for line in text.splitlines():
        if gpu := _GPU_LINE.match(line):
            number, whole[gpu[1]] = gpu[1], gpu[2]
            found[number] = ()
        elif (part := _MIG_LINE.match(line)) and number:
            found[number] += (part[1],)
    return {number: parts or (whole[number],) for number, parts in found.items()}


def restrict(found: Mapping[str, tuple[str, ...]], wanted: str | None) -> tuple[str, ...]:
    """Return the devices that CUDA_VISIBLE_DEVICES leaves, as CUDA itself reads it.

    Args:
        found: devices by number.
        wanted: the variable; None or empty: all.
    """
    every = [device for devices in found.values() for device in devices]
    if not wanted:
        return tuple(every)
    kept: list[str] = []
    for name in (part.strip() for part in wanted.split(",")):
        matches = found.get(name) or tuple(
            device for device in every if name and device.startswith(name)
        )
        if not matches or matches[0] in kept:  # CUDA, too, stops at what it does not know
            break
        kept.append(matches[0])
    return tuple(kept)


def default_lease_folder() -> Path:
    """Return where the leases of this user's runs lie, whichever DAGSTER_HOME they have."""
    return Path(tempfile.gettempdir()) / f"conversation-analytics-devices-{os.getuid()}"


class DeviceLease:
    """The right to use one device: a lock that the kernel takes back when its holders are dead.

    The descriptor is handed to the worker that uses the device and closed here, so that the lease
    lasts as long as the worker, whatever becomes of the run's process.
    """

    def __init__(self, descriptor: int) -> None:
        """Keep the locked descriptor."""
        self.descriptor = descriptor

    def close(self) -> None:
        """Let go; another process that has the descriptor keeps the lease."""
        os.close(self.descriptor)


def try_lease(folder: Path, device: str) -> DeviceLease | None:
    """Take the lease of a device, or return None where another run holds it.

    Raises:
        OSError: the folder cannot be made or is another user's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's: set GPU_LEASE_FOLDER")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", device)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return DeviceLease(descriptor)
