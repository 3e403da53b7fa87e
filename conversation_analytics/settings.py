"""Every environment variable of the platform, read once into one frozen object.

`SETTINGS` is the only list of variables: parsing, error messages, `.env.example` and
`docs/configuration.md` all come from it.
"""

from __future__ import annotations

import datetime as dt
import difflib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.language_codes import CANDIDATES, KNOWN
from conversation_analytics.core.source import SourceTable

Parser = Callable[[str], Any]


class _BadValueError(ValueError):
    """A value that is not allowed; its text says what is."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable.

    Attributes:
        name: the variable.
        default: its value when unset or empty, as it would be typed.
        allowed: what is allowed, in words.
        meaning: what it does.
        parse: text to value; raises ValueError.
        secret: never printed, in no message.
        group: heading in the docs and in `.env.example`.
    """

    name: str
    default: str
    allowed: str
    meaning: str
    parse: Parser
    secret: bool
    group: str


def _text(value: str) -> str:
    if not value.isprintable() or len(value) > _LONGEST_TEXT:
        raise _BadValueError
    return value


def _credential(value: str) -> str:
    """Take one word of ASCII: what fits into a header, and has no page copied along."""
    if not re.fullmatch(r"[!-~]{0,4096}", value):
        raise _BadValueError("allowed is one word of printable ASCII: copy it again")
    return value


def _boolean(value: str) -> bool:
    match value.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off" | "":
            return False
        case _:
            raise _BadValueError


def _integer(low: int, high: int) -> Parser:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            raise _BadValueError
        return int(value)

    return parse


def _memory(value: str) -> int | None:
    """Return bytes; None: no limit of one's own."""
    if not value:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,6})(MiB|GiB)", value)
    if not found:
        raise _BadValueError
    return int(found[1]) * {"MiB": 2**20, "GiB": 2**30}[found[2]]


def _devices(value: str) -> str:
    if not re.fullmatch(r"([\w/-]{1,80}(, *[\w/-]{1,80}){0,63})?", value):
        raise _BadValueError
    return value


def _retention(value: str) -> int:
    # The sensors look at the last 35 days, and at weeks that reach into them.
    days = int(_integer(0, 36_500)(value))
    if 0 < days < _SHORTEST_RETENTION:
        raise _BadValueError
    return days


def _seconds(low: float, high: float) -> Parser:
    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not low <= float(value) <= high:
            raise _BadValueError
        return float(value)

    return parse


def _share(value: str) -> float:
    if not re.fullmatch(r"[0-9](\.[0-9]{1,6})?", value) or float(value) > 1:
        raise _BadValueError
    return float(value)


def _ages(value: str) -> tuple[int, ...]:
    age = _integer(0, 3650)
    ages = {age(part.strip()) for part in value.split(",")} if value else set()
    return tuple(sorted(ages))


def _markers(value: str) -> tuple[str, ...]:
    markers = tuple(part.strip() for part in value.split("|") if part.strip())
    if not value.isprintable() or len(value) > _LONGEST_LIST:
        raise _BadValueError
    return tuple(sorted(set(markers)))


def _keys(value: str) -> tuple[str, ...]:
    keys = tuple(part.strip() for part in value.split(",") if part.strip())
    if len(value) > _LONGEST_LIST or not all(re.fullmatch(r"[\w.-]{1,64}", key) for key in keys):
        raise _BadValueError
    if reserved := sorted(_REPORTED_ANYWAY.intersection(keys)):
        raise _BadValueError(f"{', '.join(reserved)} is reported already: leave it out")
    return tuple(sorted(set(keys)))


def _owners(value: str) -> tuple[str, ...]:
    """Take what Dagster takes: a team, or an address."""
    owners = tuple(part.strip() for part in value.split(",") if part.strip())
    form = r"team:[A-Za-z0-9_-]{1,64}|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,20}"
    if not all(re.fullmatch(form, owner) for owner in owners):
        raise _BadValueError
    return tuple(dict.fromkeys(owners))


def _pseudonym_key(value: str) -> str:
    """Take one word of ASCII that nobody guesses."""
    if value and (not re.fullmatch(r"[!-~]{32,4096}", value) or len(set(value)) < _DISTINCT_IN_KEY):
        raise _BadValueError(
            "allowed is one word of 32 printable ASCII characters or more, such as "
            "`openssl rand -base64 32` prints"
        )
    return value


def _titles(value: str) -> tuple[str, ...]:
    titles = tuple(part.strip() for part in value.split(",") if part.strip())
    if not value.isprintable() or len(value) > _LONGEST_LIST:
        raise _BadValueError
    return tuple(sorted(set(titles)))


def _languages(value: str) -> tuple[str, ...]:
    codes = {part.strip() for part in value.split(",")}
    if unknown := sorted(code or "an empty code" for code in codes - KNOWN):
        raise _BadValueError(
            f"{', '.join(unknown)} cannot be told from others: allowed are "
            f"{', '.join(sorted(KNOWN))}"
        )
    return tuple(sorted(codes))


def _money(value: str) -> Decimal | None:
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
        raise _BadValueError
    return Decimal(value)


def _message_fields(value: str) -> tuple[str, ...]:
    fields = {part.strip() for part in value.split(",")}
    if not fields <= {"query", "answer"}:
        raise _BadValueError
    return tuple(sorted(fields, reverse=True))


def _choice(*choices: str) -> Parser:
    def parse(value: str) -> str:
        if value.lower() not in choices:
            raise _BadValueError
        return value.lower()

    return parse


def _pattern(pattern: str) -> Parser:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise _BadValueError
        return value

    return parse


def _url(*schemes: str) -> Parser:
    def parse(value: str) -> str:
        if not value:
            return ""
        parts = urlsplit(value)
        if parts.scheme not in schemes or not re.fullmatch(r"[!-~]+", value):
            raise _BadValueError
        # A password with a `/` in it ends the host: the rest is in the path then.
        if "@" in value or parts.query or parts.fragment:
            # It would be told in errors, and names of places are shown in the UI.
            raise _BadValueError("it must hold no user, password, `?` or `#`; set those apart")
        if not re.fullmatch(_HOST, parts.netloc) or not _is_port(parts.netloc):
            raise _BadValueError
        return parts.scheme + value[len(parts.scheme) :].rstrip("/")

    return parse


def _scheduler(value: str) -> str:
    if value and (not re.fullmatch(rf"(tcp|tls)://{_HOST}", value) or not _is_port(value)
                  or not re.search(r":[0-9]+$", value)):  # fmt: skip
        raise _BadValueError
    return value


def _mongodb_uri(value: str) -> str:
    """Check the form of a connection string; the driver's own complaint may hold a password."""
    if not value:
        return ""
    found = re.fullmatch(r"mongodb(?:\+srv)?://([!-.0->@-~]+)(/[^?@]*)?(\?[!-?A-~]*)?", value)
    if not found:
        raise _BadValueError(_MONGODB_FORM)
    people, at, hosts = found[1].rpartition("@")
    each = hosts.split(",")
    if at and not re.fullmatch(r"[^@:]+(:[^@:]*)?", people):
        raise _BadValueError(_MONGODB_FORM)
    if not all(re.fullmatch(_HOST, host) and _is_port(host) for host in each):
        raise _BadValueError(_MONGODB_FORM)
    return value


def _is_port(host: str) -> bool:
    """Tell whether what follows the host's colon, if anything does, is a TCP port."""
    port = re.search(r":([0-9]+)$", host)
    return port is None or 0 < int(port[1]) <= _LAST_PORT


def _zone(value: str) -> ZoneInfo:
    if value.startswith(("posix/", "right/")):  # files of the zone database, not zones
        raise _BadValueError
    if value in _ZONES_OF_THE_MACHINE:
        raise _BadValueError(f"it means another zone on each machine: {_ZONE}")
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _BadValueError from error


def _date(value: str) -> dt.date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise _BadValueError
    date = dt.date.fromisoformat(value)
    if not _FIRST_YEAR <= date.year <= _LAST_YEAR:
        raise _BadValueError
    return date


def _path(value: str) -> Path:
    if "://" in value:
        raise _BadValueError("it is an address: a path of this machine is wanted (S3: S3_ENABLED)")
    if not value.isprintable() or len(value) > _LONGEST_PATH:
        raise _BadValueError
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise _BadValueError("the user after `~` is not known on this machine") from error


def _optional_path(value: str) -> Path | None:
    return _path(value) if value else None


def _name_of_extension(value: str) -> str:
    """Take a name; whether there is such a part is known where it is loaded."""
    if not re.fullmatch(r"(?:[a-z][a-z0-9_]{0,39})?", value.lower()):
        raise _BadValueError
    return value.lower()


def _distributions(value: str) -> tuple[str, ...]:
    """Take names of Python packages, spelled as the package index spells them."""
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    one = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
    if len(value) > _LONGEST_LIST or not all(re.fullmatch(one, name) for name in names):
        raise _BadValueError
    return tuple(sorted({re.sub(r"[-_.]+", "-", name).lower() for name in names}))


SOURCES = ("nocodb", "sample")
"""The platform's own sources; others are of extensions."""
TRANSLATORS = ("apertium", "deepl", "in_process", "libretranslate", "openai")
"""The platform's own translators."""
OF_EXTENSIONS = "EXT_"
"""What variables begin with that installed extensions understand."""
_LONGEST_TEXT = 255
_LONGEST_LIST = 2000
_SHORTEST_RETENTION = 60  # days
_DISTINCT_IN_KEY = 10  # characters of a key that somebody chose at random
_REPORTED_ANYWAY = frozenset({"model", "provider", "language", "answer_language"})
_LONGEST_PATH = 4000
_LAST_PORT = 65535
_FIRST_YEAR, _LAST_YEAR = 1970, 2999
_HOST = r"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{1,5})?"
_MONGODB_FORM = (
    "allowed is mongodb://[user:password@]host[:port][,host...][/database][?name=value] or "
    "mongodb+srv://...; percent-encode `:/?#[]@%` in user and password (%40 for @)"
)
_ZONE = "an IANA zone, e.g. Asia/Bangkok"
_ZONES_OF_THE_MACHINE = frozenset({"localtime", "posixrules", "Factory"})
# No dot at either end and none after another; `system.` is MongoDB's, `sqlite_` SQLite's, and
# `document_partitions` says what the documents were made from.
_COLLECTION = r"(?!system\.|(?i:sqlite_|document_partitions$))[A-Za-z](?:\.?[A-Za-z0-9_-]){0,99}"
_DATABASE = r"(?!(?i:admin|local|config)$)[A-Za-z0-9_-]{1,63}"
_BUCKET = r"(?![0-9.]+$)[a-z0-9](?:\.?[a-z0-9-]){1,62}(?<!-)"
_PREFIX = r"(?:(?!\.)[A-Za-z0-9_.=-]{1,200}(?:/(?!\.)[A-Za-z0-9_.=-]{1,200})*/?)?"
_BOOL = "true or false"


def _setting(
    group: str, name: str, default: str, allowed: str, meaning: str, parse: Parser,
    *, secret: bool = False,
) -> Setting:  # fmt: skip
    return Setting(name, default, allowed, meaning, parse, secret, group)


_SOURCE, _DOCS, _LAKE, _WORK, _LANGUAGE, _LOG = (
    "Source", "Documents", "Lake", "Work", "Language", "Logs and alerts",
)  # fmt: skip

SETTINGS: tuple[Setting, ...] = (
    _setting(_SOURCE, "SOURCE", "", "sample, nocodb, the name of an installed source, or empty",
             "where conversations come from; empty: `nocodb` if NOCODB_BASE_URL is set, "
             "else `sample`", _name_of_extension),
    _setting(_SOURCE, "NOCODB_BASE_URL", "", "http(s)://host[:port][/path]",
             "address of NocoDB", _url("http", "https")),
    _setting(_SOURCE, "NOCODB_API_TOKEN", "", "text",
             "API token (team & settings > tokens)", _credential, secret=True),
    _setting(_SOURCE, "NOCODB_PROJECT_ID", "", "an id such as p1a2b3c4",
             "id of the base (project)", _pattern(r"[A-Za-z0-9_-]{0,64}")),
    _setting(_SOURCE, "NOCODB_CONVERSATION_TABLE", "conversations", "title or id",
             "table of conversations", _text),
    _setting(_SOURCE, "NOCODB_MESSAGES_TABLE", "messages", "title or id",
             "table of messages", _text),
    _setting(_SOURCE, "NOCODB_FEEDBACKS_TABLE", "", "title or id, or empty",
             "table of ratings (Dify: message_feedbacks); empty: satisfaction is unknown", _text),
    _setting(_SOURCE, "NOCODB_CORRECTIONS_TABLE", "", "title or id, or empty",
             "table of the same base in which people correct categories, see docs/categories.md",
             _text),
    _setting(_SOURCE, "NOCODB_RESULTS_TABLE", "", "title or id, or empty",
             "table of the same base that categories, languages and topics are written to, one "
             "row per conversation, see docs/write-back.md", _text),
    _setting(_SOURCE, "NOCODB_COLUMN_CONTRACT", "", "a TOML file, or empty",
             "for tables whose columns are not named as Dify names them, see docs/operations.md",
             _optional_path),
    _setting(_SOURCE, "NOCODB_API_VERSION", "v2", "v1 or v2",
             "REST path of the records", _choice("v1", "v2")),
    _setting(_SOURCE, "NOCODB_AUTH", "xc-token", "xc-token or bearer",
             "header that carries the token", _choice("xc-token", "bearer")),
    _setting(_SOURCE, "NOCODB_LOAD_PROMPT", "false", _BOOL,
             "also load `messages.message`, the full prompt: large and private", _boolean),
    _setting(_SOURCE, "PSEUDONYM_KEY", "", "32 printable ASCII characters or more, or empty",
             "replaces user ids by pseudonyms before anything is stored; cannot be changed later, "
             "see docs/personal-data.md", _pseudonym_key, secret=True),
    _setting(_SOURCE, "PSEUDONYM_COLUMNS", "", "titles, separated by commas, or empty",
             "further columns of the source that hold users, for PSEUDONYM_KEY", _titles),
    _setting(_SOURCE, "NOCODB_TIMEOUT", "60", "seconds, 1 to 3600",
             "longest wait for one answer", _seconds(1, 3600)),
    _setting(_SOURCE, "MAX_RETRIES", "5", "0 to 20",
             "repeats of a request that failed in passing", _integer(0, 20)),
    _setting(_SOURCE, "RETRY_DELAY", "1", "seconds, 0.01 to 300",
             "wait before the first repeat; doubles each time, with jitter", _seconds(0.01, 300)),
    _setting(_SOURCE, "CHUNK_SIZE", "1000", "1 to 1000",
             "rows asked for in one page of the source (NocoDB gives at most 1000)",
             _integer(1, 1000)),
    _setting(_SOURCE, "SAMPLE_TURNS_PER_DAY", "400", "1 to 1000000",
             "size of the sample source", _integer(1, 1_000_000)),
    _setting(_SOURCE, "SENSOR_LAG", "3600", "seconds, 0 to 604800",
             "overlap of the change sensor: how late a row may become visible, or be finished",
             _integer(0, 604_800)),
    _setting(_SOURCE, "SENSOR_SETTLE", "30", "seconds, 0 to 86400",
             "a row touched so recently waits for a later look: it is probably still changing",
             _integer(0, 86_400)),
    _setting(_SOURCE, "WATCH_HOURS", "48", "hours, 0 to 720",
             "how long the change sensor asks again for a turn without an answer",
             _integer(0, 720)),
    _setting(_SOURCE, "REREAD_DAYS", "1,7,30", "ages in days, 0 to 3650, comma separated",
             "closed days that the daily close reads again: yesterday is 1", _ages),
    _setting(_SOURCE, "GONE_ROWS", "flag", "keep, flag or purge",
             "what becomes of a row that the source does not have any more; purge deletes it here",
             _choice("keep", "flag", "purge")),
    _setting(_SOURCE, "SENSOR_INTERVAL", "60", "seconds, 5 to 86400",
             "time between two looks of the change sensor", _integer(5, 86_400)),
    _setting(_SOURCE, "SENSOR_MAX_RUNS", "10", "1 to 100",
             "runs the change sensor may start in one look; the rest follows in the next",
             _integer(1, 100)),
    _setting(_SOURCE, "ERASURE_MIN_USERS", "5", "0 to 1000000",
             "aggregates of a day stay as they are when somebody is erased, if at least so many "
             "others were there in each app of theirs; else they are computed again",
             _integer(0, 10**6)),
    *(
        _setting(_SOURCE, f"RETENTION_{zone}_DAYS", "0", "0, or 60 to 36500",
                 f"{what} of days older than that are removed by `conversation-analytics retain` "
                 "and each night; 0: kept", _retention)
        for zone, what in (
            ("RAW", "rows as served"),
            ("CURATED", "typed rows, languages, translations, categories, dead letters"),
            ("DOCUMENTS", "documents of conversations, messages, categories, translations"),
        )
    ),
    _setting(_DOCS, "MONGODB_URI", "", "mongodb://... or mongodb+srv://...",
             "MongoDB; empty: documents go to SQLite beside the lake",
             _mongodb_uri, secret=True),
    _setting(_DOCS, "MONGODB_DATABASE", "conversation_analytics", "a database name",
             "database of the documents", _pattern(_DATABASE)),
    *(
        _setting(_DOCS, f"MONGODB_{name}_COLLECTION", name.lower(), "a collection name",
                 meaning, _pattern(_COLLECTION))
        for name, meaning in (
            ("CONVERSATIONS", "one document per conversation, messages inside"),
            ("MESSAGES", "one document per turn"),
            ("CATEGORIES", "one document per conversation, day and type of category"),
            ("TRANSLATIONS", "one document per text with its translation, or why there is none"),
            ("ANALYTICS_REPORTS", "reports by period and app"),
            ("DEAD_LETTERS", "rows that could not be typed, with reason, since when, how often"),
            ("USER_ANALYTICS", "one document per user and app, and one per user over all apps"),
            ("TOPICS", "one document per topic shown and week"),
        )
    ),
    _setting(_DOCS, "MONGODB_TTL_DAYS", "0", "days, 0 to 24800",
             "age at which conversations, messages and what is told of them leave the document "
             "store; 0: never. The lake and the reports stay, see docs/documents.md",
             _integer(0, 24_800)),
    _setting(_DOCS, "SQLITE_PATH", "data/documents.sqlite", "a file path",
             "document store when MONGODB_URI is empty", _path),
    _setting(_DOCS, "BATCH_SIZE", "1000", "1 to 100000",
             "documents in one bulk write", _integer(1, 100_000)),
    _setting(_LAKE, "PARQUET_STORAGE_ENABLED", "true", _BOOL,
             "keep the lake on local disk (ignored when S3_ENABLED)", _boolean),
    _setting(_LAKE, "PARQUET_BASE_DIR", "data/lake", "a folder",
             "root of the local lake", _path),
    _setting(_LAKE, "PARQUET_PARTITION_BY", "day", "day (year=/month=/day=) or date (date=)",
             "folder layout of a partition", _choice("day", "date")),
    _setting(_LAKE, "PARQUET_COMPRESSION", "zstd", "zstd, snappy, gzip, lz4, brotli or none",
             "codec", _choice("zstd", "snappy", "gzip", "lz4", "brotli", "none")),
    _setting(_LAKE, "PARQUET_ROW_GROUP_SIZE", "20000", "rows, 100 to 10000000",
             "rows of a row group", _integer(100, 10_000_000)),
    _setting(_LAKE, "PARQUET_PAGE_SIZE", "1048576", "bytes, 1024 to 1073741824",
             "uncompressed bytes of a page", _integer(1024, 1 << 30)),
    _setting(_LAKE, "PARQUET_TARGET_FILE_SIZE_MB", "2048", "megabytes, 1 to 5000",
             "a larger partition is split into parts", _integer(1, 5000)),
    _setting(_LAKE, "PARQUET_MAX_RECORDS_PER_FILE", "10000000", "rows, 100 to 1000000000",
             "a partition with more rows is split into parts", _integer(100, 1_000_000_000)),
    _setting(_LAKE, "S3_ENABLED", "false", _BOOL, "keep the lake on S3", _boolean),
    _setting(_LAKE, "S3_BUCKET", "", "a bucket name", "bucket of the lake",
             _pattern(rf"(?:{_BUCKET})?")),
    _setting(_LAKE, "S3_PREFIX", "", "path without leading slash", "folder inside the bucket",
             _pattern(_PREFIX)),
    _setting(_LAKE, "S3_ENDPOINT_URL", "", "http(s)://host[:port]",
             "S3 server; empty: AWS", _url("http", "https")),
    _setting(_LAKE, "AWS_ACCESS_KEY_ID", "", "text", "key of the bucket", _credential, secret=True),
    _setting(_LAKE, "AWS_SECRET_ACCESS_KEY", "", "text", "secret of the key",
             _credential, secret=True),
    _setting(_LAKE, "AWS_REGION", "us-east-1", "a region", "region of the bucket",
             _pattern(r"[a-z0-9-]{1,40}")),
    _setting(_WORK, "ANALYTICS_TIMEZONE", "UTC", _ZONE,
             "a partition is a calendar day of this zone", _zone),
    _setting(_WORK, "ANALYTICS_START_DATE", "2025-01-01", "YYYY-MM-DD, 1970 or later",
             "first partition", _date),
    _setting(_WORK, "HANDOFF_MARKERS", "", "texts, separated by `|`, or empty",
             "texts in an answer that hand the conversation over to a person; empty: hand-off and "
             "containment are unknown", _markers),
    _setting(_WORK, "METRIC_DIMENSIONS", "", "keys, separated by commas, or empty",
             "keys of the apps' inputs to report by, beside app, model, language and category",
             _keys),
    _setting(_WORK, "SOURCE_FRESH_HOURS", "48", "hours, 0 to 8760",
             "the check `source_is_alive` warns where the newest message held is older; 0: never",
             _integer(0, 8760)),
    _setting(_WORK, "DEAD_LETTER_SHARE", "0.01", "0 to 1",
             "a day with a larger share of dead letters fails, if there are more than "
             "DEAD_LETTER_ROWS", _share),
    _setting(_WORK, "DEAD_LETTER_ROWS", "20", "0 to 1000000000",
             "so many dead letters a day and table are only a warning", _integer(0, 10**9)),
    _setting(_WORK, "EXECUTOR", "lanes", "lanes, in_process, multiprocess, dask or dask_steps",
             "how the steps of a run are executed, see docs/executors.md; lanes: light ones in the "
             "run's process, others in warm ones, heavy plans on a GPU; multiprocess: each in a "
             "process of its own; dask: the days of a range are computed on a Dask cluster; "
             "dask_steps: each step on it, see docs/dask.md",
             _choice("lanes", "in_process", "multiprocess", "dask", "dask_steps")),
    _setting(_WORK, "ENABLE_MULTITHREADING", "true", _BOOL,
             "false: IO_THREADS and PROCESSING_THREADS count as 1", _boolean),
    _setting(_WORK, "MAX_WORKERS", "2", "1 to 256",
             "steps at once on the CPU, with the executors lanes and multiprocess; processes of a "
             "Dask cluster of this machine",
             _integer(1, 256)),
    _setting(_WORK, "DASK_SCHEDULER_ADDRESS", "", "tcp:// or tls://host:port, or empty",
             "scheduler of the Dask cluster, for EXECUTOR dask and dask_steps; empty: a cluster of "
             "MAX_WORKERS processes on this machine, for the time of the run", _scheduler),
    _setting(_WORK, "IO_THREADS", "4", "1 to 64",
             "days read from the source at once in a range run", _integer(1, 64)),
    _setting(_WORK, "PROCESSING_THREADS", "2", "1 to 64",
             "days typed and written at once in a range run", _integer(1, 64)),
    _setting(_WORK, "ENABLE_GPU", "false", _BOOL,
             "compute heavy plans on a GPU, with the executor lanes and the extra `gpu`; without a "
             "device they are computed on the CPU, which their metadata tells", _boolean),
    _setting(_WORK, "GPU_MEMORY_LIMIT", "", "such as 8GiB or 6000MiB, or empty",
             "memory that a step may use on a GPU; empty: 0.8 of what is free", _memory),
    _setting(_WORK, "GPU_MIN_ROWS", "2000000", "0 to 1000000000000",
             "rows of a plan's largest input, as recorded, from which it is computed on a GPU",
             _integer(0, 10**12)),
    _setting(_WORK, "CUDA_VISIBLE_DEVICES", "", "numbers or UUIDs, separated by commas, or empty",
             "the GPUs that may be used, in the order of nvidia-smi; empty: all", _devices),
    _setting(_WORK, "GPU_LEASE_FOLDER", "", "a folder, or empty",
             "where GPUs are leased to runs, one for all of a machine; empty: a folder of the user "
             "in the folder for temporary files, see docs/executors.md", _optional_path),
    _setting(_WORK, "EXTENSIONS", "", "names of installed Python packages, split by commas",
             "packages whose metrics and assets are used, see docs/extending.md", _distributions),
    _setting(_LANGUAGE, "LANGUAGES", ",".join(CANDIDATES), "ISO 639-1 codes, split by commas",
             "languages that are told apart: the fewer, the surer", _languages),
    _setting(_LANGUAGE, "TAXONOMY", "", "the name of an installed taxonomy, or empty",
             "categories that come with an extension, see docs/extending.md", _name_of_extension),
    _setting(_LANGUAGE, "TAXONOMY_FILE", "", "a YAML file, or empty",
             "categories of conversations, see docs/categories.md; empty: the default taxonomy",
             _optional_path),
    _setting(_LANGUAGE, "TAXONOMY_CORRECTIONS_FILE", "", "a YAML file, or empty",
             "what people corrected: examples and conversations, see docs/categories.md",
             _optional_path),
    _setting(_LANGUAGE, "EMBEDDER", "use-multilingual", "use-multilingual",
             "what turns texts into vectors", _choice("use-multilingual")),
    _setting(_LANGUAGE, "TOPIC_MIN_USERS", "5", "1 to 1000000",
             "topics of fewer users are not shown, nor words that fewer users said",
             _integer(1, 10**6)),
    _setting(_LANGUAGE, "TOPIC_MIN_CONVERSATIONS", "5", "1 to 1000000",
             "topics of fewer conversations are not shown", _integer(1, 10**6)),
    _setting(_LANGUAGE, "TOPIC_NAMER_URL", "", "http(s)://host[:port][/path]",
             "OpenAI-compatible endpoint, with `/v1`, that names topics from redacted texts; "
             "empty: topics have words only", _url("http", "https")),
    _setting(_LANGUAGE, "TOPIC_NAMER_API_KEY", "", "text", "its key", _credential, secret=True),
    _setting(_LANGUAGE, "TOPIC_NAMER_MODEL", "", "text",
             "its model; another one names all topics again", _text),
    _setting(_LANGUAGE, "TOPIC_NAMER_TIMEOUT", "60", "seconds, 1 to 3600",
             "longest wait for one name", _seconds(1, 3600)),
    _setting(_LANGUAGE, "TRANSLATOR", "",
             "libretranslate, deepl, openai, apertium, in_process, none, the name of an installed "
             "translator, or empty",
             "engine that translates; empty: `libretranslate` if TRANSLATOR_URL is set, else none",
             _name_of_extension),
    _setting(_LANGUAGE, "TRANSLATOR_URL", "", "http(s)://host[:port][/path]",
             "address of the engine; openai: with `/v1`; deepl: empty for the one of the key",
             _url("http", "https")),
    _setting(_LANGUAGE, "TRANSLATOR_API_KEY", "", "text", "key of the engine", _credential,
             secret=True),
    _setting(_LANGUAGE, "TRANSLATOR_MODEL", "", "text",
             "openai: the model; else a label of the models behind the engine, which it does not "
             "tell: with another one everything is translated again", _text),
    _setting(_LANGUAGE, "TRANSLATOR_FACTORY", "", "package.module:function",
             "in_process: a function without arguments that gives a Translator",
             _pattern(r"(?:[A-Za-z_][\w.]*:[A-Za-z_]\w*)?")),
    _setting(_LANGUAGE, "TRANSLATOR_TIMEOUT", "120", "seconds, 1 to 3600",
             "longest wait for one answer", _seconds(1, 3600)),
    _setting(_LANGUAGE, "TRANSLATOR_BATCH_TEXTS", "25", "1 to 1000",
             "texts in one request (LibreTranslate: --batch-limit; DeepL: 50)", _integer(1, 1000)),
    _setting(_LANGUAGE, "TRANSLATOR_BATCH_CHARACTERS", "5000", "200 to 100000",
             "characters in one request; a longer text is cut (LibreTranslate: --char-limit)",
             _integer(200, 100_000)),
    _setting(_LANGUAGE, "TRANSLATOR_CHARACTERS_PER_RUN", "1000000", "0 to 999999999999",
             "characters that a run of Dagster, or a command with all its runs, may send; what is "
             "over waits for a later one; 0: no limit",
             _integer(0, 10**12 - 1)),
    _setting(_LANGUAGE, "TRANSLATOR_PRICE", "", "an amount such as 20 or 17.50, or empty",
             "price of a million characters; empty: the cost is unknown", _money),
    _setting(_LANGUAGE, "TRANSLATOR_CURRENCY", "", "ISO 4217 code, or empty",
             "currency of TRANSLATOR_PRICE", _pattern(r"(?:[A-Z]{3})?")),
    _setting(_LANGUAGE, "TRANSLATION_TARGET", "en", "ISO 639-1 code",
             "language that texts are translated into", _pattern(r"[a-z]{2}")),
    _setting(_LANGUAGE, "TRANSLATION_FIELDS", "query,answer", "query, answer, or both",
             "fields of a message that are translated", _message_fields),
    _setting(_LOG, "LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR",
             "level of the platform's own log", _choice("debug", "info", "warning", "error")),
    _setting(_LOG, "LOG_FILE", "", "a file path, or empty",
             "also write the platform's log here, one JSON object a line", _optional_path),
    _setting(_LOG, "ALERT_WEBHOOK_URL", "", "https://host[:port]/path, or empty",
             "where the sensor `run_failures` posts an alert for every failed run", _text,
             secret=True),
    _setting(_LOG, "ALERT_WEBHOOK_SECRET", "", "whsec_ and a key in base64",
             "signs alerts as Standard Webhooks says", _text, secret=True),
    _setting(_LOG, "ALERT_WEBHOOK_ALLOW_HTTP", "false", _BOOL,
             "allow http:// to other hosts", _boolean),
    _setting(_LOG, "ALERT_WEBHOOK_ALLOW_PRIVATE", "false", _BOOL,
             "allow loopback, private and link-local addresses", _boolean),
    _setting(_LOG, "ALERT_WEBHOOK_CA_FILE", "", "a file path, or empty",
             "certificates to trust instead of the usual ones", _optional_path),
    _setting(_LOG, "REPORT_WEBHOOK_URL", "", "https://host[:port]/path, or empty",
             "where the sensor `finished_reports` posts the headline figures of each report of a "
             "day, week or month that is over, see docs/operations.md", _text, secret=True),
    _setting(_LOG, "REPORT_WEBHOOK_SECRET", "", "whsec_ and a key in base64",
             "signs them as Standard Webhooks says", _text, secret=True),
    _setting(_LOG, "REPORT_WEBHOOK_ALLOW_HTTP", "false", _BOOL,
             "allow http:// to other hosts", _boolean),
    _setting(_LOG, "REPORT_WEBHOOK_ALLOW_PRIVATE", "false", _BOOL,
             "allow loopback, private and link-local addresses", _boolean),
    _setting(_LOG, "REPORT_WEBHOOK_CA_FILE", "", "a file path, or empty",
             "certificates to trust instead of the usual ones", _optional_path),
    _setting(_LOG, "DAGSTER_UI_URL", "", "http(s)://host[:port][/path]",
             "address of the Dagster UI, for links in alerts", _url("http", "https")),
    _setting(_LOG, "DOCS_URL", "", "http(s)://host[:port][/path]",
             "where you serve the pages that `make docs` builds: assets link to them",
             _url("http", "https")),
    _setting(_LOG, "ASSET_OWNERS", "team:analytics", "team:NAME or addresses, by commas",
             "owners of every asset in the Dagster UI", _owners),
)  # fmt: skip

_BY_NAME = {setting.name: setting for setting in SETTINGS}


def _shape(setting: Setting, value: str) -> str:
    """Describe a wrong value; a secret only by its length."""
    if setting.secret:
        return f"text of {len(value)} characters"
    # It could hold a credential (an address with a password or a key in it), or a page.
    if "@" in value or "?" in value or len(value) > 60:  # noqa: PLR2004
        return f"text of {len(value)} characters"
    return repr(value)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process. Look values up by attribute, in lower case.

    Attributes:
        values: variable name to parsed value.
        of_extensions: the variables EXT_..., as text, which installed extensions understand.
    """

    values: Mapping[str, Any]
    of_extensions: Mapping[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """Return the value of the variable `name.upper()`."""
        try:
            return self.values[name.upper()]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        """Show every setting but the secret ones."""
        shown = ", ".join(
            f"{name}={'***' if _BY_NAME[name].secret and value else value!r}"
            for name, value in self.values.items()
        )
        return f"Settings({shown})"

    def options_of(self, extension: str) -> dict[str, str]:
        """Return the variables EXT_<EXTENSION>_..., by the rest of their names in lower case."""
        prefix = f"{OF_EXTENSIONS}{extension.upper()}_"
        return {
            name.removeprefix(prefix).lower(): value
            for name, value in self.of_extensions.items()
            if name.startswith(prefix)
        }

    @property
    def source_kind(self) -> str:
        """`sample`, `nocodb`, or the name of an installed source."""
        return str(self.source) or ("nocodb" if self.nocodb_base_url else "sample")

    @property
    def names_extensions(self) -> bool:
        """Whether a part is named that is not the platform's own."""
        return bool(
            self.extensions
            or self.taxonomy
            or self.source_kind not in SOURCES
            or self.translator_kind not in ("", *TRANSLATORS)
        )

    @property
    def source_tables(self) -> tuple[SourceTable, ...]:
        """The tables that are read."""
        if self.source_kind == "nocodb" and not self.nocodb_feedbacks_table:
            return tuple(table for table in SourceTable if table is not SourceTable.FEEDBACKS)
        return tuple(SourceTable)

    @property
    def translator_kind(self) -> str:
        """The engine's contract; empty: nothing is translated."""
        if self.translator == "none":
            return ""
        return str(self.translator) or ("libretranslate" if self.translator_url else "")

    @property
    def taxonomy_origin(self) -> Path | str | None:
        """A file, the name of an installed taxonomy, or None: the default one."""
        return self.taxonomy_file or str(self.taxonomy) or None

    @property
    def threads_io(self) -> int:
        """Days read at once."""
        return int(self.io_threads) if self.enable_multithreading else 1

    @property
    def threads_processing(self) -> int:
        """Days processed at once."""
        return int(self.processing_threads) if self.enable_multithreading else 1


def parse_settings(environment: Mapping[str, str]) -> Settings:
    """Parse and check all settings.

    Args:
        environment: variables by name; unset and empty count as the default.

    Raises:
        SettingsError: names every wrong or missing variable, the shape of its value and
            what is allowed.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for setting in SETTINGS:
        text = environment.get(setting.name, "").strip() or setting.default
        if _is_quoted(text):
            problems.append(_QUOTED.format(setting.name))
            continue
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            reason = str(error) if isinstance(error, _BadValueError) and str(error) else ""
            problems.append(
                f"{setting.name} is {_shape(setting, text)}: "
                f"{reason or f'allowed is {setting.allowed}'}"
            )
    own = {
        name: value.strip()
        for name, value in environment.items()
        if name.startswith(OF_EXTENSIONS) and value.strip()
    }
    problems += [_QUOTED.format(name) for name, value in own.items() if _is_quoted(value)]
    if not problems:
        problems = _contradictions(Settings(values))
    if problems:
        raise SettingsError(
            "wrong settings:\n  "
            + "\n  ".join(problems)
            + "\nSet them in the environment or in .env; docs/configuration.md lists them all."
        )
    return Settings(values, own)


_QUOTED = "{} is in quotes, which are part of the value here: leave them out"


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def _contradictions(settings: Settings) -> list[str]:
    """Return what is missing or does not go together, each in a sentence."""
    needs: list[tuple[bool, str, tuple[str, ...]]] = [
        (
            settings.source_kind == "nocodb",
            "the source is NocoDB",
            (
                "NOCODB_BASE_URL",
                "NOCODB_API_TOKEN",
                "NOCODB_PROJECT_ID",
                "NOCODB_CONVERSATION_TABLE",
                "NOCODB_MESSAGES_TABLE",
            ),
        ),
        # Without the address the source would be the sample, which is nobody's wish here.
        (not settings.source and bool(settings.nocodb_api_token), "NOCODB_API_TOKEN is set",
         ("NOCODB_BASE_URL",)),
        (not settings.source and bool(settings.nocodb_project_id), "NOCODB_PROJECT_ID is set",
         ("NOCODB_BASE_URL",)),
        (bool(settings.nocodb_corrections_table), "NOCODB_CORRECTIONS_TABLE is set",
         ("NOCODB_BASE_URL", "NOCODB_API_TOKEN", "NOCODB_PROJECT_ID")),
        (bool(settings.nocodb_results_table), "NOCODB_RESULTS_TABLE is set",
         ("NOCODB_BASE_URL", "NOCODB_API_TOKEN", "NOCODB_PROJECT_ID")),
        (bool(settings.report_webhook_url), "REPORT_WEBHOOK_URL is set",
         ("REPORT_WEBHOOK_SECRET",)),
        (bool(settings.s3_enabled), "S3_ENABLED is true", ("S3_BUCKET",)),
        (bool(settings.aws_access_key_id), "AWS_ACCESS_KEY_ID is set", ("AWS_SECRET_ACCESS_KEY",)),
        (bool(settings.aws_secret_access_key), "AWS_SECRET_ACCESS_KEY is set",
         ("AWS_ACCESS_KEY_ID",)),
        (settings.translator_kind in {"libretranslate", "openai", "apertium"},
         f"TRANSLATOR is {settings.translator_kind}", ("TRANSLATOR_URL",)),
        (settings.translator_kind == "deepl", "TRANSLATOR is deepl", ("TRANSLATOR_API_KEY",)),
        (settings.translator_kind == "openai", "TRANSLATOR is openai", ("TRANSLATOR_MODEL",)),
        (settings.translator_kind == "in_process", "TRANSLATOR is in_process",
         ("TRANSLATOR_FACTORY",)),
        (bool(settings.topic_namer_url), "TOPIC_NAMER_URL is set", ("TOPIC_NAMER_MODEL",)),
        (bool(settings.topic_namer_model), "TOPIC_NAMER_MODEL is set", ("TOPIC_NAMER_URL",)),
        (settings.translator_price is not None, "TRANSLATOR_PRICE is set",
         ("TRANSLATOR_CURRENCY",)),
    ]  # fmt: skip
    problems = list(
        dict.fromkeys(
            f"{name} is empty, but {why}: allowed is {_BY_NAME[name].allowed}"
            for applies, why, names in needs
            if applies
            for name in names
            if not settings.values[name]
        )
    )
    if settings.taxonomy and settings.taxonomy_file:
        problems.append(
            "TAXONOMY and TAXONOMY_FILE are both set: categories come from one of them, leave the "
            "other empty"
        )
    if not settings.parquet_storage_enabled and not settings.s3_enabled:
        problems.append(
            "PARQUET_STORAGE_ENABLED and S3_ENABLED are both false: everything is computed from "
            "the lake, so one of them has to be true"
        )
    batch, budget = settings.translator_batch_characters, settings.translator_characters_per_run
    if settings.translator_kind and 0 < budget < batch:
        problems.append(
            f"TRANSLATOR_CHARACTERS_PER_RUN is less than TRANSLATOR_BATCH_CHARACTERS, {batch}: a "
            "text of that length would wait for ever; raise the one or lower the other"
        )
    problems += _retention_problems(settings)
    if settings.enable_gpu and settings.executor != "lanes":
        problems.append(
            f"ENABLE_GPU is true, but EXECUTOR is {settings.executor}, which knows no GPU: allowed "
            "is lanes"
        )
    tables = tuple(
        name
        for name in _BY_NAME
        if name.startswith("NOCODB_") and name.endswith("_TABLE") and settings.values[name]
    )
    problems += _same_twice(settings, tables, "table")
    collections = tuple(name for name in _BY_NAME if name.endswith("_COLLECTION"))
    return problems + _same_twice(settings, collections, "collection")


def _retention_problems(settings: Settings) -> list[str]:
    """Find ages that would bring removed days back, or keep copies of what is gone."""
    endless = 10**9
    curated = settings.retention_curated_days or endless
    problems = []
    if (settings.retention_documents_days or endless) > curated:
        problems.append(
            f"RETENTION_CURATED_DAYS is {curated}, but RETENTION_DOCUMENTS_DAYS keeps documents "
            "longer: they are copies of the curated zone, give them as many days or fewer"
        )
    oldest = max(settings.reread_days, default=0)
    return problems + [
        f"REREAD_DAYS reads days of age {oldest} again, which {name} removes: lower the one or "
        "raise the other"
        for name in ("RETENTION_RAW_DAYS", "RETENTION_CURATED_DAYS", "RETENTION_DOCUMENTS_DAYS")
        if 0 < settings.values[name] <= oldest
    ]


def _same_twice(settings: Settings, names: tuple[str, ...], what: str) -> list[str]:
    """Find names of tables or collections that are one and the same (SQLite ignores case)."""
    first: dict[str, str] = {}
    problems = []
    for name in names:
        other = first.setdefault(str(settings.values[name]).lower(), name)
        if other != name:
            problems.append(f"{name} and {other} name the same {what}: each needs its own")
    return problems


def load_settings(environment: Mapping[str, str], env_file: Path | None) -> Settings:
    """Read `.env` beneath the environment and parse both.

    Args:
        environment: the process's environment; wins over the file.
        env_file: a dotenv file that need not exist, or None.

    Raises:
        SettingsError: as `parse_settings`.
    """
    merged = {} if env_file is None else _read_env_file(env_file)
    merged.update(
        {
            name: value
            for name, value in environment.items()
            if name in _BY_NAME or name.startswith(OF_EXTENSIONS)
        }
    )
    return parse_settings(merged)


def unknown_settings(env_file: Path) -> list[tuple[str, str]]:
    """Return the names in a dotenv file that look like settings and are none.

    Args:
        env_file: a file that need not exist.

    Returns:
        Each such name with the setting it may stand for. Names unlike any setting may be
        somebody else's and are left out.

    Raises:
        SettingsError: the file cannot be read.
    """
    found = []
    for name in _read_env_file(env_file):
        close = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.75)
        if name not in _BY_NAME and not name.startswith(OF_EXTENSIONS) and close:
            found.append((name, close[0]))
    return found


def misspelt_settings(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables of an environment that are all but a setting's name.

    Others may be somebody else's; so those that are only like a setting are left out.

    Returns:
        Each such name with the setting that is meant, by name.
    """
    meant = {name.replace("_", ""): name for name in _BY_NAME}
    found = []
    for name in sorted(environment.keys() - _BY_NAME.keys()):
        bare = name.upper().replace("_", "").replace("-", "")
        if bare in meant:
            found.append((name, meant[bare]))
    return found


def _read_env_file(path: Path) -> dict[str, str]:
    """Return variables by name, none where there is no file.

    Raises:
        SettingsError: it cannot be read, is no UTF-8, or a line is not `NAME=value`.
    """
    if not path.exists():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415 - only where there is a file
    from dotenv.parser import parse_stream  # noqa: PLC0415

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not text in UTF-8: save it as UTF-8 again") from error
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}; make it a file that this user may read, "
            "or remove it"
        ) from error
    wrong = [
        str(line.original.line)
        for line in parse_stream(io.StringIO(text))
        if line.error or (line.key in _BY_NAME and line.value is None)
    ]
    if wrong:  # dotenv would leave these out
        raise SettingsError(f"{path}, line {', '.join(wrong)}: expected NAME=value")
    found = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in found.items() if value is not None}


def env_example() -> str:
    """Render `.env.example`: every variable with its safe default."""
    lines = [
        "# Copy to .env and fill in. Everything has a working default: without a change the",
        "# platform runs on its sample source, a local lake and SQLite documents.",
    ]
    group = ""
    for setting in SETTINGS:
        if setting.group != group:
            group = setting.group
            lines += ["", f"# --- {group} ---"]
        lines += [
            f"# {setting.meaning}. Allowed: {setting.allowed}.",
            f"{setting.name}={setting.default}",
        ]
    return "\n".join(lines) + "\n"


def configuration_markdown() -> str:
    """Render `docs/configuration.md`."""
    lines = [
        "# Configuration",
        "",
        "Every variable can stand in the environment or in `.env` (the environment wins). A wrong",
        "value stops the start with a message that names the variable and what is allowed.",
        "Variables `EXT_...` are of installed packages ([extending](extending.md)).",
        "This page is generated from `conversation_analytics/settings.py` by `make docs`.",
    ]
    group = ""
    for setting in SETTINGS:
        if setting.group != group:
            group = setting.group
            lines += [
                "",
                f"## {group}",
                "",
                "| variable | default | allowed | meaning |",
                "|---|---|---|---|",
            ]
        default = (
            "secret, empty"
            if setting.secret
            else (f"`{setting.default}`" if setting.default else "empty")
        )
        allowed = setting.allowed.replace("|", "\\|")
        lines.append(f"| `{setting.name}` | {default} | {allowed} | {setting.meaning} |")
    return "\n".join(lines) + "\n"
