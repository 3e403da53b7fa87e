"""What goes to a worker of the cluster, and what comes back: plain values, and little of them."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict
from urllib.parse import urlsplit

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conversation_analytics.io_managers.read_log import StepAttempt

_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_FILES: Final = ("TAXONOMY_FILE", "TAXONOMY_CORRECTIONS_FILE", "NOCODB_COLUMN_CONTRACT")
"""Small files that settings name: their content travels, so that no worker needs them."""


class CarriedFile(TypedDict):
    """A file that a setting names."""

    name: str
    content: bytes


class BatchRequest(TypedDict):
    """Some days of a step.

    Attributes:
        versions: of the process that asks; looked at before anything else.
        settings: without any secret but the lake's, see `settings_to_send`.
        files: of settings, by the setting's name.
        step: name of the asset's function.
        attempt: of the run that asks.
        days: partition keys, ascending.
        begun: version of what was stored when the step began, by table and day.
    """

    versions: Mapping[str, str]
    settings: Settings
    files: Mapping[str, CarriedFile]
    step: str
    attempt: StepAttempt
    days: tuple[str, ...]
    begun: Mapping[tuple[str, str], str | None]


class DoneBatch(TypedDict):
    """Some days of a step that are stored.

    Attributes:
        worker: host and process that computed them.
        seconds: that it took there.
        written: metadata of the materializations, by table and day.
    """

    worker: str
    seconds: float
    written: Mapping[str, Mapping[str, Mapping[str, Any]]]


def settings_to_send(settings: Settings, scheduler: str) -> Settings:
    """Return the settings that a worker needs, and no secret that it does not.

    Of secrets only the keys of the lake's bucket go, and only where nobody else can read them on
    the way: to a cluster of this machine, or over TLS.

    Args:
        settings: of this process.
        scheduler: its address.
    """
    kept = _KEYS if is_private(scheduler) else ()
    secrets = {one.name: one.parse("") for one in SETTINGS if one.secret and one.name not in kept}
    # A worker has another working directory.
    folder = {"PARQUET_BASE_DIR": settings.parquet_base_dir.absolute()}
    nowhere = dict.fromkeys(_FILES)
    values = {**settings.values, **secrets, **folder, **nowhere, "LOG_FILE": None}
    # Options of extensions may be secrets, and no worker opens an extension.
    return Settings(values, {})


def files_to_send(settings: Settings) -> dict[str, CarriedFile]:
    """Read the files that settings name.

    Raises:
        SettingsError: one cannot be read.
    """
    found: dict[str, CarriedFile] = {}
    for name in _FILES:
        path: Path | None = settings.values[name]
        if path is None:
            continue
        try:
            found[name] = {"name": path.name, "content": path.read_bytes()}
        except OSError as error:
            raise SettingsError(
                f"{name}: {path}: expected a file, got {error.strerror}: name a file that can be "
                "read, or leave the setting empty"
            ) from error
    return found


def settings_there(request: BatchRequest, folder: Callable[[], Path]) -> Settings:
    """Return the settings of a request as a worker uses them.

    The worker's own environment decides the keys of the bucket, where it has them.

    Args:
        request: of the run.
        folder: gives a folder of the worker, for the files that came along.
    """
    paths = {name: _stored(file, folder()) for name, file in request["files"].items()}
    own = {name: os.environ.get(name, "") for name in _KEYS if os.environ.get(_KEYS[0])}
    sent = request["settings"]
    return Settings({**sent.values, **paths, **own}, {})


def _stored(file: CarriedFile, folder: Path) -> Path:
    # Another content has another path: what was made of the file is kept by its path.
    path = folder / hashlib.sha256(file["content"]).hexdigest() / file["name"]
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as fresh:
            fresh.write(file["content"])
        Path(fresh.name).replace(path)  # another thread of this worker may do the same
    return path


def is_private(scheduler: str) -> bool:
    """Say whether nobody else can read what goes to a scheduler."""
    parts = urlsplit(scheduler)
    if parts.scheme == "tls" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name
        return False
