"""Both storages of the lake, behind one fixture."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Config, S3Objects

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.lake.objects import ObjectStore


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store: a folder, then a prefix of the real S3 server's bucket."""
    if request.param == "local":
        return LocalObjects(tmp_path / "lake")
    return S3Objects(request.getfixturevalue("s3_config"))


@pytest.fixture
def s3_config(s3_server: Any) -> S3Config:
    """An unused prefix of the real S3 server's bucket."""
    return S3Config(
        bucket=s3_server.bucket,
        prefix=f"tests/{secrets.token_hex(8)}",
        endpoint_url=s3_server.endpoint_url,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        region=s3_server.region,
        max_retries=2,
    )
