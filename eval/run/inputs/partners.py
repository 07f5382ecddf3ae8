"""Find the file in another folder that belongs to a video: its reference, its boxes or its sound (its partner).

A partner has the video's path below the input, whatever its suffix. If no file has that path, the partner is the file
with the video's stem, provided that no other file and no other video has that stem. Nothing is guessed: an ambiguous
case is an error.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipscore.errors import MissingError, UsageError
from lipscore.eval.run.inputs.paths import Found


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of partner.

    option: the option that names the folder. what: the kind in words. suffixes: of its files. tails: endings that may
    follow the video's stem; the first that fits is taken. beside: whether partners may lie in the videos' own folder;
    a video of the run is then never another one's partner.
    """

    option: str
    what: str
    suffixes: tuple[str, ...]
    tails: tuple[str, ...] = ("",)
    beside: bool = False


def partners(videos: Sequence[Found], place: Path, kind: Kind) -> dict[Path, Path]:
    """The partner of each video that has one, by the video's path.

    Args:
        place: a folder, which is searched with all folders below it, or a file, if there is only one video.

    Raises:
        MissingError: `place` does not exist, or a folder cannot be read.
        UsageError: `place` is a file and there are several videos, or two files could be one video's partner.
    """
    if os.path.isfile(place):  # noqa: PTH113 - Path's raises for an over-long name
        if len(videos) > 1:
            problem = f"a file is for one video, and there are {len(videos)}; give a folder of {kind.what}s"
            raise UsageError.about(kind.option, place, problem)
        return {video.path: place for video in videos}
    if not os.path.isdir(place):  # noqa: PTH112
        raise MissingError.about(kind.option, place, "no such file or folder; name an existing one")
    videos_there = {os.path.realpath(video.path) for video in videos} if kind.beside else set()
    by_path: dict[Path, list[Path]] = defaultdict(list)
    for path in _files(place, kind.suffixes):
        if not videos_there or os.path.realpath(path) not in videos_there:
            by_path[path.relative_to(place).with_name(path.stem)].append(path)
    found: dict[Path, list[Path]] = {}
    for tail in kind.tails:
        found |= _of_path(videos, by_path, found, tail)
    for tail in kind.tails:
        found |= _of_stem(videos, by_path, found, tail, place, kind)
    return {video: _only(video, paths, kind) for video, paths in found.items()}


def _of_path(
    videos: Sequence[Found], by_path: Mapping[Path, list[Path]], found: Mapping[Path, list[Path]], tail: str
) -> dict[Path, list[Path]]:
    """The candidates with the video's own path, for the videos without candidates so far."""
    left = _without(by_path, found)
    more: dict[Path, list[Path]] = {}
    for video in videos:
        below = _below(video)
        if video.path not in found and (same := left.get(below.with_name(below.name + tail))):
            more[video.path] = same
    return more


def _of_stem(
    videos: Sequence[Found],
    by_path: Mapping[Path, list[Path]],
    found: Mapping[Path, list[Path]],
    tail: str,
    place: Path,
    kind: Kind,
) -> dict[Path, list[Path]]:
    """The candidates with the video's stem.

    Raises:
        UsageError: several videos have the stem.
    """
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for paths in _without(by_path, found).values():
        for path in paths:
            by_stem[path.stem].append(path)
    rivals: dict[str, list[Path]] = defaultdict(list)
    for video in videos:
        if video.path not in found:
            rivals[video.path.stem + tail].append(video.path)
    more: dict[Path, list[Path]] = {}
    for stem, several in rivals.items():
        if stem not in by_stem:
            continue
        if len(several) > 1:
            raise UsageError(
                f"{_list(by_stem[stem])}: {_list(several)} have its stem; give each a {kind.what} "
                f"at the same path below {place}"
            )
        more[several[0]] = by_stem[stem]
    return more


def _without(by_path: Mapping[Path, list[Path]], found: Mapping[Path, list[Path]]) -> dict[Path, list[Path]]:
    """The files that are not yet a video's candidates."""
    taken = {path for paths in found.values() for path in paths}
    return {below: left for below, paths in by_path.items() if (left := [p for p in paths if p not in taken])}


def expected(video: Found, place: Path, kind: Kind) -> Path:
    """The path at which a video's partner would be found."""
    return place / _below(video).with_name(video.path.stem + kind.suffixes[0])


def _only(video: Path, paths: Sequence[Path], kind: Kind) -> Path:
    if len(paths) > 1:
        raise UsageError(f"{video}: more than one {kind.what} fits: {_list(paths)}; keep only one of them there")
    return paths[0]


def _below(video: Found) -> Path:
    """The video's path below its input, without its suffix."""
    return video.path.relative_to(video.folder).with_name(video.path.stem)


def _files(place: Path, suffixes: Sequence[str]) -> list[Path]:
    def unreadable(error: OSError) -> None:
        raise MissingError(f"{error.filename}: cannot be read ({error.strerror})") from error

    found = []
    seen = {os.path.realpath(place)}
    for folder, folders, files in os.walk(place, onerror=unreadable, followlinks=True):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".")]
        real = {name: os.path.realpath(Path(folder, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in seen]  # a link to a folder above goes round
        seen.update(real[name] for name in folders)
        paths = (Path(folder, name) for name in sorted(files) if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    return found


def _list(paths: Sequence[Path]) -> str:
    return " and ".join(map(str, paths))
