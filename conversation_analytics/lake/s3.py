"""Objects in an S3 bucket, through obstore.

obstore aborts an upload whose writer fails; pyarrow, s3fs and UPath publish the
truncated object over the good one. Every read is a single GET, because readers that
piece an object together from ranges mix two versions when a writer overlaps.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import LakeError, LakeUnavailableError, SettingsError
from conversation_analytics.core.partitions import replaced_meanwhile
from conversation_analytics.lake.objects import ObjectInfo, require_path

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

    from obstore import PutMode, UpdateVersion
    from obstore.store import S3Config as ObstoreConfig
    from obstore.store import S3Store

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_CREDENTIALS = frozenset({401, 403})
_NOT_FOUND = 404
_NOT_IMPLEMENTED = 501
# Of HTTP and of S3: the same request may pass later.
_TRANSIENT = frozenset({408, 409, 425, 429})
_TRANSIENT_CODES = frozenset(
    {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"}
)
_CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True, slots=True)
class S3Config:
    """Where a bucket is and how to enter it.

    Attributes:
        bucket: name of the bucket.
        prefix: folder in the bucket below which everything is kept; '' for all of it.
        endpoint_url: of an S3-compatible server; None for AWS itself.
        access_key_id: None (with the secret) to use the machine's or the pod's role.
        secret_access_key: see above.
        region: of the bucket.
        max_retries: attempts after the first, 200 ms to 5 s apart; 12 outlast a server's
            restart (about 40 s), obstore's own default gives up after 2 s.

    Raises:
        SettingsError: no bucket, or only one half of the credentials.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    max_retries: int = 12

    def __post_init__(self) -> None:
        """Check what can be checked without the server."""
        if not self.bucket:
            raise SettingsError("S3_BUCKET: expected the name of a bucket, got none")
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise SettingsError(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: expected both or neither"
            )


class S3Objects:
    """Objects in one bucket below one prefix. Connects at the first call."""

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._prefix = config.prefix.strip("/")
        if self._prefix:
            require_path(self._prefix)
        self._store = _connect(config, self._prefix)

    def __repr__(self) -> str:
        """Show the place, no credentials."""
        return f"S3Objects({self._root!r}, endpoint={self._config.endpoint_url!r})"

    def __reduce__(self) -> tuple[type[S3Objects], tuple[S3Config]]:
        """Connect anew in another process."""
        return S3Objects, (self._config,)

    def put(self, path: str, data: bytes) -> None:
        """Replace the object as a whole."""
        with self._errors("write", path):
            self._store.put(require_path(path), data, attributes=_attributes(path))

    def version(self, path: str) -> str | None:
        """Return the object's ETag; None where there is no object."""
        with self._errors("read", path):
            try:
                return self._etag(path, self._store.head(require_path(path))["e_tag"])
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def swap(self, path: str, data: bytes, seen: str | None) -> str:
        """Replace the object as a whole by a conditional PUT (If-Match, If-None-Match)."""
        from obstore.exceptions import (  # noqa: PLC0415  (import budget)
            AlreadyExistsError,
            PreconditionError,
        )

        mode: PutMode | UpdateVersion = "create" if seen is None else {"e_tag": seen}
        with self._errors("write", path):
            try:
                done = self._store.put(
                    require_path(path), data, attributes=_attributes(path), mode=mode
                )
                return self._etag(path, done["e_tag"])
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError):
                    self._require_bucket(error)
            # Perhaps it was this writer's own first attempt, whose answer was lost.
            try:
                found = self._store.get(path)
            except FileNotFoundError:
                raise replaced_meanwhile(self.uri(path)) from None
            if found.bytes().to_bytes() != data:
                raise replaced_meanwhile(self.uri(path))
            return self._etag(path, found.meta["e_tag"])

    def delete_while(self, paths: Iterable[str], path: str, version: str) -> None:
        """Remove `paths` one by one, looking at `path` before each."""
        for one in paths:
            if self.version(path) != version:
                return
            self.delete(one)

    def get(self, path: str) -> bytes | None:
        """Return the whole object by one GET; None where there is none."""
        with self._errors("read", path):
            try:
                return self._store.get(require_path(path)).bytes().to_bytes()
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def tail(self, path: str, size: int) -> bytes | None:
        """Return the last `size` bytes by one GET, so of one version; None where none."""
        with self._errors("read", path):
            try:
                found = self._store.get(require_path(path), options={"range": {"suffix": size}})
                return found.bytes().to_bytes()
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def list(self, prefix: str) -> tuple[ObjectInfo, ...]:
        """Return the objects in the folder `prefix` and below."""
        with self._errors("list", prefix):
            found = self._store.list(require_path(prefix) if prefix else None).collect()
        return tuple(
            sorted(
                (ObjectInfo(entry["path"], entry["size"]) for entry in found),
                key=lambda info: info.path,
            )
        )

    def delete(self, path: str) -> None:
        """Remove the object."""
        with self._errors("delete", path):
            try:
                self._store.delete(require_path(path))
            except FileNotFoundError as error:
                self._require_bucket(error)

    def size(self, path: str) -> int | None:
        """Return the object's size; None where there is none."""
        with self._errors("read", path):
            try:
                return self._store.head(require_path(path))["size"]
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def written_at(self, path: str) -> dt.datetime | None:
        """Return when the object was written, to the second."""
        with self._errors("read", path):
            try:
                return self._store.head(require_path(path))["last_modified"]
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def uri(self, path: str) -> str:
        """Return the s3:// URI."""
        return f"{self._root}/{require_path(path)}"

    def describe(self) -> dict[str, str]:
        """Return the kind, the place and the endpoint."""
        return {
            "storage": "s3",
            "root": self._root,
            "endpoint": self._config.endpoint_url or "AWS",
            "region": self._config.region,
        }

    @property
    def _root(self) -> str:
        return "/".join(filter(None, (f"s3://{self._config.bucket}", self._prefix)))

    def _etag(self, path: str, etag: str | None) -> str:
        if not etag:
            raise LakeError(
                f"{self.uri(path)}: expected an ETag from {self._config.endpoint_url or 'AWS'}, "
                "got none: without it two runs on one partition cannot be kept apart; use an S3 "
                "server with conditional writes"
            )
        return etag

    def _require_bucket(self, error: FileNotFoundError) -> None:
        """Raise if it is the bucket that is missing, which looks like a missing object."""
        if "<Code>NoSuchBucket</Code>" in str(error):
            raise self._refused("find", "", _NOT_FOUND, "NoSuchBucket") from None

    @contextmanager
    def _errors(self, action: str, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415  (import budget)

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            # The server's text may quote the access key: only status and code are kept.
            text = str(error)
            status = int(found[1]) if (found := _STATUS.search(text)) else None
            code = found[1] if (found := _CODE.search(text)) else type(error).__name__
            transient = status in _TRANSIENT or code in _TRANSIENT_CODES
            refused = status is not None and 300 <= status < 500  # noqa: PLR2004 (HTTP's classes)
            if status is not None and (status == _NOT_IMPLEMENTED or (refused and not transient)):
                raise self._refused(action, path, status, code) from None
            raise LakeUnavailableError(
                f"cannot {action} {self._root}/{path}: {status or 'no answer'} from "
                f"{self._config.endpoint_url or 'AWS'} after {self._config.max_retries} retries; "
                "check that S3_ENDPOINT_URL is right and reachable, and that AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY are set where no role gives credentials"
            ) from None

    def _refused(self, action: str, path: str, status: int, code: str) -> LakeError:
        if status in _CREDENTIALS:
            advice = (
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, that they may read, list and "
                "write S3_BUCKET, and this machine's clock"
            )
        elif status == _NOT_FOUND:
            advice = "check S3_BUCKET: create the bucket, or name one that exists"
        elif status == _NOT_IMPLEMENTED:
            advice = "use an S3 server with conditional writes (If-Match and If-None-Match)"
        else:
            advice = "check S3_BUCKET, AWS_REGION and S3_ENDPOINT_URL"
        return LakeError(
            f"cannot {action} {self._root}/{path}: the server answered {status} {code}; {advice}"
        )


def _attributes(path: str) -> dict[str, str]:
    kind = _CONTENT_TYPES.get(path.rpartition(".")[2], "application/octet-stream")
    return {"Content-Type": kind}


def _connect(config: S3Config, prefix: str) -> S3Store:
    from obstore.store import S3Store  # noqa: PLC0415  (import budget)

    options: ObstoreConfig = {"region": config.region}
    if config.endpoint_url:
        options["endpoint"] = config.endpoint_url
    if config.access_key_id and config.secret_access_key:
        options["access_key_id"] = config.access_key_id
        options["secret_access_key"] = config.secret_access_key
    return S3Store(
        config.bucket,
        prefix=prefix or None,
        config=options,
        client_options={
            "allow_http": bool(config.endpoint_url and config.endpoint_url.startswith("http://")),
            "connect_timeout": "5s",
            "timeout": "120s",
        },
        retry_config={
            "max_retries": config.max_retries,
            "retry_timeout": timedelta(seconds=120),
            "backoff": {
                "init_backoff": timedelta(milliseconds=200),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    )
