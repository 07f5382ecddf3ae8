"""`lipscore combine`: join NAME.mp4 from one folder with NAME.wav from another into NAME.mp4."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lipscore.errors import MissingError, UsageError
from lipscore.media import edit, read

AUDIO_SUFFIXES = (".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus")


@dataclass(frozen=True, slots=True)
class Pair:
    """A video and the audio with its stem."""

    stem: str
    video: Path
    audio: Path


@dataclass(frozen=True, slots=True)
class Pairing:
    """The pairs, and a message for each file with no partner or with several."""

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]


def pair_up(video_dir: Path, audio_dir: Path) -> Pairing:
    """Match the videos and the audio files of two folders by stem; subfolders are ignored.

    Raises:
        MissingError: a folder is missing or cannot be read, or both contain nothing to combine.
    """
    videos, sounds = _by_stem(video_dir, read.VIDEO_SUFFIXES), _by_stem(audio_dir, AUDIO_SUFFIXES)
    if not videos and not sounds:
        raise MissingError(f"{video_dir} contains no video, and {audio_dir} no audio file; name folders that do")
    pairs: list[Pair] = []
    problems: list[str] = []
    for stem in sorted(videos.keys() | sounds.keys()):
        video, sound = videos.get(stem, []), sounds.get(stem, [])
        if len(video) == len(sound) == 1:
            pairs.append(Pair(stem, video[0], sound[0]))
        elif not sound:
            problems += [f"{path}: no audio named {stem}.wav in {audio_dir}" for path in video]
        elif not video:
            problems += [f"{path}: no video named {stem}.mp4 in {video_dir}" for path in sound]
        else:
            names = ", ".join(path.name for path in (*video, *sound))
            problems.append(f"{stem}: {names} share this name; keep one video and one audio file of that name")
    return Pairing(tuple(pairs), tuple(problems))


def combine(pair: Pair, target: Path, codec: str = "aac", shortest: bool = False) -> str:
    """Copy the pair's video and encode its audio into target.

    Args:
        codec: a key of `edit.AUDIO_CODECS`.
        shortest: cut both to the shorter length.

    Returns:
        A message if the lengths differ by more than a frame, or "".

    Raises:
        MediaError: a file cannot be read, or does not fit the target's format.
        MissingError: the target cannot be written.
    """
    info = read.probe(pair.video)
    sound = edit.audio_seconds(pair.audio)
    differs = abs(sound - info.duration_s) > 1 / info.fps
    cut = min(sound, info.duration_s) if differs and shortest else None
    edit.join(pair.video, pair.audio, target, codec, cut)
    if not differs:
        return ""
    done = f"cut to {cut:.2f} s" if cut is not None else "kept as they are; --shortest cuts"
    return f"{pair.stem}: the video lasts {info.duration_s:.2f} s, the audio {sound:.2f} s ({done})"


def check_folders(video_dir: Path, audio_dir: Path, output_dir: Path) -> None:
    """Check that no input can be overwritten.

    Raises:
        UsageError: the output folder is an input folder.
    """
    if output_dir.resolve() in (video_dir.resolve(), audio_dir.resolve()):
        raise UsageError(
            f"--output-dir {output_dir}: is an input folder, whose files the outputs would replace; name another folder"
        )


def _by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, list[Path]]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise MissingError(f"{folder}: cannot be read ({error.strerror}); name a folder") from error
    found: dict[str, list[Path]] = defaultdict(list)
    for path in entries:
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            found[path.stem].append(path)
    return found
