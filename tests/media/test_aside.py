"""Files written aside: whole or not there, whatever happens on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lipscore.errors import MissingError
from lipscore.media.files.aside import replace_whole, written_aside


def test_the_target_is_replaced_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "numbers.csv"
    with written_aside(target) as aside:
        assert (aside.parent.parent, aside.suffix) == (target.parent, ".csv")
        aside.write_text("new")
        assert not target.exists()
    replace_whole(target, b"newer")
    assert target.read_text() == "newer"
    assert list(target.parent.iterdir()) == [target]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), written_aside(target) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_block_that_writes_nothing_makes_no_file(tmp_path: Path) -> None:
    with written_aside(tmp_path / "file"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_mode_is_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_whole(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_an_obstacle_at_the_target_is_reported(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(MissingError, match=r"folder: is a directory.*rmdir folder && touch folder"):
        replace_whole(tmp_path / "folder", b"x")
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="is a file, not a folder"):
        replace_whole(tmp_path / "file" / "target", b"x")


def test_a_disk_that_fills_up_is_the_targets_trouble(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"target: the disk is full"), written_aside(tmp_path / "target"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())
