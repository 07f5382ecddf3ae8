"""Which clips are held out from which training, so that no scene is on two sides.

MoChaBench shows the same scene in several categories ("18_woman_purple_car", "11_woman_purple_car_dolly_zoom"), so
clips that share a word which names a scene belong together; words that name a pose, a camera or a person do not count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SETTINGS_SHARE = 0.12
SKIPPED_SHARE = 0.22  # of the order, before the settings' scenes: they lay behind the test clips of an earlier split

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
class Split:
    """Clip names, each in one place: settings were chosen on `settings`, each of the folds is held out once."""

    settings: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]


def scene_words(name: str) -> frozenset[str]:
    """The words of a clip's file name that name its scene; the whole stem where none does."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    words = [word for word in re.split(r"[_\W]+", stem.lower()) if word and not word.isdigit()]
    return frozenset(word for word in words if word not in NOT_A_SCENE) or frozenset([stem])


def scenes(names: Sequence[str]) -> list[list[str]]:
    """Groups of names that share a scene word, directly or through others; sorted."""
    group_of: dict[str, list[str]] = {}
    for name in sorted(names):
        words = scene_words(name)
        merged = [name]
        for group in {id(group_of[word]): group_of[word] for word in words if word in group_of}.values():
            merged += group
        for word in words.union(*(scene_words(member) for member in merged)):
            group_of[word] = merged
    groups = {id(group): sorted(group) for group in group_of.values()}
    return sorted(groups.values())


def split_by_scene(names: Sequence[str], count: int, seed: int) -> Split:
    """Whole scenes in a random order, into the settings' share, and the rest into `count` folds of about one size.

    Args:
        names: clip names, paths below the clips' folder.
        seed: of the order.
    """
    groups = scenes(names)
    order = [groups[index] for index in np.random.default_rng(seed).permutation(len(groups))]
    skipped = 0
    settings: list[str] = []
    folds: list[list[str]] = [[] for _ in range(count)]
    for group in order:
        if skipped + len(group) <= SKIPPED_SHARE * len(names):
            skipped += len(group)
        elif len(settings) + len(group) <= SETTINGS_SHARE * len(names):
            settings += group
            continue
        min(folds, key=len).extend(group)
    return Split(tuple(sorted(settings)), tuple(tuple(sorted(fold)) for fold in folds))
