"""One queue of jobs: one job runs at a time, and each has its own folder, which is removed with it."""

from __future__ import annotations

import queue
import secrets
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lipscore.errors import LipscoreError
from lipscore.eval.serve.intake import RefusedError, Taken
from lipscore.eval.serve.work import Answer, Mended
from lipscore.eval.stop import Stop, Stopped
from lipscore.media import ffmpeg

State = Literal["queued", "running", "done", "failed"]
SWEEP_S = 1.0  # between looks for jobs that are too old


@dataclass
class Job:
    """A video in the queue.

    mending: the state of the fixed file; None until it is requested. version: counts the job's changes.
    """

    id: str
    folder: Path
    taken: Taken | None = None
    state: State = "queued"
    stage: str = ""
    error: str = ""
    status: int = 200
    answer: Answer | None = None
    mending: State | None = None
    mended: Mended | None = None
    version: int = 0
    touched: float = field(default_factory=time.monotonic)
    stop: Stop = field(default_factory=Stop)

    def tell(self, **changes: Any) -> None:
        """Change fields and notify the watchers."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.touched = time.monotonic()
        self.version += 1

    @property
    def busy(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in ("queued", "running") or self.mending in ("queued", "running")


class Queue:
    """The jobs of a server.

    Args:
        waiting: the largest number of jobs that may wait.
        keep_s: how many seconds a job is kept after its last change.
        limit_s: how many seconds the work on a video may take.
    """

    def __init__(self, waiting: int, keep_s: float, limit_s: float) -> None:
        self._most, self._keep_s, self._limit_s = waiting, keep_s, limit_s
        self._root = Path(tempfile.mkdtemp(prefix="lipscore-serve-"))
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._work: queue.Queue[tuple[Job, Callable[[Job], None]]] = queue.Queue()
        self._order: list[str] = []  # of the jobs that wait
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lipscore-serve", daemon=True)
        self._thread.start()

    def new(self) -> Job:
        """A new job with an empty folder, not yet in the queue.

        Raises:
            RefusedError: too many jobs wait already.
        """
        with self._lock:
            if sum(job.busy for job in self._jobs.values()) >= self._most:
                raise RefusedError(503, f"{self._most} videos are already waiting; try again later")
            job = Job(secrets.token_urlsafe(16), Path(tempfile.mkdtemp(dir=self._root)))
            self._jobs[job.id] = job
        return job

    def get(self, id: str) -> Job:
        """The job with that id.

        Raises:
            RefusedError: no such job exists, or it was removed.
        """
        with self._lock:
            job = self._jobs.get(id)
        if job is None:
            raise RefusedError(404, "no such job; it may have been removed")
        return job

    def submit(self, job: Job, work: Callable[[Job], None]) -> None:
        """Put work into the queue."""
        with self._lock:
            self._order.append(job.id)
        self._work.put((job, work))

    def ahead_of(self, job: Job) -> int:
        """The number of jobs before this one; 0 if it runs."""
        with self._lock:
            return self._order.index(job.id) if job.id in self._order else 0

    def remove(self, job: Job) -> None:
        """Remove a job: stop its work and delete its folder."""
        job.stop.set()
        with self._lock:
            self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait or run."""
        with self._lock:
            return len(self._order)

    def close(self) -> None:
        """Stop all work and remove every folder."""
        self._closed.set()
        for job in list(self._jobs.values()):
            job.stop.set()
        ffmpeg.stop_all([self._thread])
        self._thread.join(timeout=10)
        shutil.rmtree(self._root, ignore_errors=True)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._sweep()
            try:
                job, work = self._work.get(timeout=SWEEP_S)
            except queue.Empty:
                continue
            with self._lock:
                known = job.id in self._jobs
                job.stop = Stop() if known else job.stop
            if known:
                self._turn(job, work)
            with self._lock:
                self._order.remove(job.id)
            if job.id not in self._jobs:
                shutil.rmtree(job.folder, ignore_errors=True)  # what was written after its removal

    def _turn(self, job: Job, work: Callable[[Job], None]) -> None:
        """Run a job within the time limit; an exception becomes the job's error."""
        late = threading.Event()

        def break_off() -> None:
            late.set()
            job.stop.set()
            ffmpeg.stop_all([self._thread])

        timer = threading.Timer(self._limit_s, break_off)
        timer.daemon = True
        timer.start()
        try:
            work(job)
        except Stopped:
            fail(job, 410, "the job was removed")
        except LipscoreError as error:
            fail(job, 500, str(error))
        except Exception as error:
            traceback.print_exc()
            fail(job, 500, f"lipscore failed on it: {type(error).__name__}; the server's output has the traceback")
        finally:
            timer.cancel()
        if late.is_set() and (job.state if job.mending is None else job.mending) != "done":
            fail(job, 408, f"it took longer than {self._limit_s:g} s; --max-seconds is the limit")

    def _sweep(self) -> None:
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            if not job.busy and time.monotonic() - job.touched > self._keep_s:
                self.remove(job)


def fail(job: Job, status: int, error: str) -> None:
    """End a job's work, or the fixing of its file, with an error."""
    if job.mending is not None:
        job.tell(mending="failed", mended=Mended(error, None))
    else:
        job.tell(state="failed", status=status, error=error)
