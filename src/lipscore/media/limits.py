"""The limits of one video: wall time, frames, pixels and audio, measured while it is read and not from its header.

A header can be wrong, and a timestamp that is ten hours late makes millions of frames of 36 kB. Therefore the decoded
frames and samples are counted, and compared with what a file of this size can plausibly contain.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from lipscore.errors import NotScoredError

T = TypeVar("T")
# The least that the thriftiest codecs need (a still picture in H.264: 20 bytes a frame; speech in Opus: 700 a second),
# with room for files that are mostly header
BYTES_PER_FRAME, FRAMES_SPARE = 16, 3000
BYTES_PER_SECOND, SECONDS_SPARE = 250, 120
MAX_PIXELS = 100_000_000  # 16K is 132 million, 8K 33 million
WALL_SPARE, WALL_PER_SECOND = 3600, 240  # seconds; S3FD on one old core takes some 100 seconds for each of 1080p


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one video; None stands for what is plausible for a file of its size.

    max_seconds: wall time. max_frames: frames decoded in one pass. max_pixels: pixels of a frame. max_audio: seconds.
    """

    max_seconds: float | None = None
    max_frames: int | None = None
    max_pixels: int = MAX_PIXELS
    max_audio: float | None = None


class Watch:
    """Enforces the limits of one video while it is scored; every reader checks the `current` one.

    Args:
        n_bytes: the file's size.
        frame_rate: the rate at which its frames are counted, per second.
        stopped: raises an error if the run is stopped; None: nothing stops it.
    """

    def __init__(
        self, limits: Limits, n_bytes: int, frame_rate: int, stopped: Callable[[], None] | None = None
    ) -> None:
        self._stopped = stopped
        self._limits, self._frame_rate, self.max_pixels = limits, frame_rate, limits.max_pixels
        self._bytes = self._heard_bytes = n_bytes
        self.max_frames = n_bytes // BYTES_PER_FRAME + FRAMES_SPARE if limits.max_frames is None else limits.max_frames
        self.max_audio = (
            n_bytes / BYTES_PER_SECOND + SECONDS_SPARE if limits.max_audio is None else float(limits.max_audio)
        )
        self.seconds = float(WALL_SPARE if limits.max_seconds is None else limits.max_seconds)
        self._end = time.monotonic() + self.seconds

    def hearing(self, n_bytes: int) -> None:
        """Limit the audio by the size of another file, from which it comes."""
        if self._limits.max_audio is None:
            self._heard_bytes, self.max_audio = n_bytes, n_bytes / BYTES_PER_SECOND + SECONDS_SPARE

    def check(self) -> None:
        """Raise NotScoredError (timed_out) if the video has taken too long, or the error of `stopped`."""
        if self._stopped is not None:
            self._stopped()
        if time.monotonic() > self._end:
            raise NotScoredError(
                "timed_out", f"not scored after {self.seconds:.0f} s: --max-seconds {_more(self.seconds)} allows more"
            )

    def lasting(self, duration_s: float) -> None:
        """Set the time limit by the video's length, unless the limits state one."""
        plausible_s = max(0.0, min(duration_s, self.max_frames / self._frame_rate))
        if self._limits.max_seconds is None:
            self._end += WALL_SPARE + WALL_PER_SECOND * plausible_s - self.seconds
            self.seconds = WALL_SPARE + WALL_PER_SECOND * plausible_s

    def frames(self, items: Iterable[T]) -> Iterator[T]:
        """Count the frames of one pass.

        Raises:
            NotScoredError: there are too many (too_large), or the time is up (timed_out).
        """
        for number, item in enumerate(items, start=1):
            if number > self.max_frames:
                raise NotScoredError("too_large", self._too_many("frames", self.max_frames, "frames", self._bytes))
            self.check()
            yield item

    def heard(self, seconds: float) -> None:
        """Raise NotScoredError if there is more audio than allowed (too_large), or the time is up (timed_out)."""
        if seconds > self.max_audio:
            raise NotScoredError(
                "too_large", self._too_many("seconds of audio", self.max_audio, "audio", self._heard_bytes)
            )
        self.check()

    @contextmanager
    def ending(self, kill: Callable[[], None]) -> Iterator[None]:
        """Call `kill` when the time is up before the block ends; the block's end then raises as `check` does."""
        timer = threading.Timer(max(0.0, self._end - time.monotonic()), kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        self.check()

    def _too_many(self, what: str, limit: float, option: str, n_bytes: int) -> str:
        asked = getattr(self._limits, f"max_{option}") is not None
        why = "the limit" if asked else f"all that a file of {n_bytes} bytes can plausibly hold"
        return f"more than {limit:.0f} {what}, {why}; is a timestamp wrong? --max-{option} {_more(limit)} allows more"


_current: ContextVar[Watch | None] = ContextVar("lipscore_watch", default=None)


def current() -> Watch | None:
    """The watch over the video that this thread scores."""
    return _current.get()


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Let `watch` be the current one."""
    token = _current.set(watch)
    try:
        yield watch
    finally:
        _current.reset(token)


def watched(items: Iterable[T]) -> Iterator[T]:
    """The frames of one pass, counted by the current watch if there is one."""
    watch = current()
    return iter(items) if watch is None else watch.frames(items)


def check_size(width: int, height: int) -> None:
    """Raise NotScoredError (too_large) for frames with more pixels than the current video may have."""
    watch = current()
    allowed = MAX_PIXELS if watch is None else watch.max_pixels
    if width * height > allowed:
        raise NotScoredError(
            "too_large",
            f"frames of {width}x{height} pixels, more than {allowed}: --max-pixels {width * height} allows them",
        )


def _more(limit: float) -> int:
    return round(limit * 10)
