from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import fcntl
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from conversation_analytics.core.errors import (
    LakeError,
    LakeUnavailableError,
    SettingsError,
)
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.lake.encoding import ParquetOptions, encode
from conversation_analytics.lake.objects import LocalObjects, ObjectInfo, ObjectStore
from conversation_analytics.lake.s3 import S3Config, S3Objects
from conversation_analytics.lake.store import Lake
from conversation_analytics_tests.lake.frames import message_rows


def test_an_object_is_put_got_listed_and_deleted(objects: ObjectStore) -> None:
    assert objects.get("a/b.bin") is None
    assert objects.tail("a/b.bin", 3) is None
    assert objects.size("a/b.bin") is None
    assert objects.list("a") == ()
    objects.put("a/b.bin", b"first")
    objects.put("a/b.bin", b"second")
    objects.put("a/c/d.bin", b"x")
    objects.put("ab/e.bin", b"")
    assert objects.get("a/b.bin") == b"second"
    assert objects.tail("a/b.bin", 3) == b"ond"
    assert objects.tail("a/b.bin", 99) == b"second"
    assert objects.size("a/b.bin") == 6
    assert objects.list("a") == (ObjectInfo("a/b.bin", 6), ObjectInfo("a/c/d.bin", 1))
    assert [info.path for info in objects.list("")] == ["a/b.bin", "a/c/d.bin", "ab/e.bin"]
    objects.delete("a/b.bin")
    objects.delete("a/b.bin")
    assert objects.get("a/b.bin") is None


def test_the_storage_tells_when_an_object_was_written(objects: ObjectStore) -> None:
    second = dt.timedelta(seconds=1)
    before = dt.datetime.now(dt.UTC)
    objects.put("a/b.bin", b"first")
    after = dt.datetime.now(dt.UTC)
    written = objects.written_at("a/b.bin")
    assert written is not None
    assert before - second <= written <= after + second
    assert objects.written_at("a/c.bin") is None


def test_a_large_object_comes_back_whole(objects: ObjectStore) -> None:
    data = random.Random(1).randbytes(12_000_000)  # more than one piece of an upload
    objects.put("large.bin", data)
    assert objects.get("large.bin") == data


def test_readers_see_whole_versions_while_writers_overlap(objects: ObjectStore) -> None:
    versions = [bytes([number]) * 300_000 for number in range(4)]
    objects.put("x.bin", versions[0])
    done = threading.Event()

    def keep_writing() -> None:
        while not done.is_set():
            for version in versions:
                objects.put("x.bin", version)

    writers = [threading.Thread(target=keep_writing) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        reads = [objects.get("x.bin") for _ in range(100)]
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert all(read in versions for read in reads)


@pytest.mark.parametrize(
    "path",
    [
        "../x", "a/../../x", "/etc/x", "a//b", "", ".hidden", "a/.tmp", "a\\..\\b", "a/b\n",
        "a/%2e%2e/b", "C:x", "a/\x00", "~/x", "x" * 201, "a/", "a b", "é",
        "\uff0e\uff0e/x", "\u2024\u2024/x", "..\u2215x", "a\uff0fb", "a/..", "s3://other/x",
    ],
)  # fmt: skip
def test_paths_that_leave_the_root_are_refused(objects: ObjectStore, path: str) -> None:
    for call in (objects.get, objects.delete, objects.size, objects.uri):
        with pytest.raises(LakeError, match="expected names of letters"):
            call(path)
    with pytest.raises(LakeError, match="expected names of letters"):
        objects.put(path, b"")
    with pytest.raises(LakeError, match="expected names of letters"):
        objects.tail(path, 1)
    if path:
        with pytest.raises(LakeError, match="expected names of letters"):
            objects.list(path)


def test_a_store_can_be_sent_to_another_process(objects: ObjectStore) -> None:
    objects.put("a.bin", b"x")
    assert pickle.loads(pickle.dumps(objects)).get("a.bin") == b"x"  # noqa: S301 (our own bytes)


# --- the local folder ---


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


_WRITER = """
import sys
from pathlib import Path
from conversation_analytics.lake.objects import LocalObjects
root, *versions = map(Path, sys.argv[1:])
data = [version.read_bytes() for version in versions]
objects = LocalObjects(root)
print("ready", flush=True)
while True:
    for version in data:
        objects.put("messages/year=2026/month=11/day=22/part-000.parquet", version)
"""


def test_killing_a_writer_leaves_a_whole_object_and_no_litter(tmp_path: Path) -> None:
    lake = Lake(LocalObjects(tmp_path / "lake"))
    frames = [message_rows(20_000, version=version) for version in "ab"]
    files = []
    for number, frame in enumerate(frames):
        file = tmp_path / f"{number}.parquet"
        options = ParquetOptions(compression="none")
        file.write_bytes(encode(frame, MESSAGES, options, {"partition": "2026-11-22"}))
        files.append(str(file))
    lake.write(MESSAGES, "2026-11-22", frames[0])
    chance = random.Random(5)
    for _ in range(10):
        command = [sys.executable, "-c", _WRITER, str(tmp_path / "lake"), *files]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.0, 0.06))
            writer.send_signal(signal.SIGKILL)
        found = lake.read(MESSAGES, "2026-11-22")
        assert any(found.equals(frame) for frame in frames)
    lake.write(MESSAGES, "2026-11-22", message_rows(1))
    folder = tmp_path / "lake/messages/year=2026/month=11/day=22"
    assert _names(folder) == ["part-000.parquet"]


def test_only_the_temporaries_of_dead_writers_are_removed(tmp_path: Path) -> None:
    dead, living = tmp_path / ".x.bin.1-1-0.tmp", tmp_path / ".x.bin.2-2-0.tmp"
    dead.write_bytes(b"")
    with living.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        LocalObjects(tmp_path).put("x.bin", b"x")
        assert not dead.exists()
        assert living.exists()
    assert [info.path for info in LocalObjects(tmp_path).list("")] == ["x.bin"]


def test_many_writers_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def write(number: int) -> None:
        objects = LocalObjects(tmp_path)
        try:
            for round_ in range(20):
                objects.put(f"folder/{number % 3}.bin", bytes([number, round_]))
        except (LakeError, LakeUnavailableError) as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert _names(tmp_path / "folder") == ["0.bin", "1.bin", "2.bin"]


_FULL_DISK = """
import resource, sys
from pathlib import Path
from conversation_analytics.core.errors import LakeError
from conversation_analytics.lake.objects import LocalObjects
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    LocalObjects(Path(sys.argv[1])).put("x.bin", bytes(200_000))
except LakeError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_object_and_says_what_to_do(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("x.bin", b"old")
    said = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)], check=True, capture_output=True
    ).stdout.decode()
    assert "File too large" in said
    assert "PARQUET_BASE_DIR" in said
    assert objects.get("x.bin") == b"old"
    assert _names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_failure_in_any_step_leaves_the_old_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("x.bin", b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(LakeUnavailableError, match=r"cannot write .*x\.bin: Input/output"):
            objects.put("x.bin", b"new")
    assert objects.get("x.bin") == b"old"
    assert _names(tmp_path) == ["x.bin"]


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("a", b"")
    with pytest.raises(LakeError, match="a file stands where a folder should"):
        objects.put("a/b", b"")
    with pytest.raises(LakeError, match="a file stands where a folder should"):
        objects.get("a/b")


_READ_ONLY = """
import os, sys
from pathlib import Path
from conversation_analytics.core.errors import LakeError
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.lake.store import open_lake
from conversation_analytics_tests.lake.frames import message_rows
lake = open_lake(Path(sys.argv[1]))
lake.write(MESSAGES, "2026-11-22", message_rows(3))
for folder, _, files in os.walk(sys.argv[1]):
    os.chmod(folder, 0o555)
if os.getuid() == 0:  # who may write anywhere
    os.setgroups([])
    os.setuid(65534)
assert lake.read(MESSAGES, "2026-11-22").height == 3
assert not lake.write(MESSAGES, "2026-11-22", message_rows(3)).changed
try:
    lake.write(MESSAGES, "2026-11-22", message_rows(4))
except LakeError as error:
    print(error)
assert lake.read(MESSAGES, "2026-11-22").height == 3
"""


def test_a_read_only_lake_is_readable_and_says_what_to_do() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are root's alone
        folder = Path(name)
        folder.chmod(0o755)
        command = [sys.executable, "-c", _READ_ONLY, str(folder / "lake")]
        said = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
    assert "Permission denied; give this user access to PARQUET_BASE_DIR" in said


# --- S3 ---

SECRETS = ("AKIAMADEUPKEY", "made-up-secret")


@pytest.mark.s3
def test_wrong_keys_are_told_at_once_and_not_shown(s3_config: S3Config) -> None:
    wrong = {"access_key_id": SECRETS[0], "secret_access_key": SECRETS[1]}
    objects = S3Objects(dataclasses.replace(s3_config, **wrong))  # type: ignore[arg-type]
    start = time.monotonic()
    for call in (
        lambda: objects.put("a", b""), lambda: objects.get("a"), lambda: objects.list("a"),
        lambda: objects.size("a"), lambda: objects.delete("a"), lambda: objects.tail("a", 1),
    ):  # fmt: skip
        with pytest.raises(LakeError, match=r"403.*AWS_ACCESS_KEY_ID") as refusal:
            call()
        assert not any(secret in str(refusal.value) for secret in SECRETS)
        assert refusal.value.__suppress_context__
    assert time.monotonic() - start < 10


@pytest.mark.s3
def test_a_missing_bucket_is_told(s3_config: S3Config) -> None:
    objects = S3Objects(dataclasses.replace(s3_config, bucket="no-such-bucket"))
    with pytest.raises(LakeError, match="NoSuchBucket; check S3_BUCKET"):
        objects.get("a")


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    config = S3Config(
        "analytics",
        endpoint_url="http://127.0.0.1:1",
        access_key_id=SECRETS[0],
        secret_access_key=SECRETS[1],
        max_retries=1,
    )
    objects = S3Objects(config)
    for call in (lambda: objects.put("a", b""), lambda: objects.get("a"), lambda: objects.list("")):
        with pytest.raises(LakeUnavailableError, match=r"no answer from .* S3_ENDPOINT_URL"):
            call()


def test_credentials_are_never_shown() -> None:
    config = S3Config("analytics", "/p/", "http://127.0.0.1:1", *SECRETS)
    objects = S3Objects(config)
    shown = f"{config!r} {objects!r} {objects.describe()} {Lake(objects)!r}"
    assert not any(secret in shown for secret in SECRETS)
    assert objects.uri("a/b") == "s3://analytics/p/a/b"
    assert objects.describe()["root"] == "s3://analytics/p"


def test_half_a_configuration_is_refused() -> None:
    with pytest.raises(SettingsError, match="S3_BUCKET"):
        S3Config("")
    with pytest.raises(SettingsError, match="expected both or neither"):
        S3Config("b", access_key_id="a")
    with pytest.raises(LakeError, match="expected names of letters"):
        S3Objects(S3Config("b", prefix="a/../b"))


def test_importing_the_lake_is_cheap() -> None:
    code = """
import sys, conversation_analytics.lake.store
print({'obstore', 'pyarrow', 'pandas', 'duckdb'} & set(sys.modules))
"""
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, check=True, capture_output=True).stdout
    assert loaded == b"set()\n"
