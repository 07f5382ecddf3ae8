"""lipscore merge: shards together are the run they were cut from, whatever is there twice or missing is noticed."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lipscore.errors import MissingError, UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.store.merge import merge
from lipscore.eval.store.records import Record, RecordStore, hash_of, read_records
from lipscore.eval.store.scores_file import read_scores
from lipscore.types import TrackScore, VideoScore


def record(name: str, lse_d: float = 7.0, *, content: str = "", settings: str = "s", **changes: Any) -> Record:
    """A video's record; another content is another video, as its key says."""
    track = TrackScore(0, 0, 133, -2, lse_d, 6.5, 129, (7.0,) * 31)
    score = VideoScore(
        video=f"in/{name}.mp4",
        name=name,
        sha256=hash_of([content or name]),
        status="ok",
        reason="",
        protocol="wav2lip",
        model="vgg",
        comparable=True,
        tracks=(track,),
        lse_d=lse_d,
        lse_c=6.5,
        offset=-2,
    )
    return Record(replace(score, **changes), settings, hash_of([settings, content or name]))


FAILED: dict[str, Any] = {
    "status": "media_error",
    "reason": "broken",
    "tracks": (),
    "lse_d": None,
    "lse_c": None,
    "offset": None,
}


def wrote(folder: Path, *records: Record, manifest: str = "run.json", settings: str = "s", **changes: Any) -> Path:
    """An --out folder as `lipscore score` leaves it."""
    store = RecordStore(folder)
    for one in records:
        store.append(one)
    content = {
        "schema": 1,
        "python": "3.12.3",
        "device": {"name": "cuda:0"},
        "command": ["lipscore", "score"],
        "started": "2026-01-01T10:00:00+00:00",
        "finished": "2026-01-01T11:00:00+00:00",
        "interrupted": False,
        "resumed": 0,
        "protocol": {"name": "wav2lip", "hash": "aa"},
        "weights": [{"name": "syncnet_v2.model", "path": "/w", "sha256": "bb", "verified": True}],
        "settings": settings,
        "videos": len(records),
        "not_reached": 0,
    }
    (folder / manifest).write_text(json.dumps(content | changes))
    return folder


def names(out: Path) -> list[str]:
    records, problems = read_records(out / "scores.jsonl")
    assert not problems
    return [one.score.name for one in records]


def test_shards_together_are_the_run_they_were_cut_from(tmp_path: Path) -> None:
    videos = [record(f"v{index}", 7 + index / 10) for index in range(7)]
    shards = [
        wrote(tmp_path / str(i), *videos[i - 1 :: 3], manifest=f"run-{i}-of-3.json", resumed=i) for i in (1, 2, 3)
    ]
    merged = merge(shards[::-1], tmp_path / "all", ["lipscore", "merge"])
    assert merged.records == tuple(videos)
    assert not merged.warnings
    assert read_records(tmp_path / "all" / "scores.jsonl")[0] == videos
    with (tmp_path / "all" / "scores.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [one.score.name for one in videos]
    rows = read_scores(tmp_path / "all" / "all_scores.txt").rows
    assert [(row.name, row.lse_d) for row in rows] == [(one.score.name, one.score.lse_d) for one in videos]
    run = json.loads((tmp_path / "all" / "run.json").read_text())
    assert (run["videos"], run["scored"], run["not_reached"], run["resumed"]) == (7, 7, 0, 6)
    assert run["means_over_rows"]["lse_d"] == {"mean": pytest.approx(7.3), "n": 7}
    assert run["protocol"] == {"name": "wav2lip", "hash": "aa"}
    assert run["command"] == ["lipscore", "merge"]
    assert len(run["merged"]) == 3


def test_every_piece_of_a_video_is_kept(tmp_path: Path) -> None:
    pieces = {
        stem: [
            record(f"{stem}@{at}.00-{at + 4}.00", content=f"{stem}{at}", video=f"in/{stem}.mp4", piece=(at, at + 4.0))
            for at in (8.0, 0.0, 12.0, 4.0)
        ]
        for stem in "ab"
    }
    folders = [wrote(tmp_path / stem, *found) for stem, found in pieces.items()]
    assert len(merge(folders, tmp_path / "all").records) == 8
    assert [(one.score.video, one.score.piece) for one in read_records(tmp_path / "all" / "scores.jsonl")[0]] == [
        (f"in/{stem}.mp4", (at, at + 4)) for stem in "ab" for at in (0, 4, 8, 12)
    ]


def test_shards_may_share_a_folder(tmp_path: Path) -> None:
    for i, name in ((1, "a"), (2, "b")):
        wrote(tmp_path / "shared", record(name), manifest=f"run-{i}-of-2.json")
    merged = merge([tmp_path / "shared"], tmp_path / "all")
    assert names(tmp_path / "all") == ["a", "b"]
    assert not merged.warnings


def test_what_differs_between_machines_is_kept_apart(tmp_path: Path) -> None:
    one = wrote(tmp_path / "1", record("a"), started="2026-01-01T09:00:00+00:00")
    two = wrote(tmp_path / "2", record("b"), device={"name": "cpu"}, interrupted=True, settings="s")
    run = merge([one, two], tmp_path / "all").manifest
    assert run["python"] == "3.12.3"
    assert "device" not in run
    assert [part["device"]["name"] for part in run["merged"]] == ["cuda:0", "cpu"]
    assert (run["started"], run["interrupted"]) == ("2026-01-01T09:00:00+00:00", True)


def test_no_row_twice(tmp_path: Path) -> None:
    one = wrote(tmp_path / "1", record("a"), record("b"))
    two = wrote(tmp_path / "2", record("b"), record("c"))
    for _ in range(2):  # merging again replaces the merge
        merge([one, two, one], tmp_path / "all")
        assert names(tmp_path / "all") == ["a", "b", "c"]
        assert [row.name for row in read_scores(tmp_path / "all" / "all_scores.txt").rows] == ["a", "b", "c"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_score_counts_more_than_a_failure(tmp_path: Path, order: tuple[int, int]) -> None:
    folders = [
        wrote(tmp_path / "1", replace(record("a", **FAILED), key="")),
        wrote(tmp_path / "2", record("a")),
    ]
    merged = merge([folders[index] for index in order], tmp_path / "all")
    assert [one.score.status for one in merged.records] == ["ok"]
    assert "#" not in (tmp_path / "all" / "all_scores.txt").read_text().split("  # ")[0]


def test_a_later_record_of_a_folder_replaces_an_earlier_one(tmp_path: Path) -> None:
    folder = wrote(tmp_path / "1", record("a", 9.0, content="before"), record("a", 7.0, content="after"))
    assert [one.score.lse_d for one in merge([folder], tmp_path / "all").records] == [7.0]


def test_one_video_against_two_sounds_is_two_results(tmp_path: Path) -> None:
    one = record("first", 7.0, content="video and first sound", video="in/v.mp4", sha256="ab")
    two = record("second", 9.0, content="video and second sound", video="in/v.mp4", sha256="ab")
    merged = merge([wrote(tmp_path / "1", one, two)], tmp_path / "all")
    assert (merged.counts.scored, merged.counts.rows["lse_d"].value) == (2, 8.0)


def test_one_name_for_two_videos_is_refused(tmp_path: Path) -> None:
    one = wrote(tmp_path / "1", record("a"))
    two = wrote(tmp_path / "2", record("a", content="another"))
    with pytest.raises(UsageError, match=r"^a is not the same video.*/1 .*/2 "):
        merge([one, two], tmp_path / "all")


def test_different_settings_are_refused_and_named(tmp_path: Path) -> None:
    one = wrote(tmp_path / "1", record("a"))
    weights = [{"name": "syncnet_v2.model", "path": "/w", "sha256": "cc", "verified": False}]
    two = wrote(tmp_path / "2", record("b", settings="t"), settings="t", weights=weights)
    with pytest.raises(UsageError, match=r"different settings.*/1 and .*/2: weights syncnet_v2.model bb and cc;"):
        merge([one, two], tmp_path / "all")
    with pytest.raises(UsageError, match="protocol name wav2lip and latentsync"):
        merge(
            [one, wrote(tmp_path / "3", record("b", settings="u"), settings="u", protocol={"name": "latentsync"})],
            tmp_path / "all",
        )
    assert not (tmp_path / "all").exists()


def test_missing_shards_and_runs_are_reported(tmp_path: Path) -> None:
    one = wrote(tmp_path / "1", record("a"), manifest="run-1-of-4.json")
    three = wrote(tmp_path / "3", record("b"), manifest="run-3-of-4.json", not_reached=5)
    killed = wrote(tmp_path / "k", record("c"))
    (killed / "run.json").unlink()
    merged = merge([one, three, killed], tmp_path / "all")
    text = "\n".join(merged.warnings)
    assert "missing: shard 2/4, shard 4/4" in text
    assert "run-3-of-4.json: 5 videos were not reached" in text
    assert f"{killed}: no run.json" in text
    assert (merged.counts.total, merged.counts.scored) == (8, 3)


def test_half_a_line_is_passed_over_and_said(tmp_path: Path) -> None:
    folder = wrote(tmp_path / "1", record("a"))
    with (folder / "scores.jsonl").open("a") as file:
        file.write('{"schema": 1, "vid')
    merged = merge([folder], tmp_path / "all")
    assert len(merged.records) == 1
    assert [warning.split(": ")[-2:] for warning in merged.warnings] == [
        [f"{folder}/scores.jsonl, line 2", "half a line; skipped"]
    ]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.mark.parametrize("there", ["scores.jsonl", "all_scores.txt"])
def test_other_results_are_never_overwritten(tmp_path: Path, there: str) -> None:
    folder = wrote(tmp_path / "1", record("a"))
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / there).write_text("mine\n")
    with pytest.raises(UsageError, match=f"contains {there}, which no merge wrote"):
        merge([folder], tmp_path / "all")
    assert (tmp_path / "all" / there).read_text() == "mine\n"
    with pytest.raises(UsageError, match="is one of the folders"):
        merge([folder], tmp_path / "all" / ".." / "1")


def test_no_results_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(MissingError, match=r"/1: contains no scores\.jsonl"):
        merge([tmp_path / "1"], tmp_path / "all")
    with pytest.raises(MissingError, match=r"/nowhere: contains no scores\.jsonl"):
        merge([tmp_path / "nowhere"], tmp_path / "all")
    folder = wrote(tmp_path / "2", record("a"))
    (folder / "run.json").unlink()
    with pytest.raises(MissingError, match=r"no run.json of a finished run"):
        merge([folder], tmp_path / "all")


def test_the_command(in_folder: Path) -> None:
    wrote(in_folder / "1", record("a"))
    wrote(in_folder / "2", record("b", **FAILED))
    result = CliRunner().invoke(app, ["merge", "1", "2", "--out", "all"])
    assert result.exit_code == 1
    assert "1 scored / 2 total" in result.stdout
    assert "b: media_error: broken" in result.stderr
    shutil.rmtree("2")
    assert CliRunner().invoke(app, ["merge", "1", "--out", "all"]).exit_code == 0
    result = CliRunner().invoke(app, ["merge", "1", "2", "--out", "all"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "contains no scores.jsonl" in result.stderr
