"""A crew of Ray actors that works through a list, one item per call; it replaces lost actors and retries their items.

A worker holds its next item while it works on one. If it dies, only the item that it worked on counts as tried.

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
DEPTH = 2  # items that a worker holds: the one it works on, and the next, so that it does not wait for the driver
SPARE = 2  # items per worker that are left when no more are handed out ahead: the last ones go to whoever is idle
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

    spawn: makes an actor. begin: its first call; resolves to the reason why the actor cannot be used, or "". work: the
    call for an item. stop: asks an actor to stop its item. take: turns (index, what `work` resolved to) into a result;
    None if the item was stopped. lost: the result of (index, reason) for an item that no actor survived. say: prints a
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
        started: called with each item that a worker begins.
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
        self._lines: dict[int, deque[Any]] = {}  # by the actor's id, the references of its items; it works on the first
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
                ready = self._ready(POLL_S)
                if ready or any(index is not None for _, index in self._pending.values()):
                    heard = time.monotonic()
                elif time.monotonic() - heard > SAY_AFTER_S:
                    self._hands.say("waiting for the cluster to start workers: no node has room for one yet")
                    heard = time.monotonic()
                for reference in ready:
                    for index in self._settle(reference):
                        yield index, self._finished[index]
                        del self._finished[index]
                        self._left -= 1
        finally:
            self._dismiss()

    def stop(self) -> list[tuple[int, B]]:
        """Start no more items, stop the running ones, end the actors, and return the finished results."""
        self._queue.clear()
        busy = {reference: at for reference, at in self._pending.items() if at[1] is not None}
        for actor in {id(actor): actor for actor, _ in busy.values()}.values():
            with suppress(RayError):
                self._hands.stop(actor)
        if busy:
            ready, _ = ray.wait(list(busy), num_returns=len(busy), timeout=PATIENCE_S)
            for reference in ready:
                with suppress(RayError):
                    self._settle(reference)
        self._dismiss()
        return list(self._finished.items())

    def _ready(self, timeout: float) -> list[Any]:
        """All calls that have ended; empty if none ends within `timeout` seconds."""
        pending = list(self._pending)
        ready, rest = ray.wait(pending, num_returns=1, timeout=timeout)
        if ready and rest:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        return list(ready)

    def _settle(self, reference: Any) -> list[int]:
        """Take a call's result; returns the indices of the items that it finishes."""
        if reference not in self._pending:  # its actor died, and was replaced meanwhile
            return []
        actor, index = self._pending[reference]
        try:
            value = ray.get(reference)
        except RayTaskError:
            raise
        except RayError as error:
            return self._replace(actor, index, error)
        if index is None:
            del self._pending[reference]
            self._begun(actor, value)
            return []
        finished = self._took(index, value)
        self._forget(actor, reference)
        self._fill(actor)
        return finished

    def _took(self, index: int, value: Any) -> list[int]:
        result = self._hands.take(index, value)
        if result is None:
            return []
        self._finished[index] = result
        return [index]

    def _begun(self, actor: Any, refusal: str) -> None:
        self._lost_starts = 0
        if not refusal:
            self._fill(actor)
            return
        self._hands.say(f"a worker was refused: {refusal}")
        self._end(actor)
        if not self._actors:
            raise MissingError(f"no worker can be used: {refusal}")

    def _fill(self, actor: Any) -> None:
        """Give the actor its next item, and a further one in advance while many are left."""
        line = self._lines.setdefault(id(actor), deque())
        while self._queue and len(line) < (DEPTH if len(self._queue) > SPARE * self._count else 1):
            index = self._queue.popleft()
            reference = self._hands.work(actor, self._items[index])
            self._pending[reference] = (actor, index)
            line.append(reference)
            if len(line) == 1:
                self._started(self._items[index])

    def _forget(self, actor: Any, reference: Any) -> None:
        """Note that the actor has finished a call and begins the next one."""
        line = self._lines[id(actor)]
        first = line[0] == reference
        line.remove(reference)
        del self._pending[reference]
        if first and line:
            index = self._pending[line[0]][1]
            assert index is not None
            self._started(self._items[index])

    def _replace(self, actor: Any, index: int | None, error: RayError) -> list[int]:
        """Replace a dead actor; returns the indices of the items that are finished or given up."""
        self._end(actor)
        line = self._lines.pop(id(actor), deque())
        if index is None:
            self._pending = {ref: held for ref, held in self._pending.items() if held[0] is not actor}
            self._lost_starts += 1
            if self._lost_starts >= LOST_STARTS * self._count:
                raise MissingError(
                    f"workers die before their first video: {said(error)}; check that lipscore is installed on "
                    "every node, and that workers have enough memory"
                )
            self._add()
            return []
        finished: list[int] = []
        died: int | None = None
        back: list[int] = []
        for reference in line:
            _, held = self._pending.pop(reference)
            assert held is not None
            if died is not None:  # it had not begun
                back.append(held)
                continue
            try:
                finished += self._took(held, ray.get(reference, timeout=PATIENCE_S))
            except RayTaskError:
                raise
            except RayError as its:
                died, error = held, its
        self._queue.extendleft(reversed(back))
        self._add()
        if died is not None:
            self._died[died] = self._died.get(died, 0) + 1
            if self._died[died] < TRIES:
                self._queue.appendleft(died)
            else:
                self._finished[died] = self._hands.lost(died, said(error))
                finished.append(died)
        self._wake()
        return finished

    def _wake(self) -> None:
        """Give returned items to actors that found the queue empty."""
        busy = {id(actor) for actor, _ in self._pending.values()}
        for actor in self._actors:
            if id(actor) not in busy:
                self._fill(actor)

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
        self._lines.clear()
