"""Which reference, boxes or sound is whose: by path, by a stem that is nobody else's, or an error; never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lipscore.errors import MissingError, UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.options import InputOptions, ModelOptions, RunOptions
from lipscore.eval.reference import missing_reference
from lipscore.eval.run.batch import find_jobs
from lipscore.eval.run.inputs.partners import Kind, partners
from lipscore.eval.run.inputs.paths import Found, collect
from lipscore.syncnet.protocols import PROTOCOLS

VIDEOS = Kind("reference", "reference", (".mp4", ".mkv", ".mov"))


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def matched(inputs: Path, place: Path) -> dict[str, str]:
    found = partners(collect([inputs], [place]), place, VIDEOS)
    return {str(a.relative_to(inputs)): str(b.relative_to(place)) for a, b in found.items()}


def test_a_partner_has_the_path_below_the_input(tmp_path: Path) -> None:
    inputs = touched(tmp_path / "in", "c.mp4", "x/c.mp4", "x/y/c.mov", "a talk.v2.mp4", "d.mp4", "only.mp4")
    place = touched(tmp_path / "ref", "c.mkv", "x/c.mp4", "x/y/c.MOV", "a talk.v2.MKV", "a talk.mov", "e.mp4")
    assert matched(inputs, place) == {
        "c.mp4": "c.mkv",
        "x/c.mp4": "x/c.mp4",
        "x/y/c.mov": "x/y/c.MOV",
        "a talk.v2.mp4": "a talk.v2.MKV",
    }


def test_a_stem_that_is_nobody_elses_is_enough(tmp_path: Path) -> None:
    inputs = touched(tmp_path / "in", "x/a.mp4", "y/b.mp4")
    place = touched(tmp_path / "ref", "a.mp4", "deep/b.mkv", ".hidden/a.mkv", "notes.txt")
    assert matched(inputs, place) == {"x/a.mp4": "a.mp4", "y/b.mp4": "deep/b.mkv"}


def test_what_is_one_videos_by_its_path_is_no_others_by_its_stem(tmp_path: Path) -> None:
    inputs = touched(tmp_path / "in", "c.mp4", "x/c.mp4")
    assert matched(inputs, touched(tmp_path / "ref", "c.mp4")) == {"c.mp4": "c.mp4"}


@pytest.mark.parametrize(
    ("videos", "there", "said"),
    [
        (["x/c.mp4", "y/c.mp4"], ["c.mp4"], ("ref/c.mp4", "in/x/c.mp4 and", "in/y/c.mp4")),
        (["x/c.mp4"], ["a/c.mp4", "b/c.mp4"], ("in/x/c.mp4", "ref/a/c.mp4 and", "ref/b/c.mp4")),
        (["c.mp4"], ["c.mp4", "c.mkv"], ("in/c.mp4", "ref/c.mp4", "ref/c.mkv")),
    ],
)
def test_what_could_be_two_is_an_error_that_names_them(
    tmp_path: Path, videos: list[str], there: list[str], said: tuple[str, ...]
) -> None:
    inputs, place = touched(tmp_path / "in", *videos), touched(tmp_path / "ref", *there)
    with pytest.raises(UsageError) as caught:
        matched(inputs, place)
    assert all(part in str(caught.value) for part in said), str(caught.value)


def test_a_file_is_for_one_video_and_nothing_is_an_error(tmp_path: Path) -> None:
    touched(tmp_path, "a.mp4", "b.mp4", "ref.mkv")
    a, b = (Found(tmp_path / name, tmp_path, name) for name in ("a.mp4", "b.mp4"))
    assert partners([a], tmp_path / "ref.mkv", VIDEOS) == {a.path: tmp_path / "ref.mkv"}
    with pytest.raises(UsageError, match="for one video, and there are 2"):
        partners([a, b], tmp_path / "ref.mkv", VIDEOS)
    with pytest.raises(MissingError, match="no such file or folder"):
        partners([a], tmp_path / "nowhere", VIDEOS)


def test_boxes_are_of_the_videos_path_in_every_shard(tmp_path: Path) -> None:
    inputs = touched(tmp_path / "in", "x/c.mp4", "y/c.mp4", "z/lone.mp4")
    boxes = touched(tmp_path / "boxes", "x/c.json", "lone.json")
    asked, models = InputOptions((inputs,)), ModelOptions(detections=boxes)
    jobs = find_jobs(asked, models, RunOptions(), PROTOCOLS["wav2lip"])
    there = [boxes / "x/c.json", boxes / "y/c.json", boxes / "lone.json"]
    assert [job.boxes for job in jobs] == there
    parts = [find_jobs(asked, models, RunOptions(shard=f"{i}/2"), PROTOCOLS["wav2lip"]) for i in (1, 2)]
    assert [job.boxes for job in parts[0]] + [job.boxes for job in parts[1]] == [there[0], there[2], there[1]]


def test_a_video_without_a_reference_says_where_it_was_sought(tmp_path: Path) -> None:
    missing = missing_reference(tmp_path / "third.mp4", tmp_path / "ref")
    assert (missing.status, missing.psnr, missing.alignment) == ("no_reference", None, None)
    assert "third" in missing.reason and "ref" in missing.reason


def test_the_command_refuses_a_reference_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touched(tmp_path, "a.mp4", "b.mp4", "ref/c.mp4")
    run = ["score", "a.mp4", "--model", "mini", "--reference"]
    ended = CliRunner().invoke(app, [*run, "nope"])
    assert ended.exit_code == 3 and "--reference nope: no such file or folder" in ended.output
    ended = CliRunner().invoke(app, [*run, "ref/c.mp4", "b.mp4"])
    assert ended.exit_code == 2 and "for one video" in ended.output
    ended = CliRunner().invoke(app, [*run, "ref"])
    assert ended.exit_code == 1 and "ref: contains no reference for any of the 1 videos" in ended.output
