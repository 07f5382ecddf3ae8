"""Ctrl-C, SIGTERM and a closed terminal end a run between two steps, never within the writing of a result."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 2.0


class Interrupted(BaseException):
    """A signal ended the run; not an Exception, so that no handler treats it as a video's failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_status = 128 + signum


class Interruption:
    """While entered, each of SIGNALS raises Interrupted in the main thread, or at the end of a held() block.

    make and a terminal may send a signal twice: a second one within AGAIN_SECONDS is ignored, a later one raises again.
    Signals that the process was started to ignore (nohup, a background job) stay ignored.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting: int | None = None
        self._last = -AGAIN_SECONDS
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        # Python lets only the main thread change handlers; elsewhere the caller's own stay
        here = threading.current_thread() is threading.main_thread()
        for signum in SIGNALS if here else ():
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block that no signal interrupts; a signal that arrives meanwhile raises at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting is not None:
            raise Interrupted(self._waiting)

    def _on_signal(self, signum: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < AGAIN_SECONDS:
            return
        self._last = now
        if self._held:
            self._waiting = signum
        else:
            raise Interrupted(signum)
