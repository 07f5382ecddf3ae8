"""Video and audio in and out, by FFmpeg and PyAV: probe, transcode, frames, PCM, mux.

Frames and samples travel through pipes; files are written only where a codec step of a published protocol makes the
numbers.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import threading
import wave
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError, NotScoredError
from lipscore.syncnet.ffmpeg import (
    PIPE_BYTES,
    failure,
    ffmpeg_command,
    file_url,
    input_args,
    open_ffmpeg,
    run_ffmpeg,
    started,
)
from lipscore.syncnet.mjpeg import split_jpegs
from lipscore.types import Frame, MediaInfo

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts")
# The encoders cut a frame into as many slices as they have threads, so the picture, and with it the score, would depend
# on the number of cores (a clip under latentsync: LSE-C 5.51 on one core, 5.82 on two). 3 is FFmpeg's choice on two.
ENCODER_THREADS = "3"
# Before an input: each thread of a decoder holds frames (1080p: 57 MB for three), and the encoder behind it is slower
ONE_DECODER = ("-threads", "1")


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
    sha256 = file_sha256(path)
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
            sha256=sha256,
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


def frames_at(path: Path, fps: Fraction | int | None = 25) -> Iterator[Frame]:
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


def read_pcm(path: Path, rate: int = 16000) -> NDArray[np.int16]:
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


def write_video(
    path: Path,
    frames: Iterable[Frame],
    fps: Fraction | int,
    pcm: NDArray[np.int16] | None = None,
    rate: int = 16000,
    *,
    crf: int = 18,
) -> None:
    """Write H.264 and, with pcm (int16[N], mono, rate Hz), AAC into an MP4; frames are uint8[H, W, 3] BGR of one size.

    Raises:
        MediaError: there are no frames, or FFmpeg cannot write the file.
    """
    stream = iter(frames)
    try:
        first = next(stream)
    except StopIteration as error:
        raise MediaError(f"{path}: no frames to write") from error
    height, width = first.shape[:2]
    args = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(Fraction(fps)), "-i", "pipe:0"]
    read_end = write_end = -1
    if pcm is not None:
        read_end, write_end = os.pipe()
        args += ["-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", f"pipe:{read_end}", "-c:a", "aac"]
    args += ["-c:v", "libx264", "-crf", str(crf), "-pix_fmt", "yuv444p" if width % 2 or height % 2 else "yuv420p"]
    command = ffmpeg_command([*args, "-movflags", "+faststart", file_url(path)])
    command.remove("-nostdin")
    handed_on = [read_end] if pcm is not None else []
    with tempfile.TemporaryFile() as said:
        with started(command, stdin=subprocess.PIPE, stderr=said, pass_fds=handed_on) as process:
            assert process.stdin is not None
            feeder = None
            if pcm is not None:
                os.close(read_end)
                feeder = threading.Thread(target=_feed, args=(write_end, pcm.astype("<i2").tobytes()), daemon=True)
                feeder.start()
            try:
                process.stdin.write(first.tobytes())
                for frame in stream:
                    process.stdin.write(frame.tobytes())
                process.stdin.close()
            except BrokenPipeError:
                pass
            process.wait()
        if feeder is not None:
            feeder.join()
        if process.returncode:
            said.seek(0)
            raise failure(path, said.read())


def _feed(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        try:
            pipe.write(data)
        except BrokenPipeError:
            return


def transcode(source: Path, target: Path, options: Sequence[str]) -> None:
    """FFmpeg's own choice of codecs for the target's suffix, with these output options.

    Raises:
        MediaError: FFmpeg fails, and says why.
    """
    args = [*ONE_DECODER, *input_args(source), *options, "-threads", ENCODER_THREADS, file_url(target)]
    run_ffmpeg(args, source)


def opencv_frames(path: Path) -> Iterator[Frame]:
    """The file's frames as OpenCV's own reader gives them, which is how scenedetect sees a file."""
    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            ok, frame = capture.read()
            if not ok:
                return
            yield frame  # type: ignore[misc]
    finally:
        capture.release()


def open_writer(path: Path, fourcc: str, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """OpenCV's video writer: the protocols' crops go through its encoder.

    Raises:
        MediaError: OpenCV cannot write the file.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), fps, size)
    if not writer.isOpened():
        raise MediaError(f"{path}: OpenCV cannot write it; is the temporary folder writable, with space left?")
    return writer


def mux_pcm(video: Path, pcm: NDArray[np.int16], rate: int, target: Path, codec: str) -> None:
    """Join a video's stream, copied, and samples (int16[N], mono, rate Hz) in one file; codec "copy" keeps PCM.

    Raises:
        MediaError: FFmpeg cannot write the target.
    """
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".wav") as sound:
        with wave.open(sound, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(pcm.astype("<i2", copy=False).data)
        sound.flush()
        inputs = [*input_args(video), *input_args(Path(sound.name))]
        run_ffmpeg([*inputs, "-c:v", "copy", "-c:a", codec, file_url(target)], target)


def git_revision(folder: Path) -> tuple[str, bool] | None:
    """(the commit that a checkout is at, whether it has changes not in it); None where there is no checkout."""
    git = ["git", "-C", str(folder), "--no-optional-locks"]
    if not (folder / ".git").exists():
        return None
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git here, or a checkout that belongs to another user
        return None
    return head, bool(changes.strip())
