"""Find the videos of a run: files and folders from the command line, in order, each with a unique name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lipscore.errors import MediaError, MissingError, UsageError
from lipscore.eval.run.inputs.fetch import listed, path_of, url_of
from lipscore.media.container.sniff import looks_like_video
from lipscore.media.read import VIDEO_SUFFIXES

REFERENCE_FOLDER = "reference"
NOT_FETCHED = "is a URL, and only `lipscore score` fetches those; fetch it first"
T = TypeVar("T")
# Files with these suffixes are never opened: sound, pictures and text next to videos (.ogg may be either)
NO_VIDEO = frozenset(
    (
        *(".wav", ".mp3", ".m4a", ".aac", ".flac", ".oga", ".opus", ".wma", ".mka", ".aiff", ".jpg", ".jpeg", ".png"),
        *(".bmp", ".webp", ".tif", ".tiff", ".heic", ".npy", ".npz", ".pt", ".pth", ".txt", ".json", ".jsonl", ".csv"),
        *(".tsv", ".md", ".toml", ".yaml", ".yml", ".xml", ".html", ".srt", ".vtt", ".ass", ".log", ".py", ".sh"),
        *(".pdf", ".zip", ".gz", ".tar"),
    )
)


@dataclass(frozen=True, slots=True)
class Found:
    """A video to score.

    folder: the input folder, or the parent of an input file. name: unique in the run. problem: why the path cannot be
    read, else empty. url: the URL to fetch it from, empty for a local file.
    """

    path: Path
    folder: Path
    name: str = ""
    problem: str = ""
    url: str = ""


def collect(inputs: Sequence[Path], apart: Sequence[Path] = (), *, local: bool = False) -> list[Found]:
    """The videos that the inputs name, in their order; those of a folder are sorted by path.

    A folder stands for the videos in it and in the folders below it, recognised by suffix or, for unknown suffixes, by
    their first bytes. Hidden files and folders, its `reference` folder, and the folders in `apart` are left out. A file
    is taken whatever its suffix, and only once if it is named twice. A missing input, or a folder without a video, is
    returned with a `problem`; so is a URL if the command fetches none (`local`).

    Raises:
        MissingError: there is no video to score; the message says what is wrong with each input.
    """
    found: list[Found] = []
    for given in inputs:
        if (url := url_of(given)) and local:
            found.append(Found(path_of(url), path_of(url).parent, problem=NOT_FETCHED, url=url))
            continue
        if url:
            try:
                found += [Found(path_of(one), path_of(url).parent, url=one) for one in listed(url)]
            except MediaError as error:
                found.append(Found(path_of(url), path_of(url).parent, problem=str(error), url=url))
            continue
        if os.path.isdir(given):  # noqa: PTH112 - Path's raises for an over-long name
            videos, problems = _in_folder(given, apart)
            found += [Found(path, given) for path in videos]
            found += [Found(path, given, problem=problem) for path, problem in problems]
        elif os.path.exists(given):  # noqa: PTH110
            found.append(Found(given, given.parent))
        else:
            found.append(Found(given, given.parent, problem="no such file or folder"))
    once = {video.url or str(video.path.absolute()): video for video in reversed(found)}
    found = [video for video in found if once.get(video.url or str(video.path.absolute())) is video]
    if all(video.problem for video in found):
        said = (f"{video.url or video.path}: {video.problem}" for video in found)
        raise MissingError(f"nothing to score: {'; '.join(said)}")
    names = _names(found)
    return [replace(video, name=name) for video, name in zip(found, names, strict=True)]


def shard_of(found: Sequence[T], shard: str) -> list[T]:
    """Every n-th video from the i-th, for "i/n" with i from 1 to n: the n shards together are all videos, once.

    Raises:
        UsageError: `shard` is not of this form.
    """
    first, _, count = shard.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise UsageError(f"--shard {shard}: give i/n with i from 1 to n, such as 3/16")
    return list(found[int(first) - 1 :: int(count)])


def _in_folder(folder: Path, apart: Sequence[Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    problems: list[tuple[Path, str]] = []
    left_out = {os.path.realpath(place) for place in (folder / REFERENCE_FOLDER, *apart)}
    seen = {os.path.realpath(folder)}
    videos: list[Path] = []

    def unreadable(error: OSError) -> None:
        problems.append((Path(error.filename), f"cannot be read ({error.strerror})"))

    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        below = {name: os.path.realpath(Path(place, name)) for name in folders if not name.startswith(".")}
        # seen: a link to a folder above would go round for ever
        folders[:] = [name for name, real in below.items() if real not in left_out and real not in seen]
        seen.update(below[name] for name in folders)
        for name in files:
            path = Path(place, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in VIDEO_SUFFIXES:
                if path.exists() and not path.is_file():
                    problems.append((path, "is not a regular file"))
                else:
                    videos.append(path)
            elif path.suffix.lower() not in NO_VIDEO and looks_like_video(path):
                videos.append(path)
    if not videos and not problems:
        what = "contains no video (.mp4, .avi, .mkv and so on); put videos there, or name another folder"
        problems.append((folder, what))
    return sorted(videos, key=lambda path: path.relative_to(folder).parts), problems


def _names(found: Sequence[Found]) -> list[str]:
    """Unique names: the stem; if equal, the path below the folder; then the given path; then the whole path or URL."""
    forms = [
        (
            video.path.stem or str(video.path),
            str(video.path.relative_to(video.folder)) if video.path != video.folder else str(video.path),
            str(video.path),
            video.url or str(video.path.absolute()),
        )
        for video in found
    ]
    level = [0] * len(found)
    while True:
        names = [form[at] for form, at in zip(forms, level, strict=True)]
        times = Counter(names)
        if len(times) == len(names):
            return names
        level = [min(at + (times[name] > 1), 3) for name, at in zip(names, level, strict=True)]
