"""The work on one job: hash its files, look for its record, score it; a failure affects only its own video."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lipscore.errors import LipscoreError, MediaError
from lipscore.eval.run.inputs.fetch import fetched, restored
from lipscore.eval.run.jobs import Job, Piece, Progress, Task
from lipscore.eval.run.threads import Threads
from lipscore.eval.stop import Stop
from lipscore.eval.store.records import Record, hash_of
from lipscore.media.read import file_sha256
from lipscore.runtime import release_memory
from lipscore.types import VideoScore

Score = Callable[[Job, str], VideoScore]  # (the job, the SHA-256 of its file) -> its record


class Held(Protocol):
    """The existing records, for example a `RecordStore`."""

    @property
    def settings_held(self) -> set[str]:
        """The settings hashes that occur in the records."""

    def held(self, key: str, about: tuple[str, str, str] = ("", "", "")) -> Record | None:
        """The record with this key, preferably that of (path, name, folder); None if there is no such record."""


@dataclass(frozen=True, slots=True)
class Done:
    """A job with its record. held: the record of an earlier run, or None. seconds: the wall time of the job."""

    job: Job
    record: Record
    held: Record | None
    seconds: float


class FileHashes:
    """The SHA-256 of each file of a run, computed once, by the thread that needs it first."""

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


class Work:
    """Scores a job that has no record yet; called from several threads.

    A video that fails does not stop the others, even if lipscore itself has an error (status "error"; the traceback
    goes to progress.trouble).

    Args:
        score: scores one job.
        store: the existing records; None: nothing is resumed.
    """

    def __init__(self, score: Score, task: Task, store: Held | None, progress: Progress) -> None:
        self._score, self._task, self._store, self._progress = score, task, store, progress
        self._hashes = FileHashes()

    def __call__(self, job: Job) -> Done:
        """Score the job, unless it has a record.

        Raises:
            LipscoreError: something that every video needs is missing (FFmpeg, the temporary folder).
        """
        start = time.perf_counter()
        self._progress.started(job)
        with fetched(job) as local:
            held = self._held(local)
            record = held or restored(self._scored(local), job, local)
        if held is None:
            release_memory()
        return Done(job, record, held, time.perf_counter() - start)

    def _held(self, job: Job) -> Record | None:
        if self._store is None or not self._task.resume or job.problem:
            return None
        if self._task.settings not in self._store.settings_held:
            return None
        try:
            return self._store.held(self._key(job), about(job))
        except MediaError:
            return None

    def _scored(self, job: Job) -> Record:
        blank = replace(self._task.blank, video=job.where, name=job.name, folder=job.folder)
        settings = self._task.settings
        if job.problem:
            return Record(replace(blank, status="media_error", reason=f"{job.where}: {job.problem}"), settings)
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
        others = [job.reference, job.boxes]
        if job.audio is not None:  # only there, so that the keys of videos with their own sound stay what they were
            others.append(job.audio)
        hashes = [self._hashes.of(path) if path is not None and path.is_file() else "" for path in others]
        return record_key(self._task.settings, [self._hashes.of(job.path), *hashes], job.piece)


def about(job: Job) -> tuple[str, str, str]:
    """(the video's path or URL, its name, the input that contained it), as in its record."""
    return job.where, job.name, job.folder


def record_key(settings: str, sha256s: Sequence[str], piece: Piece | None = None) -> str:
    """A record's key: a hash of the settings hash, the SHA-256 of video, reference, boxes and sound, and the piece."""
    part = [str(piece.start), str(piece.seconds)] if piece is not None else []
    return hash_of([settings, *sha256s, *part])


def on_threads(
    jobs: Sequence[Job],
    score: Score,
    task: Task,
    store: Held | None,
    progress: Progress,
    *,
    workers: int = 1,
    stop: Stop | None = None,
) -> Threads[Job, Done]:
    """The jobs on threads of this process, `workers` at a time.

    Args:
        stop: set when the run stops; score should then raise Stopped soon. The other arguments are those of `Work`.
    """
    return Threads(jobs, Work(score, task, store, progress), workers, stop or Stop())
