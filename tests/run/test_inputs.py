"""What was named on the command line: which videos, under which names, in which shard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lipscore.errors import MissingError, UsageError
from lipscore.eval.run.inputs.paths import collect, shard_of


def test_a_folder_means_the_videos_in_it_and_below(tmp_path: Path) -> None:
    for name in (
        "b.mp4",
        "a.AVI",
        "notes.txt",
        ".hidden.mp4",
        ".git/x.mp4",
        "reference/b.mp4",
        "sub/b.mp4",
        "sub/reference/c.mov",
        "refs/b.mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "sub" / "round").symlink_to(tmp_path)
    found = collect([tmp_path], [tmp_path / "refs"])
    paths = [str(video.path.relative_to(tmp_path)) for video in found]
    assert paths == ["a.AVI", "b.mp4", "sub/b.mp4", "sub/reference/c.mov"]
    assert [video.name for video in found] == ["a", "b.mp4", "sub/b.mp4", "c"]


def test_a_url_is_a_problem_for_commands_that_fetch_none(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    url, here = collect([Path("https://h/a.mp4"), tmp_path / "a.mp4"], local=True)
    assert url.problem.startswith("is a URL") and not here.problem
    with pytest.raises(MissingError, match=r"nothing to score: https://h/a\.mp4: is a URL"):
        collect([Path("https://h/a.mp4")], local=True)


def test_urls_that_differ_in_host_or_query_have_names_of_their_own() -> None:
    urls = ["https://h1/a.mp4", "https://h2/a.mp4", "https://h2/a.mp4?v=2", "https://h1/b.mp4"]
    found = collect([Path(url) for url in urls])
    assert [video.name for video in found] == [*urls[:3], "b"]


def test_names_are_unique_whatever_is_given(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("x/a.mp4", "y/a.mp4", "x/a.avi", "z/odd", "x/-q.mp4")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = collect([tmp_path / "x", tmp_path / "y", *paths])
    assert [video.path for video in found] == [paths[4], paths[2], paths[0], paths[1], paths[3]]
    names = [video.name for video in found]
    assert len(set(names)) == 5 and names[0] == "-q" and names[1] == "a.avi" and names[4] == "odd"


def test_missing_inputs_are_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.mp4").touch()
    with pytest.raises(MissingError, match=r"gone: no such file or folder; .*empty: contains no video"):
        collect([tmp_path / "gone", tmp_path / "empty"])
    found = collect([tmp_path / "gone", tmp_path / "a.mp4"])
    assert [bool(video.problem) for video in found] == [True, False]


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(place: Path, onerror: Callable[[OSError], None], followlinks: bool) -> list[object]:
        onerror(PermissionError(13, "Permission denied", str(place)))
        return []

    monkeypatch.setattr(os, "walk", refused)  # root may read everything
    with pytest.raises(MissingError, match=r"cannot be read \(Permission denied\)"):
        collect([tmp_path])


def test_shards_are_all_videos_once(tmp_path: Path) -> None:
    for k in range(10):
        (tmp_path / f"{k}.mp4").touch()
    found = collect([tmp_path])
    shards = [shard_of(found, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(video.name for shard in shards for video in shard) == [str(k) for k in range(10)]
    for wrong in ("0/3", "4/3", "1", "a/b", "-1/3"):
        with pytest.raises(UsageError, match="--shard"):
            shard_of(found, wrong)
