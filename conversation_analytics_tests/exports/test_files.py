"""What stands under the final name, whatever happens on the way there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from conversation_analytics.core.errors import ExportError
from conversation_analytics.exports.files import new_file, new_folder

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a.json", "b.json")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    with new_file(target, overwrite=False) as sink:
        sink.write(b"half")
        sink.flush()
        assert not target.exists()
    assert target.read_bytes() == b"half"
    assert names_in(tmp_path) == ["out.csv"]


def test_an_interrupted_file_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_bytes(b"before")

    def interrupted() -> None:
        with new_file(target, overwrite=True) as sink:
            sink.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == b"before"
    assert names_in(tmp_path) == ["out.csv"]


def test_a_taken_name_is_refused_unless_it_is_to_be_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_bytes(b"before")
    with pytest.raises(ExportError, match="--overwrite"), new_file(target, overwrite=False):
        pytest.fail("it was written")
    with new_file(target, overwrite=True) as sink:
        sink.write(b"after")
    assert target.read_bytes() == b"after"


def test_a_name_taken_meanwhile_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"

    def overtaken() -> None:
        with new_file(target, overwrite=False) as sink:
            sink.write(b"ours")
            target.write_bytes(b"theirs")

    with pytest.raises(ExportError):
        overtaken()
    assert target.read_bytes() == b"theirs"
    assert names_in(tmp_path) == ["out.csv"]


def test_a_folder_or_no_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "none" / "out.csv"):
        with pytest.raises(ExportError), new_file(target, overwrite=True):
            pytest.fail("it was written")


@pytest.mark.parametrize("overwrite", [False, True])
def test_links_and_pipes_are_left_as_they_are(tmp_path: Path, overwrite: bool) -> None:  # noqa: FBT001
    pipe, link, dangling = tmp_path / "pipe", tmp_path / "link", tmp_path / "dangling"
    (tmp_path / "file").write_bytes(b"before")
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "file")
    dangling.symlink_to(tmp_path / "none")
    for target, told in ((pipe, "a pipe"), (link, "a link"), (dangling, "a link")):
        with (
            pytest.raises(ExportError, match=f"{told}, which was left .* another name"),
            new_file(target, overwrite=overwrite),
        ):
            pytest.fail("it was written")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert link.read_bytes() == b"before"
    assert names_in(tmp_path) == ["dangling", "file", "link", "pipe"]


def test_a_link_made_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"

    def overtaken() -> None:
        with new_file(target, overwrite=True):
            target.symlink_to(tmp_path / "none")

    with pytest.raises(ExportError, match="a link"):
        overtaken()
    assert target.is_symlink()
    assert names_in(tmp_path) == ["out.csv"]


def test_a_file_for_its_owner_is_nobody_elses_even_where_there_was_one(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.touch(0o644)
    with new_file(target, overwrite=True, mode=0o600) as sink:
        sink.write(b"after")
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_folder_appears_whole_and_is_overwritten_whole(tmp_path: Path) -> None:
    target = tmp_path / "corpus"
    for overwrite in (False, True):
        with new_folder(target, NAMES, overwrite=overwrite) as folder:
            (folder / ("b.json" if overwrite else "a.json")).touch()
            assert (target.exists()) == overwrite
    assert names_in(target) == ["b.json"]
    assert names_in(tmp_path) == ["corpus"]
    with (
        pytest.raises(ExportError, match="--overwrite"),
        new_folder(target, NAMES, overwrite=False),
    ):
        pytest.fail("it was written")


def test_an_interrupted_folder_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "corpus"
    target.mkdir()
    (target / "a.json").touch()

    def interrupted() -> None:
        with new_folder(target, NAMES, overwrite=True) as folder:
            (folder / "b.json").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names_in(target) == ["a.json"]
    assert names_in(tmp_path) == ["corpus"]


def test_a_folder_of_something_else_is_never_overwritten(tmp_path: Path) -> None:
    home, link, file = tmp_path / "home", tmp_path / "link", tmp_path / "file"
    home.mkdir()
    (home / "letters.txt").touch()
    link.symlink_to(home)
    file.touch()
    for target in (home, link, file):
        with pytest.raises(ExportError), new_folder(target, NAMES, overwrite=True):
            pytest.fail("it was written")
    assert names_in(home) == ["letters.txt"]
    assert names_in(tmp_path) == ["file", "home", "link"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    target = tmp_path / "corpus"
    target.mkdir()
    with new_folder(target, NAMES, overwrite=False) as folder:
        (folder / "a.json").touch()
    assert names_in(target) == ["a.json"]
