"""Split clips into folds whose training shares neither a scene nor a recording with them.

MoChaBench shows the same scene in several categories ("18_woman_purple_car", "11_woman_purple_car_dolly_zoom"), so
clips whose names share a word for a scene belong together; words for a pose, a camera or a person do not count.
MoChaBench also uses one recording for several faces: its 164 clips contain 58 recordings, which are recognised by their
loudness. A fold consists of whole recordings, and its training also leaves out all clips that share a scene with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.sparse.csgraph import connected_components

from lipscore.errors import UsageError
from lipscore.syncnet.window import SAMPLE_RATE

ALIKE = 0.7  # correlation; in MoChaBench, pairs of one recording reach 0.75 to 1, other pairs at most 0.69
LOUDNESS_HZ = 100
TRIES = 300  # random orders in which recordings are dealt to the folds
ROOM = 1.1  # the largest fold, relative to an equal share
SETTINGS_SHARE = 0.12  # the share of clips on which settings were chosen
SKIPPED_SHARE = 0.22  # the share of shuffled clips to skip first: they were the test set of an earlier split

NOT_A_SCENE = frozenset(
    """
    a aged anger angry blue body boy camera chinese closeup cloud cry cup dolly edge explaining face facing
    facingcamera fork gesture girl gun hand hands happy head hold holding in laptop left lifts lookingup low man
    medium middle move of old on pan person pink pointing purple rasing red right shaking shirt shot sit sits
    speak street suit table thumbs to tracking trackingshot turning two up walk walking wide with woman yong young
    zoom
    """.split()  # noqa: SIM905 - a list of this length reads better as text
)


@dataclass(frozen=True, slots=True)
class Fold:
    """Clip names; `held_out` shares neither a scene nor a recording with `trained`, `left_out` no generator."""

    held_out: tuple[str, ...]
    trained: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """Clip names.

    settings: clips on which earlier settings were chosen, so no fold holds them out; recordings: groups of clips with
    the same speech; folds: every other clip is held out once.
    """

    settings: tuple[str, ...]
    recordings: tuple[tuple[str, ...], ...]
    folds: tuple[Fold, ...]


def scene_words(name: str) -> frozenset[str]:
    """The words of a clip's file name that describe its scene; the whole stem if there are none."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    words = [word for word in re.split(r"[_\W]+", stem.lower()) if word and not word.isdigit()]
    return frozenset(word for word in words if word not in NOT_A_SCENE) or frozenset([stem])


def scenes(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that share a scene word, directly or through others; sorted."""
    words = {name: scene_words(name) for name in names}
    return _joined(words, lambda one, other: not words[one].isdisjoint(words[other]))


def recordings(sounds: Mapping[str, NDArray[np.int16]]) -> list[list[str]]:
    """Groups of names with the same speech, directly or through others; sorted.

    Args:
        sounds: name -> int16[N], mono, 16 kHz. Two sounds are the same recording if their loudness (the logarithm of
            the mean amplitude at LOUDNESS_HZ, standardised) correlates at ALIKE or more at some lag.
    """
    loudness = {name: _loudness(pcm) for name, pcm in sounds.items()}

    def alike(one: str, other: str) -> bool:
        a, b = loudness[one], loudness[other]
        return bool((fftconvolve(a, b[::-1]) / max(1, min(len(a), len(b)))).max(initial=0.0) >= ALIKE)

    return _joined(loudness, alike)


def _loudness(pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    hop = SAMPLE_RATE // LOUDNESS_HZ
    level: NDArray[np.float64] = np.log1p(
        np.abs(pcm[: len(pcm) // hop * hop].astype(np.float64)).reshape(-1, hop).mean(1)
    )
    if len(level):
        level = (level - level.mean()) / (level.std() + 1e-9)
    return level


def _joined(names: Iterable[str], alike: Callable[[str, str], bool]) -> list[list[str]]:
    """The connected components of the relation `alike`, sorted."""
    ordered = sorted(names)
    linked = [[i < j and alike(one, other) for j, other in enumerate(ordered)] for i, one in enumerate(ordered)]
    count, group_of = connected_components(np.array(linked), directed=False)
    return sorted([name for name, group in zip(ordered, group_of, strict=True) if group == k] for k in range(count))


def numbered(groups: Sequence[Sequence[str]]) -> dict[str, int]:
    """Name -> the index of its group."""
    return {name: number for number, group in enumerate(groups) for name in group}


def split_clips(sounds: Mapping[str, NDArray[np.int16]], count: int, seed: int) -> Split:
    """Split into `count` folds of whole recordings and similar size; maximises the smallest training set.

    Args:
        sounds: clip name (a path below the clips' folder) -> int16[N], mono, 16 kHz.
        seed: for the random orders.

    Raises:
        UsageError: the clips have too few scenes or recordings for this number of folds.
    """
    spoken, shown = recordings(sounds), scenes(sounds)
    settings = _settings(shown, len(sounds), seed)
    scene_of, spoken_by = numbered(shown), numbered(spoken)
    rng = np.random.default_rng(seed)
    tried = (_deal([spoken[i] for i in rng.permutation(len(spoken))], count, scene_of) for _ in range(TRIES))

    def worth(folds: Sequence[Fold]) -> tuple[bool, int]:
        """(whether every fold has two recordings and a training set, the size of the smallest training set)."""
        n_recordings = min(len({spoken_by[name] for name in fold.held_out}) for fold in folds)
        smallest = min(len(fold.trained) for fold in folds)
        return n_recordings > 1 and smallest > 0, smallest

    dealt = max(([_fold(names, settings, scene_of) for names in folds] for folds in tried), key=worth)
    if not worth(dealt)[0]:
        raise UsageError(
            f"{len(sounds)} clips with {len(shown)} scenes and {len(spoken)} recordings of speech cannot be held out "
            f"in {count} folds that share neither with their training; use fewer folds, or more different clips"
        )
    return Split(tuple(sorted(settings)), tuple(map(tuple, spoken)), tuple(dealt))


def leave_out(split: Split, families: Mapping[str, Sequence[str]]) -> Split:
    """Add clips of other generators: each family is left out of one fold's training and is part of all others'.

    The largest family goes first, each to the fold that leaves out the fewest clips so far.

    Args:
        families: family -> the names of its clips, which are not among the split's.
    """
    left: list[list[str]] = [[] for _ in split.folds]
    for family in sorted(families, key=lambda family: (-len(families[family]), family)):
        min(left, key=len).extend(families[family])
    every = {name for names in families.values() for name in names}
    folds = (
        replace(fold, trained=tuple(sorted([*fold.trained, *(every - set(out))])), left_out=tuple(sorted(out)))
        for fold, out in zip(split.folds, left, strict=True)
    )
    return replace(split, folds=tuple(folds))


def _deal(groups: Sequence[Sequence[str]], count: int, scene_of: Mapping[str, int]) -> list[list[str]]:
    """Put each group into one of `count` folds."""
    folds: list[list[str]] = [[] for _ in range(count)]
    for group in groups:
        _place(group, folds, scene_of).extend(group)
    return folds


def _place(group: Sequence[str], folds: Sequence[list[str]], scene_of: Mapping[str, int]) -> list[str]:
    """Among the folds with room for the group, the one with most clips of its scenes; without room, the emptiest."""
    roomy = [fold for fold in folds if len(fold) + len(group) <= ROOM * len(scene_of) / len(folds)]
    if not roomy:
        return min(folds, key=len)
    mine = {scene_of[name] for name in group}
    return min(roomy, key=lambda fold: (-sum(scene_of[name] in mine for name in fold), len(fold)))


def _fold(names: Sequence[str], settings: set[str], scene_of: Mapping[str, int]) -> Fold:
    """The fold of these names without the settings' clips, and the clips that its training may use."""
    held_out = sorted(set(names) - settings)
    seen = {scene_of[name] for name in held_out}
    return Fold(tuple(held_out), tuple(sorted(n for n in set(scene_of) - set(names) if scene_of[n] not in seen)))


def _settings(groups: Sequence[Sequence[str]], total: int, seed: int) -> set[str]:
    """Whole scenes in random order, up to SETTINGS_SHARE of the clips, after skipping the first SKIPPED_SHARE."""
    skipped = 0
    settings: set[str] = set()
    for index in np.random.default_rng(seed).permutation(len(groups)):
        group = groups[index]
        if skipped + len(group) <= SKIPPED_SHARE * total:
            skipped += len(group)
        elif len(settings) + len(group) <= SETTINGS_SHARE * total:
            settings.update(group)
    return settings
