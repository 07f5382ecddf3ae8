"""Score several videos at a time, each on its own thread; results come in the order of completion.

Threads suffice: FFmpeg is a process of its own, and OpenCV and torch release the GIL while they work. The batches of
all videos run on `lipscore.pool`; one video is decoded or cut while another's batches occupy the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from lipscore.eval.stop import Stop
from lipscore.media import ffmpeg
from lipscore.pool import available_cores

A = TypeVar("A")
B = TypeVar("B")
MOST = 4  # videos at a time by default: each holds frames and activations of its own
PATIENCE_S = 8.0  # how long a stopped run waits for its threads; Docker kills after 10


def at_a_time(n_jobs: int, workers: int | None = None, *, gpu: bool = False) -> int:
    """How many videos are scored at a time.

    Args:
        workers: the user's number; None: a video per core, at most MOST.
        gpu: whether the networks run on a GPU; then one video per core, because decoding and cutting take most time.
    """
    most = available_cores() if gpu else min(available_cores(), MOST)
    return max(1, min(workers or most, n_jobs))


@dataclass(frozen=True, slots=True)
class _Finished(Generic[B]):
    index: int
    result: B | None
    error: BaseException | None


class Threads(Generic[A, B]):
    """Runs `work` on each item, `count` at a time.

    With one at a time, it runs in the caller's own thread, so that a signal interrupts it.

    Args:
        stop: set by `stop()`; `work` checks it for every frame, and raises Stopped.
    """

    def __init__(self, items: Sequence[A], work: Callable[[A], B], count: int, stop: Stop) -> None:
        self._items, self._work, self._stop, self._count = items, work, stop, count
        self._finished: list[_Finished[B]] = []  # a finished item stays here, so that an interruption cannot lose it
        self._ready = threading.Semaphore(0)
        self._next = 0
        self._taking = threading.Lock()
        self._threads: list[threading.Thread] = []

    def results(self) -> Iterator[tuple[int, B]]:
        """Yield (the item's index, its result) in the order of completion; an exception of `work` is raised here."""
        if self._count == 1:
            for index, item in enumerate(self._items):
                self._finished.append(_Finished(index, self._work(item), None))
                yield index, self._finished[-1].result  # type: ignore[misc]
            return
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._count)]
        for thread in self._threads:
            thread.start()
        for number in range(len(self._items)):
            self._ready.acquire()
            done = self._finished[number]
            if done.error is not None:
                raise done.error
            yield done.index, done.result  # type: ignore[misc]

    def stop(self) -> list[tuple[int, B]]:
        """Start no more items, stop the running ones, and return all complete results, in the order of completion."""
        self._stop.set()
        if self._threads:
            ffmpeg.stop_all(self._threads)  # other runs of this process go on
            for thread in self._threads:
                thread.join(PATIENCE_S / len(self._threads))
        return [(done.index, done.result) for done in tuple(self._finished) if done.result is not None]

    def _run(self) -> None:
        while True:
            with self._taking:
                index = self._next
                self._next += 1
            if index >= len(self._items) or self._stop:
                return
            try:
                done = _Finished(index, self._work(self._items[index]), None)
            except BaseException as error:
                done = _Finished(index, None, error)
            self._finished.append(done)
            self._ready.release()
