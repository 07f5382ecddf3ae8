"""Embedded clips, and files of any length and offset made of them, with lengths that tell nothing of the offset.

Both streams of a file are cut to lengths that do not depend on the offset: where only one is cut, the difference of
their lengths is the offset, and whoever sees which cells of the map are known can read the answer. No recording is in
a file twice: its second copy would be another right answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import UsageError
from lipscore.media import read
from lipscore.metrics.longrange import REACH
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.crops import CropPath
from lipscore.syncnet.models.sync_pass import Embedder
from lipscore.syncnet.models.wide_pass import LipStream, Sound
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.window import FRAME_RATE, N_FRAMES
from lipscore.training.clips import read_boxes
from lipscore.training.split import numbered, recordings
from lipscore.types import Floats

CROPS = PROTOCOLS["lipscore-1"]
CHUNK = 32  # crops embedded at a time
TRIES = 50  # draws of clips that are too short together, in a row, before there is no hope


@dataclass(frozen=True, slots=True)
class Stream:
    """A clip in sync: lip window i belongs to audio window i; both are float32[W, D] with rows of length 1.

    recording: clips with the same speech have the same number.
    """

    name: str
    lip: Floats
    audio: Floats
    recording: int


@dataclass(frozen=True, slots=True)
class File:
    """A file to search: lip float32[W, D], audio float32[N, D], and the audio window at the time of lip window 0.

    offset: in frames, positive if the audio comes before the video; None if the sound is from another recording.
    names: the clips that the file is made of.
    """

    lip: Floats
    audio: Floats
    first: int
    offset: int | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What files are wanted.

    windows: of lips, from ... to. around: windows of sound before the picture and after it, each from ... to; (0, 0) is
    a file whose streams are equally long. reach: of the search. offsets: the largest; None: the reach.
    """

    windows: tuple[int, int]
    around: tuple[int, int] = (0, 0)
    reach: int = REACH
    offsets: int | None = None


def embed_clips(
    folder: Path, boxes: Path, embedder: Embedder, progress: Callable[[str, int, int], None]
) -> tuple[list[Stream], dict[str, NDArray[np.int16]]]:
    """Every clip that has boxes, embedded once, and its sound int16[N] at 16 kHz.

    Args:
        boxes: as `training.clips.read_boxes` takes them.
        progress: called with ("embedding clips", how many, of how many).

    Raises:
        UsageError: the boxes cannot be read.
        MediaError, NotScoredError: a clip cannot be read, or has no sound.
    """
    tracks = read_boxes(boxes)
    sounds, lips = {}, {}
    for done, (name, track) in enumerate(tracks.items(), 1):
        where, path, stream = CropPath.of(track), folder / name, LipStream(embedder)
        parts, chunk = [], []
        for at, frame in zip(range(len(where.half)), read.frames_at(path), strict=False):
            chunk.append(where.cut(frame, at, CROPS.crop_scale))
            if len(chunk) == CHUNK:
                parts.append(stream.feed(np.stack(chunk)))
                chunk = []
        parts += [stream.feed(np.stack(chunk))] if chunk else []
        parts.append(stream.rest())
        lips[name], sounds[name] = np.concatenate([part for part in parts if len(part)]), read.read_pcm(path)
        progress("embedding clips", done, len(tracks))
    spoken = numbered(recordings(sounds))
    streams = []
    for name, pcm in sounds.items():
        audio, _ = Sound(embedder, mfcc(pcm), len(pcm)).around(0, len(pcm))
        streams.append(in_step(name, lips[name], audio, spoken[name]))
    return streams, sounds


def in_step(name: str, lip: Floats, audio: Floats, recording: int, offset: int = 0) -> Stream:
    """The windows that both have, the audio moved back by a clip's own known offset in frames."""
    first_lip, first_audio = max(0, offset), max(0, -offset)
    count = max(0, min(len(lip) - first_lip, len(audio) - first_audio))
    return Stream(name, lip[first_lip:][:count], audio[first_audio:][:count], recording)


def files(streams: Sequence[Stream], shape: Shape, rng: np.random.Generator, strangers: float = 0.0) -> Iterator[File]:
    """Endless files, each made of clips drawn at random; a share `strangers` of them gets other clips' sound.

    Raises:
        UsageError: there are too few recordings for a file of this length, or for the sound of others.
    """
    failed = 0
    while True:
        made = _file(streams, shape, rng, stranger=bool(rng.random() < strangers))
        if made is not None:
            failed = 0
            yield made
            continue
        failed += 1
        if failed == TRIES:
            raise UsageError(
                f"{len(streams)} clips hold too little different speech for files of "
                f"{(shape.windows[1] + N_FRAMES - 1) / FRAME_RATE:.0f} s; give more clips, or ask for shorter files"
            )


def _file(streams: Sequence[Stream], shape: Shape, rng: np.random.Generator, *, stranger: bool) -> File | None:
    """A file; None where the clips that were drawn are too short together."""
    furthest = shape.reach if shape.offsets is None else shape.offsets
    n = int(rng.integers(shape.windows[0], shape.windows[1] + 1))
    before, after = (int(v) for v in rng.integers(shape.around[0], shape.around[1] + 1, 2))
    needed = n + 2 * furthest + before + after
    drawn = one_of_each(streams, rng)
    mine, rest = _until(drawn, needed)
    others = _until(rest, needed)[0] if stranger else mine
    if min(sum(len(stream.lip) for stream in part) for part in (mine, others)) < needed:
        return None
    lip = np.concatenate([stream.lip for stream in mine])
    audio = np.concatenate([stream.audio for stream in others])
    start = int(rng.integers(furthest + before, min(len(lip), len(audio)) - n - furthest - after + 1))
    offset = int(rng.integers(-furthest, furthest + 1))
    sound_from = start + offset - before
    sound = audio[sound_from : sound_from + before + n + after]
    names = tuple(stream.name for stream in mine)
    return File(lip[start : start + n], sound, before, None if stranger else offset, names)


def one_of_each(streams: Sequence[Stream], rng: np.random.Generator) -> list[Stream]:
    """One clip of each recording, in random order."""
    by_recording: dict[int, list[Stream]] = {}
    for stream in streams:
        by_recording.setdefault(stream.recording, []).append(stream)
    chosen = [group[int(rng.integers(len(group)))] for group in by_recording.values()]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _until(streams: Sequence[Stream], windows: int) -> tuple[list[Stream], list[Stream]]:
    """The first streams that make so many windows together, and the others."""
    have = 0
    for count, stream in enumerate(streams):
        if have >= windows:
            return list(streams[:count]), list(streams[count:])
        have += len(stream.lip)
    return list(streams), []


def named(streams: Sequence[Stream], names: Sequence[str]) -> list[Stream]:
    """Those with these names."""
    wanted = set(names)
    return [stream for stream in streams if stream.name in wanted]


def same_recording(sounds: Mapping[str, NDArray[np.int16]]) -> dict[str, int]:
    """Name -> a number that clips with the same speech share."""
    return numbered(recordings(sounds))
