"""A thread pool for network batches.

Two single-threaded batches in parallel finish sooner than two batches run one after the other on two threads, because
small layers do not parallelise (docs/performance.md). So each batch runs on one thread of a pool, whichever video it
belongs to, and a video that is scored alone still keeps every core busy.

A pool belongs to the models that were loaded with it. Its threads limit their own OpenMP team; torch's thread count in
the caller's threads never changes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

A = TypeVar("A")
B = TypeVar("B")
MOST_THREADS = 8  # each holds the activations of a batch; with more cores, each thread gets a larger OpenMP team


class Pool:
    """Runs batches on threads that share the cores.

    Args:
        cores: how many cores the batches may use together; None: as many as this process may use.
        thread_per_core: use as many threads as cores; for networks on a GPU, where a thread holds no activations.

    Attributes:
        count: the number of batches that run at once, at most MOST_THREADS unless there is a thread per core.
        threads: the number of torch's threads for each batch.
    """

    def __init__(self, cores: int | None = None, *, thread_per_core: bool = False) -> None:
        self.cores, self._per_core = cores or available_cores(), thread_per_core
        self.count = self.cores if thread_per_core else min(self.cores, MOST_THREADS)
        self.threads = max(1, self.cores // self.count)
        self._process, self._executor = os.getpid(), self._open()

    def __reduce__(self) -> tuple[Callable[..., Pool], tuple[int]]:
        """A pickled pool becomes a new pool of the same size."""
        return partial(Pool, thread_per_core=self._per_core), (self.cores,)

    def run(self, work: Callable[[], B]) -> B:
        """Run one batch and wait for its result. `work` must not use the pool."""
        return self._current().submit(work).result()

    def spread(self, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """Yield what `work` returns for each item, in the items' order.

        The caller's thread takes items from their iterator, at most one more than there are threads before it waits
        for the first result. `work` must not use the pool.
        """
        executor, coming = self._current(), deque[Future[B]]()
        try:
            for item in items:
                coming.append(executor.submit(work, item))
                if len(coming) > self.count:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()

    def _open(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.count, "lipscore-pool", _limit_threads, (self.threads,))

    def _current(self) -> ThreadPoolExecutor:
        if self._process != os.getpid():  # a fork copies the executor, but none of its threads
            self._process, self._executor = os.getpid(), self._open()
        return self._executor


def available_cores() -> int:
    """The number of cores that this process is allowed to run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limit_threads(threads: int) -> None:
    """Limit the OpenMP team of the calling thread alone (torch.set_num_threads would change the whole process)."""
    torch.get_num_threads()  # torch settles a thread's team at the first use, and would undo the limit later
    _openmp().limit(limits=threads)


@lru_cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")
