"""Many videos: what stops and what does not, and that a killed run goes on where it was."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from run_files import BLANK, Said, go, jobs_in, names_in, scored, three_videos

from lipscore.errors import MediaError, MissingError
from lipscore.eval.run.jobs import Job, Task
from lipscore.eval.run.runner import run
from lipscore.eval.run.threads import at_a_time
from lipscore.eval.run.work import on_threads
from lipscore.eval.store.average import average
from lipscore.eval.store.records import RecordStore, read_records
from lipscore.eval.store.scores_file import read_scores
from lipscore.types import VideoScore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return three_videos(tmp_path)


def test_every_video_gets_a_record_and_a_line(folder: Path) -> None:
    outcome, said = go(folder)
    assert [record.score.lse_d for record in outcome.records] == [1.0, 2.0, 3.0]
    assert said.done == [("a", False), ("b", False), ("c", False)]
    assert names_in(folder) == ["a", "b", "c"]
    assert (folder / "out" / "scores.csv").read_text().count("\n") == 4


def test_a_second_run_scores_nothing_again(folder: Path) -> None:
    go(folder)
    before = (folder / "all_scores.txt").read_bytes(), (folder / "out" / "scores.jsonl").read_bytes()
    outcome, said = go(folder, lambda job: pytest.fail(f"scored {job.name} again"))
    assert outcome.resumed == 3 and all(resumed for _, resumed in said.done)
    assert before == ((folder / "all_scores.txt").read_bytes(), (folder / "out" / "scores.jsonl").read_bytes())


def test_changed_files_settings_and_references_are_scored_again(folder: Path) -> None:
    go(folder)
    (folder / "in" / "b.mp4").write_bytes(b"." * 7)
    outcome, said = go(folder)
    assert said.done == [("a", True), ("b", False), ("c", True)] and outcome.records[1].score.lse_d == 7.0
    assert go(folder, settings="another")[0].resumed == 0
    reference = folder / "reference.mp4"
    reference.write_bytes(b"r")
    assert go(folder, reference=reference)[0].resumed == 0
    assert go(folder, reference=reference)[0].resumed == 3
    reference.write_bytes(b"s")
    assert go(folder, reference=reference)[0].resumed == 0
    boxes = folder / "boxes.json"
    boxes.write_bytes(b"[]")
    assert go(folder, boxes=boxes)[0].resumed == 0
    audio = folder / "speech.wav"
    for content in (b"[]", b"sound"):
        audio.write_bytes(content)
        assert go(folder, audio=audio)[0].resumed == 0
        assert go(folder, audio=audio)[0].resumed == 3


def test_no_resume_appends_again(folder: Path) -> None:
    go(folder)
    assert go(folder, resume=False)[0].resumed == 0
    assert names_in(folder) == ["a", "b", "c"] * 2


def test_rows_that_a_killed_run_left_out_are_added(folder: Path) -> None:
    go(folder)
    scores = folder / "all_scores.txt"
    scores.write_text("".join(scores.read_text().splitlines(keepends=True)[:2]))
    go(folder, lambda job: pytest.fail("scored again"))
    assert names_in(folder) == ["a", "b", "c"]


def test_the_last_runs_rows_are_the_last_in_the_file(folder: Path) -> None:
    """Other settings and back again: what was scored before is at the end, so that an average is of the latest run."""

    def otherwise(job: Job) -> VideoScore:
        found = scored(job)
        tracks = (replace(found.tracks[0], lse_d=1.0), replace(found.tracks[0], track_id=1, lse_d=3.0))
        return replace(found, tracks=tracks)

    first = go(folder)[0]
    go(folder, otherwise, settings="other")
    assert "avg. LSE-D~: 2.000000 (n=6)" in average(folder / "all_scores.txt").lines
    again = go(folder, lambda job: pytest.fail("scored again"))[0]
    assert again.resumed == 3
    mean = sum(record.score.lse_d or 0.0 for record in first.records) / 3
    assert f"avg. LSE-D~: {mean:.6f} (n=3)" in average(folder / "all_scores.txt").lines
    size = (folder / "all_scores.txt").stat().st_size
    go(folder)
    assert (folder / "all_scores.txt").stat().st_size == size
    go(folder, settings="other")
    assert "avg. LSE-D~: 2.000000 (n=6)" in average(folder / "all_scores.txt").lines


def test_a_copy_of_a_video_gets_its_own_record_without_being_scored(folder: Path) -> None:
    (folder / "in" / "copy.mp4").write_bytes((folder / "in" / "a.mp4").read_bytes())
    turns: list[str] = []

    def score(job: Job) -> VideoScore:
        turns.append(job.name)
        return scored(job)

    go(folder, score)
    assert turns == ["a", "b", "c"]
    (folder / "in" / "later.mp4").write_bytes((folder / "in" / "b.mp4").read_bytes())
    go(folder, score)
    assert turns == ["a", "b", "c"]
    rows = read_scores(folder / "all_scores.txt").rows
    assert [(row.name, row.lse_d) for row in rows] == [("a", 1), ("b", 2), ("c", 3), ("copy", 1), ("later", 2)]


def test_a_folder_that_was_moved_is_not_scored_again(folder: Path) -> None:
    go(folder)
    (folder / "in").rename(folder / "elsewhere")
    (folder / "in").symlink_to(folder / "elsewhere")
    assert go(folder)[0].resumed == 3
    assert names_in(folder) == ["a", "b", "c"]


@pytest.mark.parametrize("workers", [1, 2])
def test_links_and_copies_have_names_of_their_own_and_are_resumed_once(folder: Path, workers: int) -> None:
    (folder / "in" / "a_link.mp4").symlink_to(folder / "in" / "a.mp4")
    (folder / "in" / "z_copy.mp4").write_bytes((folder / "in" / "a.mp4").read_bytes())
    for turn in range(3):
        outcome, _ = go(folder, workers=workers)
        assert [record.score.name for record in outcome.records] == ["a", "a_link", "b", "c", "z_copy"]
        assert [Path(record.score.video).stem for record in outcome.records] == ["a", "a_link", "b", "c", "z_copy"]
        assert len(read_records(folder / "out" / "scores.jsonl")[0]) == len(names_in(folder)) == 5, turn


def test_names_are_those_of_this_run_and_paths_those_of_today(folder: Path) -> None:
    go(folder)
    store, said = RecordStore(folder / "out"), Said()
    (folder / "in").rename(folder / "moved")
    jobs = [Job(folder / "moved" / f"{name}.mp4", f"{name}.mp4", folder="moved") for name in "abc"]
    task = Task(BLANK, "s", folder / "all_scores.txt")
    backend = on_threads(jobs, lambda job, _: pytest.fail(f"scored {job.name} again"), task, store, said)
    outcome = run(jobs, backend, task, store, said)
    assert outcome.resumed == 3
    assert [record.score.name for record in outcome.records] == ["a.mp4", "b.mp4", "c.mp4"]
    assert all(Path(record.score.video).is_file() for record in outcome.records)
    assert {row.folder for row in read_scores(folder / "all_scores.txt").rows} == {None, "moved"}


def test_a_reference_that_cannot_be_read_leaves_no_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = folder / "reference.mp4"
    reference.touch()

    def unreadable(path: Path) -> str:
        if path == reference:
            raise MediaError(f"{path}: cannot be read (Permission denied)")
        return "ab" * 32

    monkeypatch.setattr("lipscore.eval.run.work.file_sha256", unreadable)
    outcome, _ = go(folder, reference=reference)
    assert {record.score.status for record in outcome.records} == {"media_error"}
    assert all(record.score.lse_d is None and not record.score.tracks for record in outcome.records)


def test_failures_stay_with_their_video(folder: Path) -> None:
    (folder / "in" / "d.mp4").write_bytes(b"....")

    def score(job: Job) -> VideoScore:
        if job.name == "a":
            raise KeyError("a bug")
        if job.name == "b":
            raise MediaError("b.mp4: broken")
        if job.name == "c":
            return replace(scored(job), status="no_face", reason="none seen", tracks=(), lse_d=None, lse_c=None)
        return scored(job)

    outcome, said = go(folder, score)
    statuses = [record.score.status for record in outcome.records]
    assert statuses == ["error", "media_error", "no_face", "ok"]
    assert "KeyError" in outcome.records[0].score.reason and "Traceback" in said.troubles[0]
    scores = read_scores(folder / "all_scores.txt")
    assert [(video.name, video.status) for video in scores.not_scored] == list(zip("abc", statuses, strict=False))
    turns = go(folder)[1].done
    assert turns == [("a", False), ("b", False), ("c", True), ("d", True)], "failures that may pass are tried again"


def test_a_missing_requirement_of_all_videos_stops_the_run(folder: Path) -> None:
    def score(job: Job) -> VideoScore:
        if job.name == "b":
            raise MissingError("no FFmpeg")
        return scored(job)

    with pytest.raises(MissingError, match="no FFmpeg"):
        go(folder, score)
    assert names_in(folder) == ["a"] and (folder / "out" / "scores.csv").exists()


def test_a_path_without_a_file_is_a_record_too(folder: Path) -> None:
    said = Said()
    jobs = [Job(folder / "gone.mp4", "gone", problem="no such file or folder"), *jobs_in(folder / "in")]
    task = Task(BLANK, "s", folder / "all_scores.txt")
    store = RecordStore(folder / "out")
    outcome = run(jobs, on_threads(jobs, lambda job, _: scored(job), task, store, said), task, store, said)
    assert [record.score.status for record in outcome.records] == ["media_error", "ok", "ok", "ok"]
    assert "no such file" in outcome.records[0].score.reason


def test_failures_beside_others_stay_with_their_video(folder: Path) -> None:
    ended = threading.Semaphore(0)

    def score(job: Job) -> VideoScore:
        if job.name == "a":
            ended.release()
            raise KeyError("a bug")
        if job.name == "c":
            assert ended.acquire(timeout=60) and ended.acquire(timeout=60)
            time.sleep(0.3)
            raise MissingError("no FFmpeg")
        found = scored(job)
        ended.release()
        return found

    with pytest.raises(MissingError, match="no FFmpeg"):
        go(folder, score, workers=3)
    records, _ = read_records(folder / "out" / "scores.jsonl")
    assert sorted(str(record.score.status) for record in records) == ["error", "ok"]


@pytest.mark.parametrize(
    ("cores", "jobs", "wanted", "expected"),
    [(2, 10, None, 2), (2, 1, None, 1), (16, 10, None, 4), (16, 10, 8, 8), (1, 5, None, 1)],
)
def test_how_many_videos_at_a_time(
    monkeypatch: pytest.MonkeyPatch, cores: int, jobs: int, wanted: int | None, expected: int
) -> None:
    monkeypatch.setattr("lipscore.eval.run.threads.available_cores", lambda: cores)
    assert at_a_time(jobs, wanted) == expected
    assert at_a_time(100, gpu=True) == cores
