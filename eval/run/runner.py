"""Many videos: resume, failures that stay with their video, results on disk after each."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lipscore.errors import LipscoreError, MediaError
from lipscore.eval.run.jobs import Job, Task
from lipscore.eval.run.stop import Interrupted, Interruption
from lipscore.eval.run.threads import Ahead
from lipscore.eval.store.records import TRY_AGAIN, Record, RecordStore, hash_of
from lipscore.eval.store.scores_file import append_lines, held_lines, lines_of
from lipscore.media.read import file_sha256
from lipscore.runtime import release_memory
from lipscore.types import VideoScore


class Progress(Protocol):
    """Who is told how far the run is; index counts from 1."""

    def started(self, index: int, total: int, job: Job) -> None:
        """A video's turn."""

    def finished(self, index: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """It has its record; resumed: from an earlier run."""

    def trouble(self, text: str) -> None:
        """Something the user must see, beside the record."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    records: of the videos that were reached, in order; resumed: how many of them came from an earlier run; interrupted:
    the exit status of a run that a signal ended, else None.
    """

    records: tuple[Record, ...]
    resumed: int
    interrupted: int | None


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a job; held: the record of an earlier run, if there is one."""

    job: Job
    record: Record
    held: Record | None
    seconds: float


def run(
    jobs: Sequence[Job],
    score: Callable[[Job], VideoScore],
    task: Task,
    store: RecordStore,
    progress: Progress,
    *,
    workers: int = 1,
    stop: threading.Event | None = None,
) -> Outcome:
    """Score every job that has no record yet, and write each result as soon as those before it are written.

    A video that fails, even by an error in lipscore itself (status "error", the traceback goes to progress.trouble),
    does not stop the others. What has a record is not scored again; its lines are added to the scores file where they
    are not in it. scores.csv is written at the end, also of an interrupted run.

    Args:
        workers: videos at a time; score is then called from several threads.
        stop: set when the run breaks off; score should then raise workers.Stopped soon.

    Raises:
        LipscoreError: something that every video needs is missing (FFmpeg, the temporary folder), or a result cannot be
            written. What was scored before is on disk.
    """
    written: list[_Done] = []
    interrupted = None
    scores_held = held_lines(task.scores_path) if task.resume else set()

    def work(job: Job) -> _Done:
        start = time.perf_counter()
        held = _held(job, task, store)
        record = held or _scored(job, score, task, progress)
        if held is None:
            release_memory()
        return _Done(job, record, held, time.perf_counter() - start)

    def write(done: _Done) -> None:
        record = done.record
        if done.held is None or not _same_video(done.held, done.job):
            record = replace(record, score=replace(record.score, video=str(done.job.path), name=done.job.name))
            store.append(record)
        lines = lines_of(record.score)
        append_lines(task.scores_path, [line for line in lines if done.held is None or line not in scores_held])
        written.append(replace(done, record=record))

    with Interruption() as interruption:
        ahead = Ahead(jobs, work, workers, stop or threading.Event())
        try:
            for index, job in enumerate(jobs, start=1):
                progress.started(index, len(jobs), job)
                done = ahead.result(index - 1)
                with interruption.held():
                    write(done)
                record = written[-1].record
                progress.finished(index, len(jobs), record, done.held is not None, done.seconds)
        except Interrupted as signal_:
            interrupted = signal_.exit_status
            with suppress(Interrupted), interruption.held():
                for done in ahead.stop()[len(written) :]:
                    if done.record.score.status not in TRY_AGAIN:  # a failure may come of the stopping itself
                        write(done)
        except BaseException:
            ahead.stop()
            raise
        finally:
            store.write_csv()
    records = tuple(done.record for done in written)
    return Outcome(records, sum(done.held is not None for done in written), interrupted)


def _held(job: Job, task: Task, store: RecordStore) -> Record | None:
    if not task.resume or job.problem or task.settings not in store.settings_held:
        return None
    try:
        return store.held(_key(job, task, job.piece.info.sha256 if job.piece else file_sha256(job.path)))
    except MediaError:
        return None


def _same_video(held: Record, job: Job) -> bool:
    """Whether the record is of this path, or of a path that was moved here; a copy of the video gets its own record."""
    before = Path(held.score.video)
    if before.exists():
        return os.path.realpath(before) == os.path.realpath(job.path)
    return before.name == job.path.name


def _scored(job: Job, score: Callable[[Job], VideoScore], task: Task, progress: Progress) -> Record:
    found = replace(task.blank, video=str(job.path), name=job.name)
    if job.problem:
        return Record(replace(found, status="media_error", reason=f"{job.path}: {job.problem}"), task.settings)
    try:
        found = score(job)
        return Record(found, task.settings, _key(job, task, found.sha256) if found.sha256 else "")
    except MediaError as error:
        return Record(replace(found, status="media_error", reason=str(error)), task.settings)
    except LipscoreError:
        raise
    except Exception as error:
        progress.trouble(traceback.format_exc())
        reason = f"lipscore failed on it: {type(error).__name__}: {error}; please report this with the traceback"
        return Record(replace(found, status="error", reason=reason), task.settings)


def _key(job: Job, task: Task, sha256: str) -> str:
    others = [file_sha256(path) if path is not None and path.is_file() else "" for path in (job.reference, job.boxes)]
    part = [str(job.piece.start), str(job.piece.seconds)] if job.piece is not None else []
    return hash_of([task.settings, sha256, *others, *part])
