"""What is done to whole files: audio put beneath a video, audio shifted, a piece cut out exactly at frames.

Each function makes arguments for `lipscore.media.ffmpeg`, which runs FFmpeg. A target is written aside and
renamed, so that it is whole or not there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from lipscore.media import ffmpeg
from lipscore.media.aside import written_aside
from lipscore.media.rates import SAMPLE_RATE
from lipscore.types import MediaInfo

COPY_SHIFT_SUFFIXES = (".mp4", ".m4v", ".mov")  # their edit lists shift a copied stream by any time, exactly
AUDIO_CODECS = {"aac": ("-c:a", "aac", "-b:a", "192k"), "copy": ("-c:a", "copy"), "pcm": ("-c:a", "pcm_s16le")}
PREROLL = 2  # seconds read before a cut: no decoder starts cold at it, and AVI's coarse seeking lands before it


def move(source: Path, target: Path) -> None:
    """Bring a finished file to its place, on another file system too.

    Raises:
        MissingError: the target cannot be written.
    """
    with written_aside(target) as aside:
        shutil.copyfile(source, aside)


def join(video: Path, audio: Path, target: Path, codec: str = "aac", seconds: float | None = None) -> None:
    """The video streams of one file, copied, with the audio of another.

    Args:
        codec: a key of AUDIO_CODECS.
        seconds: cut both to this length.

    Raises:
        MediaError: FFmpeg cannot read one of them, or the target's format does not take them.
        MissingError: the target cannot be written.
    """
    limit = [] if seconds is None else ["-t", f"{seconds:.6f}"]
    inputs = [*ffmpeg.input_args(video), *ffmpeg.input_args(audio)]
    _write(target, [*inputs, "-map", "0:v", "-map", "1:a:0", "-c:v", "copy", *AUDIO_CODECS[codec], *limit], audio)


def shift_audio(source: Path, target: Path, delay: Fraction) -> bool:
    """The same file with its audio moved: delay seconds later, or earlier where negative; the video is copied.

    Audio that moves earlier in a target with COPY_SHIFT_SUFFIXES is copied, and the container says what to skip. Else
    it is decoded, padded or cut by samples, and encoded: a copied stream that begins late is played late by most
    programs, but not by all (FFmpeg's -async 1, with which the published protocols read files, moves it back).

    Returns:
        Whether the audio was copied.

    Raises:
        MediaError: FFmpeg cannot write it.
        MissingError: the target cannot be written.
    """
    copied = delay < 0 and target.suffix.lower() in COPY_SHIFT_SUFFIXES
    if copied:
        moved = ["-itsoffset", f"{float(delay):.6f}", *ffmpeg.input_args(source)]
        audio = ["-c:a", "copy"]
    else:
        moved = ffmpeg.input_args(source)
        seconds = f"{abs(float(delay)):.6f}"
        move = f"adelay=delays={float(delay) * 1000:.3f}:all=1" if delay > 0 else f"atrim=start={seconds}"
        audio = ["-af", f"aresample=async=1:first_pts=0,{move},asetpts=N/SR/TB"]
    args = [*ffmpeg.input_args(source), *moved, "-map", "0:v", "-map", "1:a", "-map", "0:s?", "-c:v", "copy"]
    _write(target, [*args, "-c:s", "copy", *audio], source)
    return copied


def cut(info: MediaInfo, target: Path, start: Fraction, seconds: Fraction) -> None:
    """A piece of a file without loss: frames bit by bit (FFV1) and audio by samples (PCM), both from the same time.

    Args:
        target: a .mkv file.
        start: seconds from the file's start, as seconds after it a frame's time: the frames are taken that begin from
            half a frame before the one to half a frame before the other, so that adjoining pieces share none.

    Raises:
        MediaError: FFmpeg cannot read the file.
        MissingError: the target cannot be written.
    """
    half = 1 / info.fps / 2
    preroll = min(start, Fraction(PREROLL))
    frames = f"trim=start={_s(max(Fraction(0), preroll - half))}:end={_s(preroll - half + seconds)}"
    samples = f"atrim=start={_s(preroll)}:end={_s(preroll + seconds)}"
    args = ["-ss", _s(start - preroll), "-t", _s(preroll + seconds + 1), *ffmpeg.input_args(info.path)]
    args += ["-map", "0:v:0", "-map", "0:a:0", "-vf", f"{frames},setpts=PTS-{_s(preroll)}/TB"]
    args += ["-af", f"{samples},asetpts=PTS-{_s(preroll)}/TB,aresample=async=1:first_pts=0"]
    _write(target, [*args, "-fps_mode", "passthrough", "-c:v", "ffv1", "-c:a", "pcm_s16le"], info.path)


def altered(source: Path, target: Path, options: Sequence[str]) -> None:
    """The first video and audio stream of a file, encoded anew with FFmpeg's options; frames keep their times.

    Raises:
        MediaError: FFmpeg cannot do it.
        MissingError: the target cannot be written.
    """
    streams = ["-map", "0:v:0", "-map", "0:a:0", "-fps_mode", "passthrough"]
    _write(target, [*ffmpeg.input_args(source), *streams, *options], source)


def audio_seconds(path: Path) -> float:
    """How long a file's first audio stream sounds, by its samples.

    Raises:
        MediaError: there is none, or FFmpeg cannot decode it.
    """
    args = [*ffmpeg.input_args(path), "-map", "0:a:0", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-"]
    n_bytes = 0
    with ffmpeg.open_ffmpeg(args, path) as pipe:
        while block := pipe.read(ffmpeg.PIPE_BYTES):
            n_bytes += len(block)
    return n_bytes / 2 / SAMPLE_RATE


def _write(target: Path, args: Sequence[str], about: Path) -> None:
    with written_aside(target) as aside:
        ffmpeg.run_ffmpeg([*args, ffmpeg.file_url(aside)], about)


def _s(seconds: Fraction) -> str:
    return f"{float(seconds):.6f}"
