"""Write video and audio with FFmpeg and OpenCV: transcode, encode, mux."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError
from lipscore.media.encode import frame_sink
from lipscore.media.ffmpeg import ONE_DECODER, Counts, file_url, input_args, run_counted, run_ffmpeg
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
    options = ["-c:v", "libx264", "-crf", str(crf), "-pix_fmt", "yuv444p" if width % 2 or height % 2 else "yuv420p"]
    with ExitStack() as stack:
        inputs: list[str] = []
        if pcm is not None:
            sound = stack.enter_context(_as_wav(pcm, rate, path.parent))
            inputs, options = input_args(sound), [*options, "-c:a", "aac"]
        write = stack.enter_context(
            frame_sink(path, (width, height), Fraction(fps), inputs, [*options, "-movflags", "+faststart"])
        )
        write(first)
        for frame in stream:
            write(frame)


def transcode(
    source: Path, target: Path, options: Sequence[str], sound: Path | None = None, before: Sequence[str] = ()
) -> Counts | None:
    """Transcode a file with these output options; FFmpeg chooses the codecs by the target's suffix.

    Args:
        sound: the second input, if there is one.
        before: FFmpeg's options of the first input.

    Returns:
        FFmpeg's counts for the source; None if it does not print them.

    Raises:
        MediaError: FFmpeg fails; the message quotes its reason.
    """
    # no -frames:v as a bound: with it FFmpeg ends the audio with the picture, which changes published numbers
    inputs = input_args(source) if sound is None else input_args(source, sound)
    args = [*ONE_DECODER, *before, *inputs, *options, "-threads", ENCODER_THREADS, file_url(target)]
    return run_counted(args, source)


def open_writer(path: Path, fourcc: str, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """OpenCV's video writer, whose encoder the protocols use for crops.

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
    with _as_wav(pcm, rate, target.parent) as sound:
        inputs = [*input_args(video), *input_args(sound)]
        run_ffmpeg([*inputs, "-c:v", "copy", "-c:a", codec, file_url(target)], target)


@contextmanager
def _as_wav(pcm: NDArray[np.int16], rate: int, folder: Path) -> Iterator[Path]:
    """The samples as a WAV file in this folder, while the block runs."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".wav") as sound:
        write_wav(Path(sound.name), pcm, rate)
        yield Path(sound.name)


def write_wav(path: Path, pcm: NDArray[np.int16], rate: int) -> None:
    """Write int16[N], mono, at `rate` Hz as a WAV file."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm.astype("<i2", copy=False).data)
