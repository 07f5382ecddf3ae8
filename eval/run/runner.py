"""Many videos: resume, failures that stay with their video, and a result on disk as soon as its video is done."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lipscore.errors import LipscoreError, MediaError
from lipscore.eval.run.jobs import Job, Piece, Progress, Task
from lipscore.eval.run.signals import Interrupted, Interruption
from lipscore.eval.run.threads import Threads
from lipscore.eval.stop import Stop
from lipscore.eval.store.records import TRY_AGAIN, Record, RecordStore, hash_of
from lipscore.eval.store.scores_file import append_lines, held_lines, lines_of
from lipscore.media.read import file_sha256
from lipscore.runtime import release_memory
from lipscore.types import VideoScore

Score = Callable[[Job, str], VideoScore]  # (the job, the SHA-256 of its file) -> its record


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    records: of the videos that were reached, in the order of the jobs; resumed: how many of them came from an earlier
    run; interrupted: the exit status of a run that a signal ended, else None.
    """

    records: tuple[Record, ...]
    resumed: int
    interrupted: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """A job with its record; held: the record of an earlier run, if there is one; seconds: wall time."""

    job: Job
    record: Record
    held: Record | None
    seconds: float


class FileHashes:
    """The SHA-256 of each file of a run, computed once, by whichever thread needs it first."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}
        self._lock = threading.Lock()

    def of(self, path: Path) -> str:
        """Hex SHA-256.

        Raises:
            MediaError: the file cannot be read.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise MediaError(f"{path}: cannot be read ({error.strerror})") from error
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = file_sha256(path)
            with self._lock:
                self._known[key] = known
        return known


class Run:
    """Scores every job that has no record yet; iterate to get each as it is done and written.

    A video that fails, even by an error in lipscore itself (status "error", the traceback goes to progress.trouble),
    does not stop the others. What has a record is not scored again; its lines are added to the scores file where they
    are missing there.

    Args:
        score: scores one job; called from several threads.
        store: where records are kept; None: nowhere, and nothing is resumed.
        workers: videos at a time.
        stop: set when the run breaks off; score should then raise Stopped soon.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        score: Score,
        task: Task,
        store: RecordStore | None,
        progress: Progress,
        *,
        workers: int = 1,
        stop: Stop | None = None,
    ) -> None:
        self._jobs, self._score, self._task, self._store, self._progress = jobs, score, task, store, progress
        self._hashes = FileHashes()
        self._lines_held: set[str] = set()
        if task.scores_path is not None and task.resume:
            self._lines_held = held_lines(task.scores_path)
        self._threads = Threads(jobs, self._work, workers, stop or Stop())
        self.written: dict[int, Done] = {}

    def __iter__(self) -> Iterator[tuple[int, Done]]:
        """Yield (the job's index, what came of it), not yet written; pass each to `write`.

        Raises:
            LipscoreError: something that every video needs is missing (FFmpeg, the temporary folder).
        """
        return self._threads.results()

    def write(self, index: int, done: Done) -> Done:
        """Write a result: on disk when this returns.

        Raises:
            MissingError: it cannot be written.
        """
        record = done.record
        if done.held is None or _about(done.held) != _about_job(done.job):
            video, name, folder = _about_job(done.job)
            record = replace(record, score=replace(record.score, video=video, name=name, folder=folder))
            if self._store is not None:
                self._store.append(record)
        if self._task.scores_path is not None:
            lines = lines_of(record.score)
            missing = [line for line in lines if done.held is None or line not in self._lines_held]
            append_lines(self._task.scores_path, missing)
        self.written[index] = replace(done, record=record)
        self._progress.finished(len(self.written), len(self._jobs), record, done.held is not None, done.seconds)
        return self.written[index]

    def stop(self) -> None:
        """Break the run off, and write what had been done."""
        for index, done, before in self._threads.stop():
            # a failure after the stop may be an effect of it
            if index not in self.written and (before or done.record.score.status not in TRY_AGAIN):
                self.write(index, done)

    def close(self) -> None:
        """Break off whatever still runs, and write nothing more."""
        self._threads.stop()

    def _work(self, job: Job) -> Done:
        start = time.perf_counter()
        self._progress.started(job)
        held = self._held(job)
        record = held or self._scored(job)
        if held is None:
            release_memory()
        return Done(job, record, held, time.perf_counter() - start)

    def _held(self, job: Job) -> Record | None:
        if self._store is None or not self._task.resume or job.problem:
            return None
        if self._task.settings not in self._store.settings_held:
            return None
        try:
            return self._store.held(self._key(job), _about_job(job))
        except MediaError:
            return None

    def _scored(self, job: Job) -> Record:
        blank = replace(self._task.blank, video=str(job.path), name=job.name, folder=job.folder)
        settings = self._task.settings
        if job.problem:
            return Record(replace(blank, status="media_error", reason=f"{job.path}: {job.problem}"), settings)
        try:
            key = self._key(job)  # before the scoring: a file that cannot be read leaves no numbers behind
            found = self._score(job, self._hashes.of(job.path))
            return Record(found, settings, key if found.sha256 else "")
        except MediaError as error:
            return Record(replace(blank, status="media_error", reason=str(error)), settings)
        except LipscoreError:
            raise
        except Exception as error:
            self._progress.trouble(traceback.format_exc())
            reason = f"lipscore failed on it: {type(error).__name__}: {error}; please report this with the traceback"
            return Record(replace(blank, status="error", reason=reason), settings)

    def _key(self, job: Job) -> str:
        others = (job.reference, job.boxes)
        hashes = [self._hashes.of(path) if path is not None and path.is_file() else "" for path in others]
        return record_key(self._task.settings, [self._hashes.of(job.path), *hashes], job.piece)


def record_key(settings: str, sha256s: Sequence[str], piece: Piece | None = None) -> str:
    """What a record was made of: the settings hash, the SHA-256 of video, reference and boxes, and the piece."""
    part = [str(piece.start), str(piece.seconds)] if piece is not None else []
    return hash_of([settings, *sha256s, *part])


def run(
    jobs: Sequence[Job],
    score: Score,
    task: Task,
    store: RecordStore,
    progress: Progress,
    *,
    workers: int = 1,
    stop: Stop | None = None,
) -> Outcome:
    """Score the jobs, and write each result as soon as it is there; a signal ends the run between two writes.

    The arguments are those of `Run`. scores.csv is written at the end, also of an interrupted run.

    Raises:
        LipscoreError: something that every video needs is missing, or a result cannot be written. What was scored
            before is on disk.
    """
    interrupted = None
    under_way = Run(jobs, score, task, store, progress, workers=workers, stop=stop)
    with Interruption() as interruption:
        try:
            for index, done in under_way:
                with interruption.held():
                    under_way.write(index, done)
        except Interrupted as signal_:
            interrupted = signal_.exit_status
            with suppress(Interrupted), interruption.held():
                under_way.stop()
        except LipscoreError:
            with suppress(Interrupted), interruption.held():
                under_way.stop()
            raise
        except BaseException:
            under_way.close()
            raise
        finally:
            store.write_csv()
    written = [under_way.written[index] for index in sorted(under_way.written)]
    return Outcome(tuple(done.record for done in written), sum(done.held is not None for done in written), interrupted)


def _about(record: Record) -> tuple[str, str, str]:
    return record.score.video, record.score.name, record.score.folder


def _about_job(job: Job) -> tuple[str, str, str]:
    return str(job.path), job.name, job.folder
