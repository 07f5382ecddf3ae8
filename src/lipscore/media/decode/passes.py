"""Streams of frames that several stages read: kept in memory or on disk between passes, up to a limit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from lipscore.types import Frame

BUDGET = 256 << 20  # bytes of decoded frames kept in memory between two passes


DISK_BUDGET = 8 << 30  # bytes of JPEGs kept on disk between two passes: an hour at 720p


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The frames of a prepared video, which can be read several times.

    packed() yields the frames in a compact form (a JPEG's bytes); unpack() turns one into uint8[H, W, 3] BGR. A stage
    that needs few frames decodes only these.
    """

    packed: Callable[[], Iterator[Any]]
    unpack: Callable[[Any], Frame]


def _stored(file: FileIO, item: bytes) -> bool:
    """Whether the item was written completely; on a full disk, the next pass makes the stream again."""
    try:
        return file.write(item) == len(item)
    except OSError:
        return False


class Remembered:
    """A stream of frames that is kept for the next pass while it fits into `budget` bytes, else made again."""

    def __init__(self, make: Callable[[], Iterator[Frame]], budget: int = BUDGET) -> None:
        self._make, self._budget = make, budget
        self._kept: list[Frame] | None = None

    def __call__(self) -> Iterator[Frame]:
        """The stream from its start."""
        if self._kept is not None:
            yield from self._kept
            return
        keep: list[Frame] = []
        left = self._budget
        for item in self._make():
            left -= item.nbytes
            if left >= 0:
                keep.append(item)
            elif self._budget:
                keep.clear()
                self._budget = 0  # the next pass keeps nothing of what will not fit again
            yield item
        if left >= 0:
            self._kept = keep


class Stored:
    """A stream of bytes that lies in a file below `folder` for the next pass while it fits into `budget` bytes."""

    def __init__(self, make: Callable[[], Iterator[bytes]], folder: Path, budget: int = DISK_BUDGET) -> None:
        self._make, self._folder, self._budget = make, folder, budget
        self._kept: tuple[Path, list[int]] | None = None

    def __call__(self) -> Iterator[bytes]:
        """The stream from its start."""
        if self._kept is not None:
            path, lengths = self._kept
            with path.open("rb") as kept:
                for length in lengths:
                    yield kept.read(length)
            return
        handle, name = tempfile.mkstemp(dir=self._folder)
        sizes: list[int] = []
        left = self._budget
        with os.fdopen(handle, "wb", buffering=0) as file:  # what a buffer holds on a full disk fails again at the end
            for item in self._make():
                left -= len(item)
                if left >= 0 and not _stored(file, item):
                    left = -1
                    with suppress(OSError):
                        file.truncate(0)
                sizes.append(len(item))
                yield item
        if left >= 0:
            self._kept = Path(name), sizes
