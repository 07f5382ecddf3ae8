"""The networks' batches, of all videos at once, on threads that share the cores.

Two batches beside each other on a thread each are done sooner than one after the other on two threads: what lies
between a network's layers, and its small layers, do not spread over threads (docs/performance.md). So each batch has a
lane to itself, whichever video it belongs to, and a video that is scored alone still has all of them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")
MOST = 8  # each holds the activations of a batch; with more cores a lane has more threads of torch


class _Lanes:
    """A pool of `count` threads, each with `threads` of torch; its threads start with their first work."""

    def __init__(self, cores: int) -> None:
        self.cores, self.process = cores, os.getpid()
        self.count = min(cores, MOST)
        self.threads = max(1, cores // self.count)
        self.pool = ThreadPoolExecutor(self.count, "lane", torch.set_num_threads, (self.threads,))


_lanes: _Lanes | None = None


def open_lanes(cores: int | None = None) -> int:
    """Share cores between lanes, at most MOST, for all that `spread` is given from now on.

    Args:
        cores: None: as many as this process may use.

    Returns:
        Threads of torch in each lane.
    """
    global _lanes
    _lanes = _Lanes(cores or available_cores())
    return _lanes.threads


def spread(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """What `work` gives for each item, in their order.

    Items are taken from their iterator in the caller's thread, one more than there are lanes before the first result is
    waited for. `work` must not call `spread`.
    """
    if _lanes is None:
        open_lanes()
    elif _lanes.process != os.getpid():  # a fork leaves threads behind
        open_lanes(_lanes.cores)
    assert _lanes is not None
    lanes, coming = _lanes, deque[Future[B]]()
    try:
        for item in items:
            coming.append(lanes.pool.submit(work, item))
            if len(coming) > lanes.count:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        for future in coming:
            future.cancel()


def available_cores() -> int:
    """The cores that this process is allowed to run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
