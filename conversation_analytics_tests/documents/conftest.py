from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pymongo
import pytest

from conversation_analytics.documents.store import (
    DocumentStore,
    MongoConfig,
    SqliteConfig,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mongo_config(mongodb_uri: str) -> Iterator[MongoConfig]:
    """Give an empty database; small batches, so that several are written."""
    config = MongoConfig(mongodb_uri, f"test_{uuid.uuid4().hex[:12]}", batch_size=7)
    yield config
    with pymongo.MongoClient[dict[str, object]](mongodb_uri) as client:
        client.drop_database(config.database)


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.mongodb)])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> MongoConfig | SqliteConfig:
    if request.param == "sqlite":
        return SqliteConfig(tmp_path / "made" / "documents.sqlite")
    found: MongoConfig = request.getfixturevalue("mongo_config")
    return found


@pytest.fixture
def store(config: MongoConfig | SqliteConfig) -> Iterator[DocumentStore]:
    opened = open_store(config)
    yield opened
    opened.close()
