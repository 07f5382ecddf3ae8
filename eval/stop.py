"""One object that ends a run: the run owns it, every stage asks it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Stopped(BaseException):
    """The run was stopped while a video was scored; not an Exception, so that nothing mistakes it for a failure."""


class Stop:
    """A flag that a run sets once, and that the stages of every video look at for each frame."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Stop the run: the videos that are being scored break off at their next frame."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise Stopped where the run is stopped."""
        if self._event.is_set():
            raise Stopped

    def through(self, stream: Iterable[T]) -> Iterator[T]:
        """Yield the stream's items, and break off where the run is stopped."""
        for item in stream:
            self.check()
            yield item
