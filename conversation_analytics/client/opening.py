"""Opening a client from settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from conversation_analytics.client.client import Client
from conversation_analytics.client.reading import StoreReading, collection_names
from conversation_analytics.core.errors import ReadRequestError
from conversation_analytics.resources.connections import open_documents, open_lake
from conversation_analytics.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

Place = Literal["documents", "lake"]


def open_client(settings: Settings, place: Place = "documents") -> Client:
    """Return a client; nothing is asked of the storage yet.

    Args:
        settings: where things are.
        place: `documents`: MongoDB where MONGODB_URI is set, else SQLite; `lake`: the Parquet
            files, on disk or S3, alone.

    Raises:
        ReadRequestError: another place.
        SettingsError: a value cannot be right.
    """
    if place == "documents":
        return Client(StoreReading(open_documents(settings), collection_names(settings)))
    if place != "lake":
        raise ReadRequestError(f"place: expected documents or lake, got {place!r}")
    # Only those who read the lake pay for its engines.
    from conversation_analytics.client.lake_reading import LakeReading  # noqa: PLC0415

    return Client(
        LakeReading(open_lake(settings), settings.topic_min_users, settings.topic_min_conversations)
    )


def client_of_environment(
    place: Place = "documents",
    *,
    environment: Mapping[str, str] | None = None,
    env_file: Path | None = Path(".env"),
) -> Client:
    """Return a client of the settings in the environment and a dotenv file beneath it.

    Args:
        place: as in `open_client`.
        environment: variables by name; None: those of this process.
        env_file: a file that need not exist; None: no file.

    Raises:
        SettingsError: a setting is wrong.
    """
    given = os.environ if environment is None else environment
    return open_client(load_settings(given, env_file), place)
