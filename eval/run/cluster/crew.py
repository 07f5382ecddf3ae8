"""A crew of Ray actors that works through a list, one item per call; it replaces lost actors and retries their items.

The crew does not know about videos: `lipscore.eval.run.cluster.driver` gives it actors that score.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from lipscore.errors import MissingError

A = TypeVar("A")
B = TypeVar("B")
TRIES = 2  # a video whose worker died is tried once more
LOST_STARTS = 3  # per worker: as many that die before their first item end the run
POLL_S = 1.0
SAY_AFTER_S = 30.0  # without any worker
PATIENCE_S = 4.0  # how long a stopped crew waits for its workers' last words


def said(error: BaseException) -> str:
    """Ray's error in one line: the last line of a traceback, else the first line."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines() or [type(error).__name__]
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0].strip()


@dataclass(frozen=True, slots=True)
class Hands(Generic[A, B]):
    """The functions that a crew calls.

    spawn: makes an actor. begin: its first call; resolves to why the actor cannot be used, "" where it can. work: the
    call for an item. stop: asks an actor to break its item off. take: the result of (index, what work resolved to),
    None where the item was broken off. lost: the result of (index, reason) for an item that no actor survived. say: a
    line for the user.
    """

    spawn: Callable[[], Any]
    begin: Callable[[Any], Any]
    work: Callable[[Any, A], Any]
    stop: Callable[[Any], Any]
    take: Callable[[int, Any], B | None]
    lost: Callable[[int, str], B]
    say: Callable[[str], None]


class Crew(Generic[A, B]):
    """Works through items on `count` actors; a `Backend`.

    Args:
        order: the items' indices in starting order; long items first keep all workers busy to the end.
        actors: actors that already exist.
        started: called with each item that is handed out.
    """

    def __init__(
        self,
        items: Sequence[A],
        hands: Hands[A, B],
        count: int,
        *,
        order: Iterable[int] | None = None,
        actors: Sequence[Any] = (),
        started: Callable[[A], None] = lambda _: None,
    ) -> None:
        self._items, self._hands, self._count, self._started = items, hands, count, started
        self._queue = deque(range(len(items)) if order is None else order)
        self._left = len(self._queue)
        self._pending: dict[Any, tuple[Any, int | None]] = {}  # reference -> (actor, its item; None: it begins)
        self._finished: dict[int, B] = {}  # stays until the caller has taken it: an interruption cannot lose it
        self._died: dict[int, int] = {}
        self._lost_starts = 0
        self._actors: list[Any] = list(actors)

    def results(self) -> Iterator[tuple[int, B]]:
        """Yield (the item's index, its result) in the order of completion.

        Raises:
            MissingError: no actor can be used, or they die before their first item.
        """
        try:
            for actor in tuple(self._actors):
                self._begin(actor)
            while len(self._actors) < self._count:
                self._add()
            heard = time.monotonic()
            while self._left:
                ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=POLL_S)
                if ready or any(index is not None for _, index in self._pending.values()):
                    heard = time.monotonic()
                elif time.monotonic() - heard > SAY_AFTER_S:
                    self._hands.say("waiting for the cluster to start workers: no node has room for one yet")
                    heard = time.monotonic()
                for reference in ready:
                    index = self._settle(reference)
                    if index is not None:
                        yield index, self._finished[index]
                        del self._finished[index]
                        self._left -= 1
        finally:
            self._dismiss()

    def stop(self) -> list[tuple[int, B]]:
        """Hand out no more items, stop the running ones, end the actors, and return what was finished."""
        self._queue.clear()
        busy = {reference: at for reference, at in self._pending.items() if at[1] is not None}
        for actor, _ in busy.values():
            with suppress(RayError):
                self._hands.stop(actor)
        if busy:
            ready, _ = ray.wait(list(busy), num_returns=len(busy), timeout=PATIENCE_S)
            for reference in ready:
                with suppress(RayError):
                    self._settle(reference)
        self._dismiss()
        return list(self._finished.items())

    def _settle(self, reference: Any) -> int | None:
        """Take a call's result; returns the index of the item that it finishes."""
        actor, index = self._pending[reference]
        try:
            value = ray.get(reference)
        except RayTaskError:
            raise
        except RayError as error:
            del self._pending[reference]
            return self._replace(actor, index, error)
        if index is None:
            del self._pending[reference]
            self._begun(actor, value)
            return None
        result = self._hands.take(index, value)
        if result is not None:
            self._finished[index] = result
        del self._pending[reference]
        self._next(actor)
        return None if result is None else index

    def _begun(self, actor: Any, refusal: str) -> None:
        self._lost_starts = 0
        if not refusal:
            self._next(actor)
            return
        self._hands.say(f"a worker was refused: {refusal}")
        self._end(actor)
        if not self._actors:
            raise MissingError(f"no worker can be used: {refusal}")

    def _next(self, actor: Any) -> None:
        if self._queue:
            index = self._queue.popleft()
            self._started(self._items[index])
            self._pending[self._hands.work(actor, self._items[index])] = (actor, index)

    def _replace(self, actor: Any, index: int | None, error: RayError) -> int | None:
        """Replace a dead actor; returns the index of the item that is given up."""
        self._end(actor)
        why = said(error)
        if index is None:
            self._lost_starts += 1
            if self._lost_starts >= LOST_STARTS * self._count:
                raise MissingError(
                    f"workers die before their first video: {why}; see that lipscore is installed on every node, and "
                    "that workers have memory enough"
                )
            self._add()
            return None
        self._died[index] = self._died.get(index, 0) + 1
        if self._died[index] < TRIES:
            self._queue.appendleft(index)
        self._add()
        if self._died[index] < TRIES:
            self._wake()
            return None
        self._finished[index] = self._hands.lost(index, why)
        return index

    def _wake(self) -> None:
        """Give an item that came back to an actor that found the queue empty."""
        busy = {id(actor) for actor, _ in self._pending.values()}
        for actor in self._actors:
            if id(actor) not in busy:
                self._next(actor)
                return

    def _add(self) -> None:
        actor = self._hands.spawn()
        self._actors.append(actor)
        self._begin(actor)

    def _begin(self, actor: Any) -> None:
        self._pending[self._hands.begin(actor)] = (actor, None)

    def _end(self, actor: Any) -> None:
        self._actors = [other for other in self._actors if other is not actor]
        with suppress(RayError):
            ray.kill(actor)

    def _dismiss(self) -> None:
        for actor in tuple(self._actors):
            self._end(actor)
        self._pending.clear()
