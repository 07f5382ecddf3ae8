"""`lipscore score --floor`: score each video's lips with another video's sound, which shows what no sync scores.

A floor is the score that the file would have with the other video's sound. The run's lip embeddings are reused, so only
the other sound is embedded. They are kept in OUT/floor, so that a resumed run does not score the videos again.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import UsageError
from lipscore.eval.run.inputs.fetch import fetched
from lipscore.eval.run.jobs import Job, Reporter
from lipscore.eval.score import track_score
from lipscore.eval.setup import Setup
from lipscore.eval.store.records import Record, hash_of
from lipscore.media.files.aside import replace_whole, written_aside
from lipscore.metrics.catalogue import LSE_C, LSE_D
from lipscore.metrics.reduce import mean, reduce_tracks
from lipscore.syncnet.models.sync_pass import WindowPass
from lipscore.syncnet.window import SAMPLES_PER_FRAME
from lipscore.types import Floats, SyncModel, SyncPass, VideoScore

FILE, FOLDER, SEED = "floor.json", "floor", 0


@dataclass(frozen=True, slots=True)
class KeptTrack:
    """A track's lip embeddings float32[W, D], its own sound int16[N] at 16 kHz, and how many frames it has."""

    lips: Floats
    pcm: NDArray[np.int16]
    n_frames: int


class Keeping:
    """A model whose passes also keep their lip embeddings: a `SyncModel` for one video."""

    def __init__(self, model: SyncModel) -> None:
        self._model = model
        # by the samples' identity: a track whose file holds another number of frames than was expected is opened again
        self._opened: dict[int, tuple[WindowPass, NDArray[np.int16], int]] = {}

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    @property
    def unrelated(self) -> tuple[float, float] | None:
        """The model's."""
        return self._model.unrelated

    def open(self, pcm: NDArray[np.int16], n_frames: int, vshift: int) -> SyncPass:
        """The model's own pass, which also keeps its lip embeddings.

        Raises:
            UsageError: the model embeds no windows.
        """
        opened = self._model.open(pcm, n_frames, vshift)
        if not isinstance(opened, WindowPass):
            raise UsageError(f"--floor: model {self.name} has no embeddings of windows; leave it out")
        opened.kept = []
        self._opened[id(pcm)] = (opened, pcm, n_frames)
        return opened

    @property
    def tracks(self) -> list[KeptTrack]:
        """The kept embeddings and sound of each track that has a window."""
        return [
            KeptTrack(np.concatenate(opened.kept), pcm, n_frames)
            for opened, pcm, n_frames in self._opened.values()
            if opened.kept
        ]


class Kept:
    """The embeddings of a run's videos, a file each below OUT/floor.

    Args:
        settings: the settings hash of the run.
    """

    def __init__(self, out: Path, settings: str) -> None:
        self._folder, self._settings = out / FOLDER, settings

    def path(self, score: VideoScore) -> Path:
        """The path of a video's or a piece's embeddings."""
        piece = [str(second) for second in score.piece or ()]
        sound = [] if score.audio is None else [score.audio.sha256]
        return self._folder / f"{hash_of([self._settings, score.sha256, *piece, *sound])}.npz"

    def scoring(self, setup: Setup, score: Callable[[Setup], VideoScore]) -> VideoScore:
        """Score a video, and keep its embeddings if it has a score.

        Raises:
            MissingError: they cannot be written.
        """
        keeping = Keeping(setup.models.sync)
        record = score(replace(setup, models=replace(setup.models, sync=keeping)))
        if record.status == "ok":
            arrays: dict[str, Any] = {}
            for place, track in enumerate(keeping.tracks):
                arrays |= {f"lips_{place}": track.lips, f"pcm_{place}": track.pcm, f"frames_{place}": track.n_frames}
            with written_aside(self.path(record)) as aside, aside.open("wb") as file:
                np.savez(file, **arrays)
        return record

    def read(self, score: VideoScore) -> list[KeptTrack]:
        """A video's tracks; empty if they were not kept, or if the file is damaged."""
        try:
            with np.load(self.path(score)) as found:
                return [
                    KeptTrack(found[f"lips_{place}"], found[f"pcm_{place}"], int(found[f"frames_{place}"]))
                    for place in range(len(found.files) // 3)
                ]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return []


@dataclass(frozen=True, slots=True)
class Floor:
    """A video's scores with another's sound. sound: the other's name. above: its own sound's lead."""

    name: str
    sound: str
    lse_d: float
    lse_c: float
    n_windows: int
    above: Mapping[str, float]


def derangement(sounds: Sequence[str], seed: int = SEED) -> list[int]:
    """For each video, the index of another one with a different sound; each index occurs once; drawn by the seed.

    Args:
        sounds: an identifier of each video's sound; equal sounds have equal identifiers.

    Raises:
        UsageError: more than half of the videos have the same sound, so no such order exists.
    """
    n, most = len(sounds), max(Counter(sounds).values(), default=0)
    if 2 * most > n or n < 2:
        raise UsageError(
            f"--floor: {most} of {n} scored videos have the same sound; the floor needs others' sound for each, "
            "so score videos together that say different things"
        )
    shuffled = np.random.default_rng(seed).permutation(n).tolist()
    first: dict[str, int] = {}
    for place, index in enumerate(shuffled):
        first.setdefault(sounds[index], place)
    order = sorted(shuffled, key=lambda index: first[sounds[index]])  # stable: equal sounds side by side
    partner = [0] * n
    for place, index in enumerate(order):
        partner[index] = order[(place + most) % n]
    return partner


def of_run(
    records: Sequence[Record],
    jobs: Sequence[Job],
    kept: Kept,
    score: Callable[[Job, str], VideoScore],
    setup: Setup,
    reporter: Reporter,
) -> list[Floor]:
    """The floor of a run. Videos that an earlier run scored without keeping embeddings are scored again for them.

    Raises:
        UsageError: as in `measure`.
    """
    by_name = {job.name: job for job in jobs}
    lacking = [record.score for record in records if record.score.status == "ok" and not kept.read(record.score)]
    if lacking:
        reporter.say(f"floor: {len(lacking)} videos were scored without their embeddings; embedding them now")
    for one in lacking:
        with fetched(by_name[one.name]) as local:
            if not local.problem:
                score(local, one.sha256)
    return measure(records, kept, setup)


def measure(records: Sequence[Record], kept: Kept, setup: Setup, seed: int = SEED) -> list[Floor]:
    """The floor of each scored video whose embeddings were kept.

    Raises:
        UsageError: no two videos have different sound.
    """
    videos = [record.score for record in records if record.score.status == "ok" and not record.score.silent]
    tracks = {score.name: kept.read(score) for score in videos}
    videos = [score for score in videos if tracks[score.name]]
    sounds = {name: max(found, key=lambda track: len(track.pcm)).pcm for name, found in tracks.items() if found}
    hashes = [hashlib.sha256(sounds[score.name].tobytes()).hexdigest() for score in videos]
    partners = derangement(hashes, seed)
    floors = (
        _floor(score, tracks[score.name], videos[partner].name, sounds[videos[partner].name], setup)
        for score, partner in zip(videos, partners, strict=True)
    )
    return [floor for floor in floors if floor is not None]


def _floor(
    score: VideoScore, tracks: Sequence[KeptTrack], sound: str, pcm: NDArray[np.int16], setup: Setup
) -> Floor | None:
    scores = []
    for place, track in enumerate(tracks):
        beneath = pcm[: track.n_frames * SAMPLES_PER_FRAME]
        opened = setup.models.sync.open(beneath, track.n_frames, setup.protocol.vshift)
        assert isinstance(opened, WindowPass)
        opened.feed_lips(track.lips)
        found = track_score(place, 0, track.n_frames - 1, opened.curve(), opened.scores)
        if found.n_windows:
            scores.append(found)
    if not scores:
        return None
    lse_d, lse_c, _ = reduce_tracks(scores, setup.protocol.reduce)
    own_d, own_c = (math.nan if value is None else value for value in (score.lse_d, score.lse_c))
    above = {"lse_d": lse_d - own_d, "lse_c": own_c - lse_c}
    return Floor(score.name, sound, lse_d, lse_c, sum(one.n_windows for one in scores), above)


def line(floors: Sequence[Floor], models: Sequence[str]) -> str:
    """The floor as a line of text; models: the models that scored, which decide whether it is an estimate."""
    floor, above = [], []
    for score in (LSE_D, LSE_C):
        title, name = score.title_for(models), score.name
        floor.append(f"{title} {mean([getattr(one, name) for one in floors]).value:.3f}")
        above.append(f"{title} {mean([one.above[name] for one in floors]).value:.3f}")
    return f"floor (others' sound, n={len(floors)}): {', '.join(floor)}; videos are above it by {', '.join(above)}"


def write(floors: Sequence[Floor], out: Path, signature: str, seed: int = SEED) -> Path:
    """Write OUT/floor.json.

    Raises:
        MissingError: it cannot be written.
    """
    videos = [
        {
            "name": floor.name,
            "sound": floor.sound,
            "lse_d": floor.lse_d,
            "lse_c": floor.lse_c,
            "n_windows": floor.n_windows,
            "above": dict(floor.above),
        }
        for floor in floors
    ]
    means = {"lse_d": mean([f.lse_d for f in floors]).value, "lse_c": mean([f.lse_c for f in floors]).value}
    content = {"schema": 1, "seed": seed, "signature": signature, "n": len(floors), "means": means, "videos": videos}
    path = out / FILE
    replace_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
    return path
