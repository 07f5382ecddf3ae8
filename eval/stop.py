"""The object that stops a run: the run owns it, and every stage checks it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Stopped(BaseException):
    """The run was stopped during a video; a BaseException, so that no handler treats it as the video's failure."""


class Stop:
    """A flag that a run sets once; the stages of every video check it for each frame."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Stop the run: scoring ends at the next frame of each video."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise Stopped if the run was stopped."""
        if self._event.is_set():
            raise Stopped

    def through(self, stream: Iterable[T]) -> Iterator[T]:
        """Yield the stream's items; raise Stopped if the run was stopped."""
        for item in stream:
            self.check()
            yield item
