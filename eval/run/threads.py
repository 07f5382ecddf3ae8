"""Videos side by side: each on a thread of its own, the results in the order of the jobs.

Threads are enough: FFmpeg is a process of its own, and OpenCV and torch let go of the interpreter while they work. What
the networks do of all videos goes through `lipscore.pool`; side by side, one video is decoded or cut while the other's
batches fill these.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from lipscore.media import ffmpeg
from lipscore.pool import available_cores

A = TypeVar("A")
B = TypeVar("B")
MOST = 4  # videos at a time by default: each holds frames and activations of its own
PATIENCE_S = 8.0  # for what runs to come to its end once the run is stopped; Docker kills after 10


class Stopped(BaseException):
    """The run was stopped while this video was worked on; not an Exception, so that nothing takes it for a failure."""


def at_a_time(n_jobs: int, workers: int | None = None) -> int:
    """Videos at a time.

    Args:
        workers: as the user wants it; None: a video per core, at most MOST.
    """
    return max(1, min(workers or min(available_cores(), MOST), n_jobs))


class Ahead(Generic[A, B]):
    """Does `work` on the items, in their order, `count` at a time.

    With one at a time it is done in the caller's own thread when its result is asked for, so that a signal breaks it
    off.

    Args:
        stop: set by `stop()`; `work` looks at it now and then, and raises Stopped.
    """

    def __init__(self, items: Sequence[A], work: Callable[[A], B], count: int, stop: threading.Event) -> None:
        self._items, self._work, self._stop = items, work, stop
        self._results: list[Future[B]] = [Future() for _ in items]
        self._next = 0
        self._taking = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)] if count > 1 else []
        for thread in self._threads:
            thread.start()

    def result(self, index: int) -> B:
        """What `work` gave for the item, or its exception."""
        return self._results[index].result() if self._threads else self._work(self._items[index])

    def stop(self) -> list[B]:
        """Take no more items, break off what runs, wait for it a little; gives what had been done, in order."""
        done = [result.result() for result in self._results if result.done() and result.exception() is None]
        self._stop.set()
        if self._threads:
            ffmpeg.stop_all()
            for thread in self._threads:
                thread.join(PATIENCE_S / len(self._threads))
        return done

    def _run(self) -> None:
        while True:
            with self._taking:
                index = self._next
                self._next += 1
            if index >= len(self._items) or self._stop.is_set():
                return
            try:
                self._results[index].set_result(self._work(self._items[index]))
            except BaseException as error:
                self._results[index].set_exception(error)
