"""Read video and audio with FFmpeg, PyAV and OpenCV: probe, frames, PCM, JPEGs.

Frames and samples go through pipes; a file is written only if a codec step of a published protocol changes the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.media import limits
from lipscore.media.container.probe import file_sha256 as file_sha256
from lipscore.media.container.probe import probe as probe
from lipscore.media.container.probe import probe_heard as probe_heard
from lipscore.media.decode import frames, sound
from lipscore.media.decode.frames import Decoded as Decoded
from lipscore.media.decode.frames import count_frames as count_frames
from lipscore.media.decode.mjpeg import split_jpegs
from lipscore.media.ffmpeg import ONE_DECODER, PIPE_BYTES, Counts, input_args, open_ffmpeg
from lipscore.media.rates import FRAME_RATE, SAMPLE_RATE
from lipscore.types import Frame, MediaInfo

# What is taken for sound in a folder, besides videos
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".wma", ".mka", ".aiff", ".aif", ".w64"),
    *(".ac3", ".caf", ".amr", ".alac", ".weba", ".mp2"),
)
# What is taken for a video in a folder; any other file is looked into (see eval/run/inputs/paths.py)
VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts"),
    *(".mts", ".m2ts", ".m2t", ".3gp", ".3g2", ".ogv", ".mxf", ".gif", ".vob", ".asf", ".f4v", ".qt", ".divx"),
    *(".rm", ".rmvb", ".dv", ".nut", ".wtv", ".m2v", ".m1v", ".mpv", ".mjpeg", ".mjpg", ".y4m", ".amv", ".ogm"),
)


def frames_at(
    source: Path | MediaInfo,
    fps: Fraction | int | None = FRAME_RATE,
    *,
    square: bool = True,
    counts: Decoded | None = None,
) -> Iterator[Frame]:
    """Decode once and resample by timestamps.

    Frame k is the source frame nearest to the time k / fps after the first frame (the earlier one of two equally near):
    exact for every source rate, constant or variable. Every frame that decodes counts, whatever its timestamp; only
    damaged frames are lost. The display matrix is applied, and frames of another size are scaled to the first one's.

    Args:
        source: the file, or the result of probe().
        fps: the frames per second of the result; None: the source's own frames, each once.
        square: scale to square pixels if the file's are not square.
        counts: is filled with the counts of what was decoded.

    Yields:
        uint8[H, W, 3] BGR.

    Raises:
        MediaError: the file cannot be opened, or nothing in it can be decoded.
    """
    info = source if isinstance(source, MediaInfo) else probe(source)
    yield from frames.read_frames(info, fps, square, Decoded() if counts is None else counts)


def read_pcm(source: Path | MediaInfo, rate: int = SAMPLE_RATE) -> NDArray[np.int16]:
    """The audio, mono, on the video's clock: sample 0 sounds with the first frame, gaps in the timestamps are silence.

    In a file without a video, sample 0 is the audio's first. If the channels cancel each other in a mix, only the
    loudest one is taken.

    Returns:
        int16[N] at rate Hz.

    Raises:
        NotScoredError: there is no audio (status no_audio).
        MediaError: the file cannot be opened.
    """
    info = source if isinstance(source, MediaInfo) else probe_heard(source)
    return sound.clocked(info, rate).pcm


def hearing(info: MediaInfo, sound: Path) -> MediaInfo:
    """The video with the sound of another file: WAV, FLAC, MP3, or any other file with an audio stream.

    Raises:
        MediaError: the sound file cannot be read.
    """
    return replace(info, sound=probe_heard(sound))


def pcm_pipe(path: Path, options: Sequence[str]) -> NDArray[np.int16]:
    """A file's audio as FFmpeg decodes it with these output options: int16[N].

    Raises:
        MediaError: FFmpeg fails; the message quotes its reason.
    """
    samples = bytearray()  # grows in place: an hour is 115 MB, and parts to be joined would be as much again
    with open_ffmpeg([*input_args(path), "-vn", *options, "-c:a", "pcm_s16le", "-f", "s16le", "-"], path) as pipe:
        watch, rate = limits.current(), _rate_of(options)
        while part := pipe.read(PIPE_BYTES):
            samples += part
            if watch is not None:
                watch.heard(len(samples) / 2 / rate)
    return np.frombuffer(samples, dtype="<i2")


def _rate_of(options: Sequence[str]) -> int:
    """The sample rate in FFmpeg's output options, in Hz."""
    return int(options[options.index("-ar") + 1]) if "-ar" in options else SAMPLE_RATE


def jpeg_pipe(
    path: Path,
    options: Sequence[str] = (),
    counted: Callable[[Counts | None], object] | None = None,
    before: Sequence[str] = (),
) -> Iterator[bytes]:
    """The file's frames as FFmpeg's MJPEG encoder writes them, one JPEG each, without touching the disk.

    The bytes are those of `-f image2 %06d.jpg` with the same options.

    Args:
        options: FFmpeg's options of the output.
        counted: called at the end with FFmpeg's counts.
        before: FFmpeg's options of the input.
    """
    args = [
        *ONE_DECODER,
        *before,
        *input_args(path),
        *options,
        "-threads",
        "1",
        "-f",
        "image2pipe",
        "-c:v",
        "mjpeg",
        "-",
    ]
    with open_ffmpeg(args, path, counted) as pipe:
        yield from split_jpegs(pipe)


def decode_jpeg(data: bytes) -> Frame:
    """uint8[H, W, 3] BGR, as cv2.imread gives."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[return-value]


def opencv_frames(path: Path) -> Iterator[Frame]:
    """The file's frames uint8[H, W, 3] BGR from OpenCV's own reader, as scenedetect reads a file."""
    for frame, _ in _timed(path):
        yield frame


def filled_frames(path: Path, fps: int) -> Iterator[Frame]:
    """The frames of a file with a constant frame rate, at the places where FFmpeg's image writer puts them.

    FFmpeg's AVI files can lack a frame or two near the start. Each is filled with its nearest neighbour, or with the
    later one of two equally near.

    Args:
        fps: the file's frame rate.

    Yields:
        uint8[H, W, 3] BGR.
    """
    number, before, before_at = 0, None, 0
    for frame, seconds in _timed(path):
        at = round(seconds * fps)
        for missing in range(number, at):
            earlier = before is not None and missing - before_at < at - missing
            yield before if earlier else frame  # type: ignore[misc]
        if at >= number:
            yield frame
            number, before, before_at = at + 1, frame, at


def _timed(path: Path) -> Iterator[tuple[Frame, float]]:
    """OpenCV's frames with their times in seconds."""
    # A decoder with a thread per core gives the same frames, and its threads are in the way of other videos
    capture = cv2.VideoCapture(str(path), cv2.CAP_ANY, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        while True:
            ok, frame = capture.read()
            if not ok:
                return
            yield frame, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000  # type: ignore[misc]
    finally:
        capture.release()
