"""FFmpeg as a program: choose the build, run it, and stop its running processes.

LSE values depend on the FFmpeg build (one clip gave 502 frames with 5.1 and 503 with 7.0). lipscore therefore uses the
build that imageio-ffmpeg contains, unless LIPSCORE_FFMPEG names another.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import av
import imageio_ffmpeg

from lipscore.errors import MediaError, MissingError
from lipscore.media import limits

PIPE_BYTES = 1 << 20
# Formats of files that name other files, or addresses, to be opened
FOLLOWING = frozenset({"concat", "hls", "dash", "sdp", "rtsp", "imf", "webm_dash_manifest", "vobsub", "avisynth"})
MEASURED = "7.0.2-static"  # the build that every claim of equality was measured with; imageio-ffmpeg 0.7 carries it
# Before an input: each thread of a decoder holds frames (1080p: 57 MB for three), and the encoder behind it is slower
ONE_DECODER = ("-threads", "1")
# The static build loads the host's gconv modules for a text in an MPEG-TS, and dies where glibc is another one's
NO_GCONV = {"GCONV_PATH": "/lipscore-loads-no-gconv-modules"}
_running: dict[subprocess.Popen[bytes], threading.Thread] = {}  # and the thread that started it
_LEVEL = re.compile(r"^(?:\[[^\]]*\] )*?\[(?P<level>fatal|error|warning|info|verbose)\] ?")
_DECODED = re.compile(r"Input stream #0:\d+ \(video\): .*?(\d+) frames decoded(?:; (\d+) decode errors)?")
_STREAM = re.compile(r"Stream #0:(\d+)\S* (?:Video|Audio): (\w+)(?: \((?!.{4} / 0x)[^)]*\))?(?: \((.{4}) / 0x)?")
# What FFmpeg says last when it fails, which is not why
_AFTERMATH = ("Conversion failed", "Nothing was written", "Error opening output", "Task finished", "Terminating thread")


@dataclass(frozen=True, slots=True)
class Counts:
    """FFmpeg's counts for the first video stream that it read.

    errors: packets that it could not decode. concealed: frames with damaged parts that it had to fill in.
    """

    frames: int
    errors: int
    concealed: int


@lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """The FFmpeg program in use: LIPSCORE_FFMPEG if set, else the build that imageio-ffmpeg contains.

    Raises:
        MissingError: there is no FFmpeg, or the named one cannot be run.
    """
    named = os.environ.get("LIPSCORE_FFMPEG")
    if named:
        if not (Path(named).is_file() and os.access(named, os.X_OK)):
            raise MissingError(f"LIPSCORE_FFMPEG={named}: not a program; unset it to use lipscore's own FFmpeg")
        return named
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingError(f"no FFmpeg: {error}; install imageio-ffmpeg's wheel, or set LIPSCORE_FFMPEG") from error


@lru_cache(maxsize=1)
def ffmpeg_version() -> str:
    """The version word of FFmpeg's first line, such as "7.0.2-static".

    Raises:
        MissingError: the program is not FFmpeg, or does not run.
    """
    path = ffmpeg_path()
    try:
        out = subprocess.run([path, "-version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError) as error:
        raise MissingError(f"{path}: does not run as FFmpeg does ({error}); unset LIPSCORE_FFMPEG") from error
    first = out.split("\n", 1)[0]
    if not first.startswith("ffmpeg version "):
        raise MissingError(f"{path}: is not FFmpeg (it says {first[:60]!r}); unset LIPSCORE_FFMPEG")
    return first.removeprefix("ffmpeg version ").split(" ", 1)[0]


def is_measured() -> bool:
    """Whether this is the build that the published protocols were checked with; other builds give other pixels."""
    return not os.environ.get("LIPSCORE_FFMPEG") and ffmpeg_version() == MEASURED


def build_notes() -> tuple[str, ...]:
    """The note for every record if the protocols were not checked with this FFmpeg; else empty."""
    if is_measured():
        return ()
    return (
        f"FFmpeg {ffmpeg_version()} ({ffmpeg_path()}) is not the build that the protocols were checked with, "
        f"imageio-ffmpeg's {MEASURED}: LSE-D and LSE-C can differ in the first decimal",
    )


def file_url(path: Path) -> str:
    """A form that FFmpeg accepts as a file name, whatever characters it contains (a leading dash, a colon)."""
    return f"file:{path}"


@lru_cache(maxsize=1)
def own_formats() -> str:
    """All formats except those whose files name other files (FOLLOWING), for FFmpeg's format_whitelist.

    A text named clip.mp4 may be a playlist, and FFmpeg opens the listed files as soon as it has recognised it.
    """
    return ",".join(sorted(av.formats_available - FOLLOWING))


def input_args(*paths: Path) -> list[str]:
    """`-i` and the file, safe for any name and content; of several, the arguments of each."""
    return [word for path in paths for word in ("-format_whitelist", own_formats(), "-i", file_url(path))]


def map_args(*streams: int | None, file: int = 0) -> list[str]:
    """`-map` for these streams of input number `file`; None is left out."""
    return [word for stream in streams if stream is not None for word in ("-map", f"{file}:{stream}")]


def ffmpeg_command(args: Sequence[str], level: str = "error") -> list[str]:
    """The whole command line for these arguments."""
    return [ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", f"level+{level}", "-y", *args]


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A running program that ends with the block or with this process, or by `stop_all`; options are Popen's.

    Raises:
        NotScoredError: the time limit of the current video is exceeded (`lipscore.media.limits`).
    """
    process = subprocess.Popen([*_dying_along(), *command], env={**os.environ, **NO_GCONV}, **options)
    _running[process] = threading.current_thread()
    watch = limits.current()
    try:
        with watch.ending(process.kill) if watch is not None else nullcontext():
            yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        _running.pop(process, None)


@lru_cache(maxsize=1)
def _dying_along() -> tuple[str, ...]:
    """A command prefix that makes the kernel end a program when this process dies for any reason; () if unavailable.

    It is setpriv (util-linux 2.33) rather than a preexec_fn, which forks: a fork runs the fork handlers of OpenBLAS and
    OpenMP while other threads compute.
    """
    found = shutil.which("setpriv")
    if found is None:
        return ()
    command = (found, "--pdeathsig", "KILL", "--")
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else ()


def stop_all(threads: Collection[threading.Thread] | None = None) -> None:
    """End every FFmpeg that these threads (None: all threads) started; the threads then get an error."""
    for process, thread in tuple(_running.items()):
        if threads is None or thread in threads:
            process.kill()


def run_ffmpeg(args: Sequence[str], about: Path) -> bytes:
    """Run FFmpeg to its end and return its standard output.

    Raises:
        MediaError: it failed; the message names `about` and FFmpeg's reason.
    """
    with started(ffmpeg_command(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, said = process.communicate()
    if process.returncode:
        raise failure(about, said, process.returncode)
    return out


def run_counted(args: Sequence[str], about: Path) -> Counts | None:
    """Run FFmpeg to its end; returns its counts, or None if it does not print them.

    Raises:
        MediaError: it failed; the message names `about` and FFmpeg's reason.
    """
    with started(ffmpeg_command(args, "verbose"), stderr=subprocess.PIPE) as process:
        _, said = process.communicate()
    if process.returncode:
        raise failure(about, said, process.returncode)
    return _counts(said)


@contextmanager
def open_ffmpeg(
    args: Sequence[str], about: Path, counted: Callable[[Counts | None], object] | None = None
) -> Iterator[IO[bytes]]:
    """FFmpeg's standard output as a stream; the process is gone when the block is left.

    Args:
        counted: called at the end with FFmpeg's counts.

    Raises:
        MediaError: at the end, if FFmpeg failed and all of its output was read.
    """
    command = ffmpeg_command(args, "error" if counted is None else "verbose")
    with tempfile.TemporaryFile() as said:
        with started(command, stdout=subprocess.PIPE, stderr=said, bufsize=PIPE_BYTES) as process:
            assert process.stdout is not None
            if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux's pipe holds 64 kB by itself: sixteen reads for one
                with suppress(OSError):
                    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            with process.stdout:
                yield process.stdout
            process.wait()
        said.seek(0)
        if process.returncode:
            raise failure(about, said.read(), process.returncode)
        if counted is not None:
            counted(_counts(said.read()))


def stream_codecs(path: Path) -> dict[int, str]:
    """FFmpeg's name of the codec of each video and audio stream; for an unknown codec, its four characters."""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", *input_args(path)]
    with started(command, stderr=subprocess.PIPE) as process:
        _, said = process.communicate()
    found = _STREAM.findall(said.decode(errors="replace"))
    return {int(index): tag if name == "none" and tag else name for index, name, tag in found}


def failure(about: Path, stderr: bytes, status: int) -> MediaError:
    """The error for a file with which FFmpeg ended with this status and this output."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    found = [(match["level"], line[match.end() :].strip()) for line in lines if (match := _LEVEL.match(line))]
    words = [text for level, text in found if level in ("fatal", "error")]
    causes = [text for text in words if not text.startswith(_AFTERMATH)]
    reason = (causes or words or ["no reason given"])[-1]
    if status < 0:
        return MediaError(f"{about}: FFmpeg was ended by {_signal_name(-status)} while it read the file")
    return MediaError(f"{about}: FFmpeg cannot process it: {reason}")


def _signal_name(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"


def _counts(said: bytes) -> Counts | None:
    text = said.decode(errors="replace")
    found = _DECODED.search(text)
    return Counts(int(found[1]), int(found[2] or 0), text.count("] concealing ")) if found else None
