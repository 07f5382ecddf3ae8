"""FFmpeg as a program: which one, how it is run, and how every one that runs is stopped.

LSE values depend on the FFmpeg build (one clip gave 502 frames with 5.1 and 503 with 7.0), so the build is the one that
imageio-ffmpeg carries, unless LIPSCORE_FFMPEG names another.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import imageio_ffmpeg

from lipscore.errors import MediaError, MissingError

PIPE_BYTES = 1 << 20
# Before an input: each thread of a decoder holds frames (1080p: 57 MB for three), and the encoder behind it is slower
ONE_DECODER = ("-threads", "1")
_running: set[subprocess.Popen[bytes]] = set()


@lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """The FFmpeg program in use: LIPSCORE_FFMPEG where set, else the build that imageio-ffmpeg carries.

    Raises:
        MissingError: there is none, or the one named cannot be run.
    """
    named = os.environ.get("LIPSCORE_FFMPEG")
    if named:
        if not (Path(named).is_file() and os.access(named, os.X_OK)):
            raise MissingError(
                f"LIPSCORE_FFMPEG={named}: not a program; unset it to use the FFmpeg that lipscore brings"
            )
        return named
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingError(f"no FFmpeg: {error}; install imageio-ffmpeg's wheel, or set LIPSCORE_FFMPEG") from error


@lru_cache(maxsize=1)
def ffmpeg_version() -> str:
    """The first line's version word, as "7.0.2-static"."""
    out = subprocess.run([ffmpeg_path(), "-version"], capture_output=True, text=True, check=True).stdout
    return out.split("\n", 1)[0].removeprefix("ffmpeg version ").split(" ", 1)[0]


def file_url(path: Path) -> str:
    """A form that FFmpeg takes for a file name whatever characters it has (a leading dash, a colon)."""
    return f"file:{path}"


def input_args(path: Path) -> list[str]:
    """`-i` and the file, safe for any name."""
    return ["-i", file_url(path)]


def ffmpeg_command(args: Sequence[str]) -> list[str]:
    """The whole command line for these arguments."""
    return [ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *args]


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs no longer than the block, and that `stop_all` reaches; options are Popen's."""
    process = subprocess.Popen(command, **options)
    _running.add(process)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        _running.discard(process)


def stop_all() -> None:
    """End every FFmpeg that runs for another thread; that thread sees a failure."""
    for process in tuple(_running):
        process.kill()


def run_ffmpeg(args: Sequence[str], about: Path) -> bytes:
    """Run FFmpeg to its end and return its standard output.

    Raises:
        MediaError: it failed; the message names `about` and FFmpeg's last words.
    """
    with started(ffmpeg_command(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, said = process.communicate()
    if process.returncode:
        raise failure(about, said)
    return out


@contextmanager
def open_ffmpeg(args: Sequence[str], about: Path) -> Iterator[IO[bytes]]:
    """FFmpeg's standard output as a stream; the process is gone when the block is left.

    Raises:
        MediaError: at the end, if it failed and all of its output was read.
    """
    with tempfile.TemporaryFile() as said:
        with started(ffmpeg_command(args), stdout=subprocess.PIPE, stderr=said, bufsize=PIPE_BYTES) as process:
            assert process.stdout is not None
            if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux's pipe holds 64 kB by itself: sixteen reads for one
                with suppress(OSError):
                    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            with process.stdout:
                yield process.stdout
            process.wait()
        if process.returncode:
            said.seek(0)
            raise failure(about, said.read())


def failure(about: Path, stderr: bytes) -> MediaError:
    """What to raise about a file when FFmpeg failed with these words."""
    words = stderr.decode(errors="replace").strip().splitlines()
    return MediaError(f"{about}: FFmpeg cannot process it: {words[-1] if words else 'no reason given'}")
