"""Video and audio out, by FFmpeg and OpenCV: transcode, encode, mux."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import wave
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError
from lipscore.media.ffmpeg import (
    ONE_DECODER,
    Counts,
    failure,
    ffmpeg_command,
    file_url,
    input_args,
    run_counted,
    run_ffmpeg,
    started,
)
from lipscore.media.rates import SAMPLE_RATE
from lipscore.types import Frame

# The encoders cut a frame into as many slices as they have threads, so the picture, and with it the score, would depend
# on the number of cores (a clip under latentsync: LSE-C 5.51 on one core, 5.82 on two). 3 is FFmpeg's choice on two.
ENCODER_THREADS = "3"


def write_video(
    path: Path,
    frames: Iterable[Frame],
    fps: Fraction | int,
    pcm: NDArray[np.int16] | None = None,
    rate: int = SAMPLE_RATE,
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
            raise failure(path, said.read(), process.returncode)


def _feed(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        try:
            pipe.write(data)
        except BrokenPipeError:
            return


def transcode(source: Path, target: Path, options: Sequence[str], sound: Path | None = None) -> Counts | None:
    """FFmpeg's own choice of codecs for the target's suffix, with these output options.

    Args:
        sound: the second input, if there is one.

    Returns:
        What FFmpeg decoded of the source, None where it does not say.

    Raises:
        MediaError: FFmpeg fails, and says why.
    """
    # no -frames:v as a bound: with it FFmpeg ends the audio with the picture, which changes published numbers
    inputs = input_args(source) if sound is None else input_args(source, sound)
    args = [*ONE_DECODER, *inputs, *options, "-threads", ENCODER_THREADS, file_url(target)]
    return run_counted(args, source)


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
        write_wav(Path(sound.name), pcm, rate)
        inputs = [*input_args(video), *input_args(Path(sound.name))]
        run_ffmpeg([*inputs, "-c:v", "copy", "-c:a", codec, file_url(target)], target)


def write_wav(path: Path, pcm: NDArray[np.int16], rate: int) -> None:
    """Write int16[N], mono, at `rate` Hz as a WAV file."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm.astype("<i2", copy=False).data)
