"""Edits of whole files: join a video with audio, shift audio, cut out a piece exactly at frames.

A target is written under a temporary name and renamed, so it is complete or absent.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipscore.errors import MediaError
from lipscore.media import ffmpeg
from lipscore.media.container.packets import opened
from lipscore.media.container.streams import unreadable
from lipscore.media.decode.frames import Decoded
from lipscore.media.decode.piece import write_piece
from lipscore.media.files.aside import written_aside
from lipscore.media.rates import SAMPLE_RATE
from lipscore.types import MediaInfo

COPY_SHIFT_SUFFIXES = (".mp4", ".m4v", ".mov")  # their edit lists shift a copied stream by any time, exactly
AUDIO_CODECS = {"aac": ("-c:a", "aac", "-b:a", "192k"), "copy": ("-c:a", "copy"), "pcm": ("-c:a", "pcm_s16le")}


def move(source: Path, target: Path) -> None:
    """Move a finished file to its place, also across file systems.

    Raises:
        MissingError: the target cannot be written.
    """
    with written_aside(target) as aside:
        shutil.copyfile(source, aside)


@dataclass(frozen=True, slots=True)
class Shifted:
    """How audio was moved: whether it was copied, and which streams are missing in the result."""

    copied: bool
    left: tuple[str, ...]


def join(
    video: Path,
    audio: Path,
    target: Path,
    codec: str = "aac",
    seconds: float | None = None,
    stream: int | None = None,
) -> None:
    """Join the video streams of one file, copied, with the audio of another.

    Args:
        codec: a key of AUDIO_CODECS.
        seconds: cut both to this length; None: keep the lengths.
        stream: the index of the other file's stream; None: its first audio stream.

    Raises:
        MediaError: FFmpeg cannot read one of the files, or the target's format does not accept their streams.
        MissingError: the target cannot be written.
    """
    limit = [] if seconds is None else ["-t", f"{seconds:.6f}"]
    inputs = [*ffmpeg.input_args(video), *ffmpeg.input_args(audio)]
    sound = "1:a:0" if stream is None else f"1:{stream}"
    _write(target, [*inputs, "-map", "0:v", "-map", sound, "-c:v", "copy", *AUDIO_CODECS[codec], *limit], audio)


def shift_audio(source: Path, target: Path, delay: Fraction) -> Shifted:
    """Write the file with its audio moved by `delay` seconds: later, or earlier if negative. The video is copied.

    If audio moves earlier and the target has one of COPY_SHIFT_SUFFIXES, it is copied, and the container says what to
    skip. Otherwise it is decoded, padded or cut by samples, and encoded: most programs play a copied stream that begins
    late at the right time, but FFmpeg's -async 1, with which the published protocols read files, moves it back.

    The result has all video and audio streams with a decoder, and the subtitles if the target accepts them.

    Raises:
        MediaError: FFmpeg cannot write it.
        MissingError: the target cannot be written.
    """
    copied = delay < 0 and target.suffix.lower() in COPY_SHIFT_SUFFIXES
    with opened(source) as container:
        video = [stream.index for stream in container.streams.video if stream.codec_context is not None]
        audio = [stream.index for stream in container.streams.audio if stream.codec_context is not None]
        subtitles = [stream.index for stream in container.streams.subtitles]
        left = [name for _, name in unreadable(source, container)]
    if copied:
        moved = ["-itsoffset", f"{float(delay):.6f}", *ffmpeg.input_args(source)]
        sound = ["-c:a", "copy"]
    else:
        moved = ffmpeg.input_args(source)
        seconds = f"{abs(float(delay)):.6f}"
        move = f"adelay=delays={float(delay) * 1000:.3f}:all=1" if delay > 0 else f"atrim=start={seconds}"
        sound = ["-af", f"aresample=async=1:first_pts=0,{move},asetpts=N/SR/TB"]
    maps = [*_maps(0, video), *_maps(1, audio)]
    args = [*ffmpeg.input_args(source), *moved, *maps]
    try:
        _write(target, [*args, *_maps(0, subtitles), "-c:v", "copy", "-c:s", "copy", *sound], source)
    except MediaError:
        if not subtitles:
            raise
        _write(target, [*args, "-c:v", "copy", *sound], source)
        left.append("subtitles")
    return Shifted(copied, tuple(left))


def _maps(number: int, streams: Iterable[int]) -> list[str]:
    """`-map` for streams of an input."""
    return [word for stream in streams for word in ("-map", f"{number}:{stream}")]


def cut(info: MediaInfo, target: Path, start: Fraction, seconds: Fraction) -> Decoded:
    """Cut out a piece of a file without loss: frames as FFV1 and audio as PCM, both on the file's clock.

    Args:
        target: a .mkv file.
        start: the time of the piece's first frame, in seconds from the file's first frame.
        seconds: the piece's length; start + seconds is a frame's time, too. Both ends are moved half a frame earlier,
            so that neighbouring pieces share no frame.

    Returns:
        The counts of what was decoded of the piece.

    Raises:
        MediaError: the file cannot be read, or no frame lies in the piece.
        MissingError: the target cannot be written.
    """
    with written_aside(target) as aside:
        return write_piece(info, aside, start, seconds)


def altered(source: Path, target: Path, options: Sequence[str]) -> None:
    """Encode the first video and audio stream of a file anew with FFmpeg's options; frames keep their times.

    Raises:
        MediaError: FFmpeg fails.
        MissingError: the target cannot be written.
    """
    streams = ["-map", "0:v:0", "-map", "0:a:0", "-fps_mode", "passthrough"]
    _write(target, [*ffmpeg.input_args(source), *streams, *options], source)


def audio_seconds(path: Path) -> float:
    """The length of a file's first audio stream in seconds, by its samples.

    Raises:
        MediaError: the file has no audio stream, or FFmpeg cannot decode it.
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
