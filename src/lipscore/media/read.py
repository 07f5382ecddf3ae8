"""Video and audio in and out, by FFmpeg and PyAV: probe, transcode, frames, PCM, mux.

Frames and samples travel through pipes; files are written only where a codec step of a published protocol makes the
numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError, NotScoredError
from lipscore.media.ffmpeg import (
    ONE_DECODER,
    PIPE_BYTES,
    file_url,
    input_args,
    open_ffmpeg,
)
from lipscore.media.mjpeg import split_jpegs
from lipscore.media.rates import FRAME_RATE, SAMPLE_RATE
from lipscore.types import Frame, MediaInfo

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts")


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes.

    Raises:
        MediaError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error


def probe(path: Path) -> MediaInfo:
    """What the container says of a video file.

    Raises:
        MediaError: it is no file, no media file, or has no video stream.
    """
    with _opened(path) as container:
        if not container.streams.video:
            raise MediaError(f"{path}: has no video stream; give a video file")
        video = container.streams.video[0]
        fps = Fraction(video.average_rate or video.guessed_rate or 25)
        duration = float((container.duration or 0) / av.time_base)
        if video.duration is not None and video.time_base is not None:
            duration = float(video.duration * video.time_base)
        width, height = video.codec_context.width, video.codec_context.height
        try:
            first = next(container.decode(video))
        except (StopIteration, av.FFmpegError, OSError) as error:
            raise MediaError(f"{path}: not one frame can be decoded; is the file cut short?") from error
        if first.rotation % 180:
            width, height = height, width
        audio = container.streams.audio[0] if container.streams.audio else None
        return MediaInfo(
            path=path,
            fps=fps,
            n_frames=video.frames or round(duration * float(fps)),
            width=width,
            height=height,
            sample_rate=audio.codec_context.sample_rate if audio is not None else None,
            duration_s=duration,
        )


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        container = av.open(file_url(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path}: no readable media file ({reason}); is it complete, and a video?") from error
    try:
        yield container
    finally:
        container.close()


def frames_at(path: Path, fps: Fraction | int | None = FRAME_RATE) -> Iterator[Frame]:
    """Decode once and resample by timestamps.

    Frame k is the source frame nearest to the time k / fps after the first frame (the earlier one of two equally near):
    exact for every source rate, constant or variable. Rotation metadata is applied.

    Args:
        fps: frames per second wanted; None: the source's own frames, each once.

    Yields:
        uint8[H, W, 3] BGR.

    Raises:
        MediaError: the file cannot be opened, or nothing in it can be decoded.
    """
    previous: av.VideoFrame | None = None
    previous_t = Fraction(0)
    origin: Fraction | None = None
    k = 0
    for frame, t in _timed_frames(path):
        origin = t if origin is None else origin
        if fps is None:
            yield _bgr(frame)
            continue
        if previous is not None:
            image: Frame | None = None
            while Fraction(k) / fps - (previous_t - origin) <= (t - origin) - Fraction(k) / fps:
                image = _bgr(previous) if image is None else image
                yield image
                k += 1
        previous, previous_t = frame, t
    if origin is None:
        raise MediaError(f"{path}: not one frame can be decoded; is the file cut short?")
    if fps is not None and previous is not None:
        image = _bgr(previous)
        last = previous_t - origin + _duration(previous)
        while k == 0 or Fraction(k) / fps < last:
            yield image
            k += 1


def _timed_frames(path: Path) -> Iterator[tuple[av.VideoFrame, Fraction]]:
    """Decoded frames with their times in seconds, ever later; what follows damage in the stream is left out."""
    with _opened(path) as container:
        if not container.streams.video:
            raise MediaError(f"{path}: has no video stream; give a video file")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        last: Fraction | None = None
        decoded = container.decode(stream)
        while True:
            try:
                frame = next(decoded)
            except (StopIteration, av.FFmpegError):
                return
            if frame.pts is not None and frame.time_base is not None:
                t = frame.pts * frame.time_base
            else:
                t = (last or Fraction(0)) + 1 / rate
            if last is None or t > last:
                last = t
                yield frame, t


def _duration(frame: av.VideoFrame) -> Fraction:
    return frame.duration * frame.time_base if frame.duration and frame.time_base else Fraction(1, 25)


def _bgr(frame: av.VideoFrame) -> Frame:
    image: Frame = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
    turns = frame.rotation % 360 // 90
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def read_pcm(path: Path, rate: int = SAMPLE_RATE) -> NDArray[np.int16]:
    """The audio, mono, on the video's clock: sample 0 sounds with the first frame, gaps in the timestamps are silence.

    Returns:
        int16[N] at rate Hz.

    Raises:
        NotScoredError: there is no audio (status no_audio).
        MediaError: FFmpeg cannot decode it.
    """
    with _opened(path) as container:
        if not container.streams.audio:
            raise NotScoredError("no_audio", "the file has no audio stream; lips need speech to be compared with")
        lead = Fraction(0)
        if container.streams.video:
            video = container.streams.video[0]
            if video.start_time is not None and video.time_base is not None and container.start_time is not None:
                lead = video.start_time * video.time_base - Fraction(container.start_time, av.time_base)
    pcm = pcm_pipe(path, ["-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", str(rate)])
    return pcm[max(0, round(lead * rate)) :]


def pcm_pipe(path: Path, options: Sequence[str]) -> NDArray[np.int16]:
    """What FFmpeg makes of a file's audio with these output options, as int16 samples.

    Raises:
        MediaError: FFmpeg fails, and says why.
    """
    samples = bytearray()  # grows in place: an hour is 115 MB, and parts to be joined would be as much again
    with open_ffmpeg([*input_args(path), "-vn", *options, "-c:a", "pcm_s16le", "-f", "s16le", "-"], path) as pipe:
        while part := pipe.read(PIPE_BYTES):
            samples += part
    return np.frombuffer(samples, dtype="<i2")


def jpeg_pipe(path: Path, options: Sequence[str] = ()) -> Iterator[bytes]:
    """The file's frames as FFmpeg's MJPEG encoder writes them, one JPEG each, without touching the disk.

    The same bytes as `-f image2 %06d.jpg` gives with the same options.
    """
    args = [*ONE_DECODER, *input_args(path), *options, "-threads", "1", "-f", "image2pipe", "-c:v", "mjpeg", "-"]
    with open_ffmpeg(args, path) as pipe:
        yield from split_jpegs(pipe)


def decode_jpeg(data: bytes) -> Frame:
    """uint8[H, W, 3] BGR, as cv2.imread gives."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[return-value]


def opencv_frames(path: Path) -> Iterator[Frame]:
    """The file's frames as OpenCV's own reader gives them, which is how scenedetect sees a file."""
    # A decoder with a thread per core gives the same frames, and its threads are in the way of other videos
    capture = cv2.VideoCapture(str(path), cv2.CAP_ANY, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        while True:
            ok, frame = capture.read()
            if not ok:
                return
            yield frame  # type: ignore[misc]
    finally:
        capture.release()
