"""Steps 1-3 of a protocol: what the input file becomes before a face is looked for.

The published protocols transcode the file and turn every frame into a JPEG; `transcode = "none"` decodes once. Frames
are read in as many passes as the stages need: JPEGs lie on disk between them, decoded frames in memory up to a bound,
so that memory does not grow with length.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import NotScoredError
from lipscore.syncnet import media
from lipscore.syncnet.audio import SAMPLE_RATE
from lipscore.syncnet.protocols import Protocol
from lipscore.types import Frame, MediaInfo

BUDGET = 256 << 20  # bytes of decoded frames kept in memory between two passes
DISK_BUDGET = 8 << 30  # bytes of JPEGs kept on disk between two passes: an hour at 720p
PCM_OPTIONS = ["-ac", "1", "-ar", str(SAMPLE_RATE)]


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The frames of a prepared video, as often as wanted.

    packed() yields them in a cheap form (a JPEG's bytes), unpack() makes uint8[H, W, 3] BGR of one: who needs few
    frames decodes few.
    """

    packed: Callable[[], Iterator[Any]]
    unpack: Callable[[Any], Frame]


@dataclass(frozen=True, slots=True)
class Source:
    """A prepared video: its frames, its frames as the shot detector reads them, and its audio int16[N] at 16 kHz."""

    frames: FrameSource
    shot_frames: Callable[[], Iterator[Frame]]
    pcm: NDArray[np.int16]


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
        size = 0
        for item in self._make():
            size += item.nbytes
            if size <= self._budget:
                keep.append(item)
            else:
                keep.clear()
            yield item
        if size <= self._budget:
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
        with os.fdopen(handle, "wb") as file:
            for item in self._make():
                left -= len(item)
                if left >= 0:
                    try:
                        file.write(item)
                        file.flush()
                        sizes.append(len(item))
                    except OSError:  # the disk is full: the next pass makes the stream again
                        left = -1
                yield item
        if left >= 0:
            self._kept = Path(name), sizes


def prepare(info: MediaInfo, protocol: Protocol, folder: Path) -> Source:
    """Transcode where the protocol does, and open what comes out.

    Args:
        folder: for the transcoded file; the caller deletes it.

    Raises:
        NotScoredError: the file has no audio.
        MediaError: FFmpeg cannot process it.
    """
    path = info.path
    _need_audio(info)
    if protocol.transcode == "none":
        frames = FrameSource(Remembered(lambda: media.frames_at(path, protocol.frame_rate)), lambda frame: frame)
        pcm = media.read_pcm(path) if protocol.audio_from == "clock" else media.pcm_pipe(path, PCM_OPTIONS)
        return Source(frames, frames.packed, pcm)
    video = folder / f"video.{protocol.transcode}"
    media.transcode(path, video, ["-qscale:v", "2", "-async", "1", "-r", str(protocol.frame_rate)])
    pcm = media.pcm_pipe(path if protocol.audio_from == "input" else video, PCM_OPTIONS)
    jpegs = Stored(lambda: media.jpeg_pipe(video, ["-qscale:v", "2"]), folder)
    frames = FrameSource(jpegs, media.decode_jpeg)
    return Source(frames, lambda: media.opencv_frames(video), pcm)


def direct_input(info: MediaInfo) -> tuple[NDArray[np.int16], Callable[[], Iterator[Frame]]]:
    """A file that is a crop already, as step 8 reads it: int16[N] at 16 kHz, and its frames at the file's own rate.

    Rudrabha/Wav2Lip evaluation/scores_LSE/SyncNetInstance_calc_scores.py (evaluate).

    Raises:
        NotScoredError: the file has no audio.
    """
    _need_audio(info)
    pcm = media.pcm_pipe(info.path, ["-async", "1", *PCM_OPTIONS])
    return pcm, lambda: (media.decode_jpeg(data) for data in media.jpeg_pipe(info.path))


def _need_audio(info: MediaInfo) -> None:
    if info.sample_rate is None:
        raise NotScoredError("no_audio", "the file has no audio stream; lips need speech to be compared with")
