"""Encode frames with FFmpeg one by one, as another part of the program produces them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from lipscore.media.ffmpeg import failure, ffmpeg_command, file_url, started
from lipscore.types import Frame


@contextmanager
def frame_sink(
    target: Path, size: tuple[int, int], fps: Fraction, inputs: Sequence[str], options: Sequence[str]
) -> Iterator[Callable[[Frame], None]]:
    """A function that encodes the next frame, uint8[H, W, 3] BGR; the file is complete when the block ends.

    Args:
        size: width, height of every frame.
        inputs: FFmpeg's arguments for further inputs, which have the numbers 1, 2 ...; the frames are input 0.
        options: FFmpeg's arguments for the output.

    Raises:
        MediaError: FFmpeg cannot write the file; the message quotes its reason.
    """
    width, height = size
    args = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "pipe:0"]
    command = ffmpeg_command([*args, *inputs, *options, file_url(target)])
    command.remove("-nostdin")
    with tempfile.TemporaryFile() as said:
        with started(command, stdin=subprocess.PIPE, stderr=said) as process:
            assert process.stdin is not None
            pipe = process.stdin

            def write(frame: Frame) -> None:
                try:
                    pipe.write(frame.tobytes())
                except BrokenPipeError:
                    process.wait()
                    said.seek(0)
                    raise failure(target, said.read(), process.returncode) from None

            yield write
            with suppress(BrokenPipeError):
                pipe.close()
            process.wait()
        if process.returncode:
            said.seek(0)
            raise failure(target, said.read(), process.returncode)
