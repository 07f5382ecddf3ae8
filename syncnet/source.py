"""Steps 1-3 of a protocol: what the input file becomes before a face is looked for.

The published protocols transcode the file and turn every frame into a JPEG; `transcode = "none"` decodes once. Frames
are read in as many passes as the stages need: JPEGs lie on disk between them, decoded frames in memory up to a bound,
so that memory does not grow with length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import NotScoredError
from lipscore.media import read, write
from lipscore.media.passes import FrameSource, Remembered, Stored
from lipscore.syncnet.protocols import Protocol
from lipscore.syncnet.window import SAMPLE_RATE
from lipscore.types import Frame, MediaInfo

PCM_OPTIONS = ["-ac", "1", "-ar", str(SAMPLE_RATE)]


@dataclass(frozen=True, slots=True)
class Source:
    """A prepared video: its frames, its frames as the shot detector reads them, and its audio int16[N] at 16 kHz."""

    frames: FrameSource
    shot_frames: Callable[[], Iterator[Frame]]
    pcm: NDArray[np.int16]


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
        frames = FrameSource(Remembered(lambda: read.frames_at(path, protocol.frame_rate)), lambda frame: frame)
        pcm = read.read_pcm(path) if protocol.audio_from == "clock" else read.pcm_pipe(path, PCM_OPTIONS)
        return Source(frames, frames.packed, pcm)
    video = folder / f"video.{protocol.transcode}"
    write.transcode(path, video, ["-qscale:v", "2", "-async", "1", "-r", str(protocol.frame_rate)])
    pcm = read.pcm_pipe(path if protocol.audio_from == "input" else video, PCM_OPTIONS)
    jpegs = Stored(lambda: read.jpeg_pipe(video, ["-qscale:v", "2"]), folder)
    frames = FrameSource(jpegs, read.decode_jpeg)
    return Source(frames, lambda: read.opencv_frames(video), pcm)


def direct_input(info: MediaInfo) -> tuple[NDArray[np.int16], Callable[[], Iterator[Frame]]]:
    """A file that is a crop already, as step 8 reads it: int16[N] at 16 kHz, and its frames at the file's own rate.

    Rudrabha/Wav2Lip evaluation/scores_LSE/SyncNetInstance_calc_scores.py (evaluate).

    Raises:
        NotScoredError: the file has no audio.
    """
    _need_audio(info)
    pcm = read.pcm_pipe(info.path, ["-async", "1", *PCM_OPTIONS])
    return pcm, lambda: (read.decode_jpeg(data) for data in read.jpeg_pipe(info.path))


def _need_audio(info: MediaInfo) -> None:
    if info.sample_rate is None:
        raise NotScoredError("no_audio", "the file has no audio stream; lips need speech to be compared with")
