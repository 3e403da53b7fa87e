"""Two runs on one partition: the later publication over the same beginning is refused."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from polars.testing import assert_frame_equal

from conversation_analytics.core.errors import LakeError, LakeUnavailableError
from conversation_analytics.core.partitions import PartitionReplacedError
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.lake.encoding import ParquetOptions
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Config, S3Objects
from conversation_analytics.lake.store import Lake
from conversation_analytics_tests.lake.frames import message_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from conversation_analytics.lake.objects import ObjectStore

DAY = "2026-11-22"
FIRST = "messages/year=2026/month=11/day=22/part-000.parquet"
ONE = ParquetOptions()
SPLIT = ParquetOptions(max_records_per_file=40)


def rows(version: str) -> pl.DataFrame:
    return message_rows(100, version=version)


@pytest.mark.parametrize("before", [["old"], []], ids=["replaced", "new"])
@pytest.mark.parametrize("options", [ONE, SPLIT], ids=["one", "several"])
def test_who_began_before_another_run_published_is_refused(
    objects: ObjectStore, options: ParquetOptions, before: list[str]
) -> None:
    lake = Lake(objects, options)
    for version in before:
        lake.write(MESSAGES, DAY, rows(version))
    late = lake.begin(MESSAGES, DAY)
    lake.write(MESSAGES, DAY, rows("new"), lake.begin(MESSAGES, DAY))
    with pytest.raises(PartitionReplacedError, match=r"part-000.*another run.*run this partition"):
        lake.write(MESSAGES, DAY, rows("late"), late)
    assert_frame_equal(lake.read(MESSAGES, DAY), rows("new"))
    # Run again, it begins with what is there, publishes, and removes what it left before.
    assert lake.write(MESSAGES, DAY, rows("late"), lake.begin(MESSAGES, DAY)).changed
    assert len(objects.list("messages")) == len(lake.scan_paths(MESSAGES))


def test_the_same_rows_twice_are_no_conflict(objects: ObjectStore) -> None:
    lake = Lake(objects, SPLIT)
    since = lake.begin(MESSAGES, DAY)
    assert lake.write(MESSAGES, DAY, rows("new"), since).changed
    assert not lake.write(MESSAGES, DAY, rows("new"), since).changed


def test_a_swap_that_was_done_already_is_done(objects: ObjectStore) -> None:
    # As where the answer to a put was lost and the client tried again.
    version = objects.swap("t/a.bin", b"new", None)
    assert objects.swap("t/a.bin", b"new", None) == version == objects.version("t/a.bin")
    later = objects.swap("t/a.bin", b"other", version)
    assert later != version
    with pytest.raises(PartitionReplacedError):
        objects.swap("t/a.bin", b"new", version)
    with pytest.raises(PartitionReplacedError):
        objects.swap("t/a.bin", b"new", None)
    objects.delete("t/a.bin")
    assert objects.version("t/a.bin") is None
    with pytest.raises(PartitionReplacedError):
        objects.swap("t/a.bin", b"new", later)
    assert objects.get("t/a.bin") is None


def test_of_many_swaps_over_one_version_one_succeeds(objects: ObjectStore) -> None:
    objects.put("t/a.bin", b"0")
    for round_ in range(5):
        seen = objects.version("t/a.bin")
        won: list[bytes] = []

        def swap(data: bytes, seen: str | None = seen, won: list[bytes] = won) -> None:
            try:
                objects.swap("t/a.bin", data, seen)
            except PartitionReplacedError:
                return
            won.append(data)

        threads = [threading.Thread(target=swap, args=(b"%d %d" % (round_, n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [objects.get("t/a.bin")] == won


def test_nobody_tidies_up_after_a_later_writer(objects: ObjectStore) -> None:
    objects.put("t/extra.bin", b"x")
    mine = objects.swap("t/a.bin", b"mine", None)
    theirs = objects.swap("t/a.bin", b"theirs", mine)
    objects.delete_while(["t/extra.bin"], "t/a.bin", mine)
    assert objects.get("t/extra.bin") == b"x"
    objects.delete_while(["t/extra.bin", "t/none.bin"], "t/a.bin", theirs)
    assert objects.get("t/extra.bin") is None


def test_an_object_that_the_writer_before_removed_is_put_again(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(objects, SPLIT)
    swap = objects.swap

    def swap_and_lose(path: str, data: bytes, seen: str | None) -> str:
        for info in objects.list("messages"):
            objects.delete(info.path)
        return swap(path, data, seen)

    monkeypatch.setattr(objects, "swap", swap_and_lose)
    lake.write(MESSAGES, DAY, rows("new"))
    assert_frame_equal(lake.read(MESSAGES, DAY), rows("new"))


def test_versions_of_one_file_never_come_again(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    version = objects.swap("t/a.bin", b"old", None)
    # A clock that stands still, as the kernel's does for milliseconds, or goes back.
    ahead = (tmp_path / "t/a.bin").stat().st_mtime_ns + 3_600_000_000_000
    os.utime(tmp_path / "t/a.bin", ns=(ahead, ahead))
    version = objects.version("t/a.bin") or version
    for number in range(3):
        version = objects.swap("t/a.bin", b"%03d" % number, version)
        assert (tmp_path / "t/a.bin").stat().st_mtime_ns == ahead + number + 1
        assert objects.version("t/a.bin") == version


def test_a_lock_that_is_held_for_long_is_a_transient_error(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path, lock_timeout_s=0.2)
    version = objects.swap("t/a.bin", b"old", None)
    with (
        LocalObjects(tmp_path)._locked("t/a.bin"),
        pytest.raises(LakeUnavailableError, match=r"\.lock for 0\.2 s; if it is stopped"),
    ):
        objects.swap("t/a.bin", b"new", version)
    assert objects.get("t/a.bin") == b"old"
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [".lock", "a.bin"]


@pytest.mark.s3
def test_a_put_whose_answer_is_lost_is_published_once(s3_config: S3Config) -> None:
    server = urlsplit(str(s3_config.endpoint_url))
    listening = socket.create_server(("127.0.0.1", 0))
    lost: list[bytes] = []

    def serve() -> None:
        while True:
            with (
                listening.accept()[0] as client,
                socket.create_connection((str(server.hostname), server.port or 80)) as upstream,
            ):
                client.settimeout(0.3)
                request = b""
                try:
                    while piece := client.recv(65536):
                        request += piece
                except TimeoutError:
                    pass
                upstream.sendall(request)
                answer = upstream.recv(65536)
                if request.startswith(b"PUT") and not lost:
                    lost.append(answer)
                else:
                    client.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    # The server checks signatures, so that the host must be the one that was signed.
    through = S3Objects(
        dataclasses.replace(
            s3_config, endpoint_url=f"http://127.0.0.1:{listening.getsockname()[1]}"
        )
    )
    version = through.swap("t/a.bin", b"new", None)
    assert lost[0].startswith(b"HTTP/1.1 200")
    assert version == S3Objects(s3_config).version("t/a.bin")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("429 Too Many Requests", LakeUnavailableError),
        ("408 Request Timeout", LakeUnavailableError),
        ("409 Conflict", LakeUnavailableError),
        ("503 Slow Down", LakeUnavailableError),
        ("400 Bad Request", LakeError),
        ("501 Not Implemented", LakeError),
    ],
)
def test_a_server_that_is_busy_is_a_transient_error(answer: str, error: type[Exception]) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            with listening.accept()[0] as client:
                client.recv(65536)
                head = f"HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                client.sendall(head.encode())
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):  # or the unread body would reset the connection
                    pass

    threading.Thread(target=serve, daemon=True).start()
    port = listening.getsockname()[1]
    objects = S3Objects(S3Config("b", "", f"http://127.0.0.1:{port}", "key", "secret",
                                 max_retries=1))  # fmt: skip
    calls: list[Callable[[], object]] = [
        lambda: objects.put("a", b"x"),
        lambda: objects.get("a"),
        lambda: objects.swap("a", b"x", None),
    ]
    for call in calls:
        with pytest.raises(error, match=answer[:3]):
            call()


# --- two processes, one of them stopped ---

_RUN = """
import os, signal, sys
from pathlib import Path
from conversation_analytics.core.schemas import MESSAGES
from conversation_analytics.lake.encoding import ParquetOptions
from conversation_analytics.lake.objects import LocalObjects
from conversation_analytics.lake.s3 import S3Config, S3Objects
from conversation_analytics.lake.store import Lake
from conversation_analytics_tests.lake.frames import message_rows
stop_in, per_file, *place = sys.argv[1:]
objects = LocalObjects(Path(place[0])) if len(place) == 1 else S3Objects(S3Config(*place))
kind = type(objects)

def stopping(name):
    method = getattr(kind, name)
    def stops(self, *arguments):
        os.kill(os.getpid(), signal.SIGSTOP)
        return method(self, *arguments)
    setattr(kind, name, stops)

lake = Lake(objects, ParquetOptions(max_records_per_file=int(per_file)))
since = lake.begin(MESSAGES, "2026-11-22")
stopping(stop_in)
try:
    lake.write(MESSAGES, "2026-11-22", message_rows(100, version="stopped"), since)
except Exception as error:
    print(type(error).__name__, error)
else:
    print("published")
"""


def _stopped(stop_in: str, per_file: int, place: list[str]) -> subprocess.Popen[str]:
    """Start a run that stops itself in the middle of publishing; return when it has."""
    command = [sys.executable, "-c", _RUN, stop_in, str(per_file), *place]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status
    return process


@pytest.mark.parametrize("per_file", [1000, 40])
@pytest.mark.parametrize("stop_in", ["list", "swap"])
def test_a_run_that_was_stopped_and_goes_on_changes_nothing(
    request: pytest.FixtureRequest, objects: ObjectStore, stop_in: str, per_file: int
) -> None:
    if isinstance(objects, LocalObjects):
        place = [str(objects.root)]
    else:
        config: S3Config = request.getfixturevalue("s3_config")
        place = [config.bucket, config.prefix, str(config.endpoint_url),
                 str(config.access_key_id), str(config.secret_access_key)]  # fmt: skip
        assert isinstance(objects, S3Objects)
    lake = Lake(objects, ParquetOptions(max_records_per_file=per_file))
    lake.write(MESSAGES, DAY, rows("old"))
    process = _stopped(stop_in, per_file, place)
    try:
        lake.write(MESSAGES, DAY, rows("new"))
        published = objects.get(FIRST)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert said.startswith("PartitionReplacedError"), said
    assert objects.get(FIRST) == published
    assert_frame_equal(lake.read(MESSAGES, DAY), rows("new"))


def test_a_run_stopped_while_tidying_up_leaves_the_next_runs_objects(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(objects, SPLIT)
    lake.write(MESSAGES, DAY, rows("a"))

    waiting: list[tuple[list[str], str, str]] = []

    def later(paths: list[str], path: str, version: str) -> None:
        waiting.append((paths, path, version))

    with monkeypatch.context() as patch:
        patch.setattr(objects, "delete_while", later)
        lake.write(MESSAGES, DAY, rows("b"))
    lake.write(MESSAGES, DAY, rows("a"))  # the very objects that the paused run is to remove
    for call in waiting:
        objects.delete_while(*call)
    assert len(waiting) == 1
    assert_frame_equal(lake.read(MESSAGES, DAY), rows("a"))
