"""The place of the network's patch in each frame: pads, smoothing, and frames without the face.

The source is github.com/Rudrabha/Wav2Lip at 5c90fa9, inference.py: face_detect and get_smoothened_boxes. Boxes are
x1, y1, x2, y2 in whole pixels, half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lipscore.types import Detection

SMOOTHED = 5  # frames in a mean
State = Literal["generated", "interpolated", "no_face", "other_face"]
Ints = NDArray[np.int64]


class Pads(NamedTuple):
    """Pixels added to a detected box."""

    top: int = 0
    bottom: int = 10
    left: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """A box and a state per frame of the picture.

    boxes: int64[T, 4]. states: frames that are "generated" or "interpolated" get the network's patch; those with
    "no_face" or "other_face" stay unchanged.
    """

    boxes: Ints
    states: tuple[State, ...]

    def box_of(self, frame: int) -> Ints | None:
        """int64[4] if the frame gets a patch, else None."""
        return self.boxes[frame] if self.states[frame] in ("generated", "interpolated") else None


def padded(found: Detection | None, pads: Pads, width: int, height: int) -> Ints | None:
    """A detection as whole pixels, clipped at 0, with its pads, clipped to the frame; None if nothing is left."""
    if found is None:
        return None
    x1, y1, x2, y2 = np.maximum(found.box_xyxy, 0).astype(np.int64).tolist()
    box = (max(0, x1 - pads.left), max(0, y1 - pads.top), min(width, x2 + pads.right), min(height, y2 + pads.bottom))
    return np.array(box, np.int64) if box[0] < box[2] and box[1] < box[3] else None


def smoothed(boxes: Ints) -> Ints:
    """int64[T, 4]: each box the mean over itself and the next four, truncated.

    As in the original, this happens in place: the last four boxes share a window that contains smoothed boxes. With
    fewer than five boxes, the window's start is negative and counts from the end: four boxes become the last one, three
    the mean of the last two.
    """
    out = boxes.copy()
    count = len(out)
    for i in range(count):
        window = out[i : i + SMOOTHED] if i + SMOOTHED <= count else out[count - SMOOTHED :]
        out[i] = window.mean(axis=0)
    return out


def place_all(boxes: Sequence[Ints | None], smooth: bool) -> Placement:
    """Every frame gets a patch; missing boxes are interpolated linearly between their neighbours."""
    filled = _interpolated(boxes)
    states: list[State] = ["interpolated" if box is None else "generated" for box in boxes]
    return Placement(smoothed(filled) if smooth else filled, tuple(states))


def place_kept(boxes: Sequence[Ints | None], same: Sequence[bool], smooth: bool) -> Placement:
    """Frames without a box, or with another person's face, stay unchanged; each passage is smoothed separately."""
    states = _states(boxes, same)
    out = _interpolated(boxes)
    at = 0
    for state, run in groupby(states):
        stop = at + len(list(run))
        if state == "generated" and smooth:
            out[at:stop] = smoothed(out[at:stop])
        at = stop
    return Placement(out, states)


def place_fork(boxes: Sequence[Ints | None], first: Ints, same: Sequence[bool], smooth: bool) -> Placement:
    """Boxes as in github.com/suprasauce/LIpSync at dc3f6a2: the first frame's raw box stands for a missing face."""
    filled = np.stack([first if box is None else box for box in boxes])
    return Placement(smoothed(filled) if smooth else filled, _states(boxes, same))


def ranges(states: Sequence[str]) -> dict[str, list[list[int]]]:
    """Each state's frames as [first, last] pairs."""
    out: dict[str, list[list[int]]] = {}
    at = 0
    for state, run in groupby(states):
        stop = at + len(list(run))
        out.setdefault(state, []).append([at, stop - 1])
        at = stop
    return out


def _states(boxes: Sequence[Ints | None], same: Sequence[bool]) -> tuple[State, ...]:
    return tuple(
        "no_face" if box is None else "generated" if ours else "other_face"
        for box, ours in zip(boxes, same, strict=True)
    )


def _interpolated(boxes: Sequence[Ints | None]) -> Ints:
    """int64[T, 4]; frames before the first box and after the last get the nearest box."""
    known = [frame for frame, box in enumerate(boxes) if box is not None]
    sides = np.array([box for box in boxes if box is not None], np.float64)
    frames = np.arange(len(boxes))
    return np.stack([np.interp(frames, known, side) for side in sides.T], axis=1).astype(np.int64)
