"""Runs over made-up videos, for the tests of runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lipscore.eval.run.inputs.paths import collect
from lipscore.eval.run.jobs import Job, Task
from lipscore.eval.run.runner import Outcome, run
from lipscore.eval.run.work import on_threads
from lipscore.eval.store.records import Record, RecordStore
from lipscore.eval.store.scores_file import read_scores
from lipscore.media.read import file_sha256
from lipscore.types import TrackScore, VideoScore

BLANK = VideoScore("", "", "", "media_error", "", "wav2lip", "mini", False)


class Said:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.started_names: list[str] = []
        self.done: list[tuple[str, bool]] = []
        self.troubles: list[str] = []

    def started(self, job: Job) -> None:
        self.started_names.append(job.name)

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        self.done.append((record.score.name, resumed))

    def stage(self, video: str, name: str) -> None:
        pass

    def trouble(self, text: str) -> None:
        self.troubles.append(text)


def scored(job: Job) -> VideoScore:
    """A score that follows from the file: LSE-D is its size."""
    size = float(job.path.stat().st_size)
    track = TrackScore(0, 0, 9, 1, size, 5.0, 4, (1.0,) * 31)
    return replace(
        BLANK,
        video=str(job.path),
        name=job.name,
        sha256=file_sha256(job.path),
        status="ok",
        tracks=(track,),
        lse_d=size,
        lse_c=5.0,
        offset=1,
    )


def jobs_in(folder: Path) -> list[Job]:
    return [Job(found.path, found.name, problem=found.problem) for found in collect([folder])]


def go(
    folder: Path,
    score: Callable[[Job], VideoScore] = scored,
    *,
    settings: str = "s",
    resume: bool = True,
    workers: int = 1,
    reference: Path | None = None,
    boxes: Path | None = None,
    audio: Path | None = None,
) -> tuple[Outcome, Said]:
    said = Said()
    jobs = [replace(job, reference=reference, boxes=boxes, audio=audio) for job in jobs_in(folder / "in")]
    store = RecordStore(folder / "out")
    task = Task(BLANK, settings, folder / "all_scores.txt", resume)
    backend = on_threads(jobs, lambda job, _: score(job), task, store, said, workers=workers)
    return run(jobs, backend, task, store, said), said


def names_in(folder: Path) -> list[str | None]:
    return [row.name for row in read_scores(folder / "all_scores.txt").rows]


def three_videos(tmp_path: Path) -> Path:
    """A folder whose folder in/ has three files that count as videos here, by name and size."""
    (tmp_path / "in").mkdir()
    for size, name in enumerate(("a", "b", "c"), start=1):
        (tmp_path / "in" / f"{name}.mp4").write_bytes(b"." * size)
    return tmp_path
