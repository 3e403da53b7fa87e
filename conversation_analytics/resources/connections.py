"""Connections of one process, made from the settings when they are first needed."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from conversation_analytics.core.contract import Contract
    from conversation_analytics.core.pseudonyms import Pseudonyms
    from conversation_analytics.core.source import Source
    from conversation_analytics.core.translator import Translator
    from conversation_analytics.documents.collections import CollectionSpec
    from conversation_analytics.documents.store import DocumentStore
    from conversation_analytics.lake.store import Lake
    from conversation_analytics.language.topic_namer import ChatNamer
    from conversation_analytics.nocodb.client import NocoDBClient
    from conversation_analytics.nocodb.reader import NocoDBSource
    from conversation_analytics.nocodb.results import ResultsTable
    from conversation_analytics.settings import Settings


def open_source(settings: Settings) -> Source:
    """Return the configured source; nothing is asked of it yet.

    With PSEUDONYM_KEY its rows hold pseudonyms, and rows of users who were erased are not among
    them: whatever stores rows has to take them from here.
    """
    from conversation_analytics.resources.suppressed_source import (  # noqa: PLC0415
        SuppressedSource,
    )

    return SuppressedSource(
        _open_unsuppressed(settings), open_lake(settings), column_contract(settings),
        settings.pseudonym_key, settings.pseudonym_columns,
    )  # fmt: skip


def _open_unsuppressed(settings: Settings) -> Source:
    plain: Source
    match settings.source_kind:
        case "nocodb":
            plain = open_nocodb(settings)
        case "sample":
            plain = _open_sample(settings)
        case _:
            from conversation_analytics import extensions  # noqa: PLC0415 - import budget

            plain = extensions.open_source(settings)
    pseudonyms = pseudonyms_of(settings)
    if pseudonyms is None:
        return plain
    from conversation_analytics.core.pseudonyms import PseudonymousSource  # noqa: PLC0415

    return PseudonymousSource(plain, pseudonyms, column_contract(settings))


def pseudonyms_of(settings: Settings) -> Pseudonyms | None:
    """Return what makes pseudonyms; None where PSEUDONYM_KEY is empty."""
    if not settings.pseudonym_key:
        return None
    from conversation_analytics.core.pseudonyms import Pseudonyms  # noqa: PLC0415

    return Pseudonyms(settings.pseudonym_key, frozenset(settings.pseudonym_columns))


def _open_sample(settings: Settings) -> Source:
    from conversation_analytics.sample.source import SampleSource  # noqa: PLC0415 - import budget
    from conversation_analytics.sample.traffic import SampleTraffic  # noqa: PLC0415

    zone = settings.analytics_timezone
    traffic = SampleTraffic(turns_per_day=settings.sample_turns_per_day, zone=zone)
    # The adapter has no clock: the sample ends today.
    today = dt.datetime.now(zone).date()
    return SampleSource(traffic, settings.analytics_start_date, today)


def open_nocodb(settings: Settings) -> NocoDBSource:
    """Return the NocoDB source of the settings."""
    from conversation_analytics.nocodb.reader import NocoDBSource  # noqa: PLC0415

    return NocoDBSource(_nocodb_client(settings), column_contract(settings))


def corrections_at_source(settings: Settings) -> pl.DataFrame:
    """Return the rows of NOCODB_CORRECTIONS_TABLE, schema `CORRECTIONS`; none where it is empty.

    Raises:
        AnalyticsError: NocoDB does not answer or refuses, or the table lacks a column.
    """
    from conversation_analytics.core.corrections import CORRECTIONS  # noqa: PLC0415

    if not settings.nocodb_corrections_table:
        return CORRECTIONS.empty()
    from conversation_analytics.nocodb.corrections import read_corrections  # noqa: PLC0415

    with contextlib.closing(_nocodb_client(settings)) as client:
        return read_corrections(client, settings.nocodb_corrections_table)


@contextlib.contextmanager
def open_results_table(settings: Settings) -> Iterator[ResultsTable]:
    """Give the table of NOCODB_RESULTS_TABLE, which has been looked at.

    Raises:
        AnalyticsError: NocoDB does not answer or refuses, or the table cannot be written to.
    """
    from conversation_analytics.core.results import result_columns  # noqa: PLC0415 - import budget
    from conversation_analytics.language.taxonomy_files import read_taxonomy  # noqa: PLC0415
    from conversation_analytics.nocodb.results import SETTING, open_results  # noqa: PLC0415

    taxonomy, _ = read_taxonomy(settings.taxonomy_origin, settings.taxonomy_corrections_file)
    columns = result_columns(one.name for one in taxonomy.types)
    read = ("CONVERSATION", "MESSAGES", "FEEDBACKS", "CORRECTIONS")
    names = (f"NOCODB_{one}_TABLE" for one in read)
    others = {name: settings.values[name] for name in names if settings.values[name]}
    with contextlib.closing(_nocodb_client(settings)) as client:
        yield open_results(client, settings.values[SETTING], columns, others)


def _nocodb_client(settings: Settings) -> NocoDBClient:
    from conversation_analytics.nocodb.client import NocoDBClient, NocoDBConfig  # noqa: PLC0415

    config = NocoDBConfig(
        base_url=settings.nocodb_base_url,
        api_token=settings.nocodb_api_token,
        project_id=settings.nocodb_project_id,
        conversations_table=settings.nocodb_conversation_table,
        messages_table=settings.nocodb_messages_table,
        api_version=settings.nocodb_api_version,
        auth=settings.nocodb_auth,
        max_retries=settings.max_retries,
        retry_delay_s=settings.retry_delay,
        timeout_s=settings.nocodb_timeout,
        page_size=settings.chunk_size,
        load_prompt=settings.nocodb_load_prompt,
        feedbacks_table=settings.nocodb_feedbacks_table,
    )
    return NocoDBClient(config)


def column_contract(settings: Settings) -> Contract:
    """Return the contract in the file of NOCODB_COLUMN_CONTRACT, else Dify's columns.

    Raises:
        SettingsError: the file cannot be read, or is no contract.
    """
    from conversation_analytics.core.contract import (  # noqa: PLC0415
        SETTING,
        default_contract,
        parse_contract,
    )

    # The sample is named as Dify is, whatever the contract of another source says.
    if not settings.nocodb_column_contract or settings.source_kind == "sample":
        return default_contract()
    path: Path = settings.nocodb_column_contract
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{SETTING}: {path}: expected a TOML file, got {type(error).__name__}: name a file "
            "that can be read, or leave the setting empty"
        ) from error
    return parse_contract(text, str(path))


def open_lake(settings: Settings) -> Lake:
    """Return the configured lake, local or on S3."""
    from conversation_analytics.lake import store  # noqa: PLC0415
    from conversation_analytics.lake.encoding import ParquetOptions  # noqa: PLC0415

    options = ParquetOptions(
        compression=settings.parquet_compression,
        row_group_size=settings.parquet_row_group_size,
        page_size_bytes=settings.parquet_page_size,
        target_file_size_mb=settings.parquet_target_file_size_mb,
        max_records_per_file=settings.parquet_max_records_per_file,
    )
    s3 = None
    if settings.s3_enabled:
        from conversation_analytics.lake.s3 import S3Config  # noqa: PLC0415

        s3 = S3Config(
            bucket=settings.s3_bucket,
            prefix=settings.s3_prefix.rstrip("/"),
            endpoint_url=settings.s3_endpoint_url or None,
            access_key_id=settings.aws_access_key_id or None,
            secret_access_key=settings.aws_secret_access_key or None,
            region=settings.aws_region,
        )
    return store.open_lake(
        settings.parquet_base_dir,
        s3=s3,
        options=options,
        partition_by=settings.parquet_partition_by,
    )


def open_documents(settings: Settings) -> DocumentStore:
    """Return MongoDB where MONGODB_URI is set, else SQLite."""
    from conversation_analytics.documents.store import (  # noqa: PLC0415
        MongoConfig,
        SqliteConfig,
        open_store,
    )

    config: MongoConfig | SqliteConfig
    if settings.mongodb_uri:
        config = MongoConfig(
            uri=settings.mongodb_uri,
            database=settings.mongodb_database,
            batch_size=settings.batch_size,
        )
    else:
        config = SqliteConfig(path=settings.sqlite_path)
    return open_store(config)


def open_translator(settings: Settings, max_retries: int | None = None) -> Translator | None:
    """Return the configured engine, or None; nothing is asked of it yet.

    Args:
        settings: of this process.
        max_retries: of a request; None: MAX_RETRIES.

    Raises:
        SettingsError: a value cannot work.
    """
    kind = settings.translator_kind
    if not kind:
        return None
    if kind == "in_process":
        from conversation_analytics.language.translators.in_process import (  # noqa: PLC0415 - import budget
            load_engine,
        )

        return load_engine(settings.translator_factory)
    retries = settings.max_retries if max_retries is None else max_retries
    from conversation_analytics import extensions  # noqa: PLC0415 - import budget

    if kind not in extensions.BUILT_IN[extensions.Kind.TRANSLATORS]:
        return extensions.open_translator(settings, retries)
    return _open_http_translator(settings, kind, retries)


def probe_source(settings: Settings) -> str:
    """Ask the configured source for the rows of each table that changed just now, and say so.

    Raises:
        AnalyticsError: it does not answer, refuses, or cannot be opened.
    """
    now = dt.datetime.now(dt.UTC)
    with contextlib.closing(open_source(settings)) as source:
        for table in settings.source_tables:
            source.changes_since(table, now)
        told = ", ".join(f"{name} {value}" for name, value in source.describe().items())
    return f"{told or settings.source_kind}: answers for {', '.join(settings.source_tables)}"


_PROBE = "ok"


def probe_translator(settings: Settings) -> str:
    """Ask the configured engine what it translates, let it translate one word, and say so.

    Raises:
        AnalyticsError: it does not answer, refuses, or has nothing into the language wanted.
    """
    from conversation_analytics.core.errors import TranslatorRequestError  # noqa: PLC0415

    translator = open_translator(settings, max_retries=min(1, settings.max_retries))
    if translator is None:
        return "none is configured: translations are skipped"
    target = settings.translation_target
    try:
        pairs = translator.pairs()
        known = sorted(source for source, into in pairs or () if into == target != source)
        if pairs is not None and not known:
            raise TranslatorRequestError(
                f"{translator.engine}: it translates nothing into TRANSLATION_TARGET {target}; "
                f"there is {', '.join(sorted({into for _, into in pairs})) or 'nothing'}: install "
                "its models, or correct the setting"
            )
        translator.translate([_PROBE], known[0] if known else "de" if target == "en" else "en",
                             target)  # fmt: skip
    finally:
        translator.close()
    name = " ".join(filter(None, (translator.engine, translator.model)))
    if pairs is None:
        return f"{name}: translated a word into {target}; it does not tell its languages"
    lacking = sorted({*settings.languages} - {*known, target})
    return f"{name}: translated a word; into {target} from {', '.join(known)}" + (
        f"; not from {', '.join(lacking)} of LANGUAGES: such texts are refused" if lacking else ""
    )


def _open_http_translator(settings: Settings, kind: str, max_retries: int) -> Translator:
    from conversation_analytics.core.translator import TranslatorLimits  # noqa: PLC0415
    from conversation_analytics.language.translators import deepl  # noqa: PLC0415
    from conversation_analytics.language.translators.apertium import Apertium  # noqa: PLC0415
    from conversation_analytics.language.translators.endpoint import (  # noqa: PLC0415
        Endpoint,
        EndpointConfig,
    )
    from conversation_analytics.language.translators.libretranslate import (  # noqa: PLC0415
        LibreTranslate,
    )
    from conversation_analytics.language.translators.openai_chat import OpenAIChat  # noqa: PLC0415

    key = settings.translator_api_key
    url = settings.translator_url or deepl.default_url(key)
    config = EndpointConfig(
        url, key, max_retries, settings.retry_delay, settings.translator_timeout
    )
    words = {"deepl": "DeepL-Auth-Key", "openai": "Bearer"}
    header = ("Authorization", f"{words[kind]} {key}") if key and kind in words else None
    endpoint = Endpoint(kind, config, header)
    limits = TranslatorLimits(settings.translator_batch_texts, settings.translator_batch_characters)
    model = settings.translator_model
    match kind:
        case "libretranslate":
            return LibreTranslate(endpoint, model, limits)
        case "deepl":
            return deepl.DeepL(endpoint, model, limits)
        case "openai":
            return OpenAIChat(endpoint, model, limits)
        case _:
            return Apertium(endpoint, model, limits)


def open_topic_namer(settings: Settings) -> ChatNamer | None:
    """Return the model that names topics, or None; nothing is asked of it yet.

    Raises:
        SettingsError: a value cannot work.
    """
    if not settings.topic_namer_url:
        return None
    from conversation_analytics.language.topic_namer import ChatNamer  # noqa: PLC0415
    from conversation_analytics.language.translators.endpoint import (  # noqa: PLC0415
        Endpoint,
        EndpointConfig,
    )

    key = settings.topic_namer_api_key
    config = EndpointConfig(
        settings.topic_namer_url, key, settings.max_retries, settings.retry_delay,
        settings.topic_namer_timeout, "TOPIC_NAMER",
    )  # fmt: skip
    header = ("Authorization", f"Bearer {key}") if key else None
    endpoint = Endpoint("topic namer", config, header)
    return ChatNamer(endpoint, settings.topic_namer_model, settings.translation_target)


def collection_specs(settings: Settings) -> tuple[CollectionSpec, ...]:
    """Return the collections this version writes, with their indexes, rules and views."""
    from conversation_analytics.documents import collections  # noqa: PLC0415 - import budget

    specs = (
        collections.conversations(settings.mongodb_conversations_collection),
        collections.messages(settings.mongodb_messages_collection),
        collections.analytics_reports(settings.mongodb_analytics_reports_collection),
        collections.dead_letters(settings.mongodb_dead_letters_collection),
        collections.categories(settings.mongodb_categories_collection),
        collections.user_analytics(settings.mongodb_user_analytics_collection),
        collections.translations(settings.mongodb_translations_collection),
        collections.topics(settings.mongodb_topics_collection),
    )
    return tuple(replace(spec, keep_days=settings.mongodb_ttl_days) for spec in specs)
