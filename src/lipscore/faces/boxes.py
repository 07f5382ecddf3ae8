"""Boxes: overlap, linking, and interpolation from sampled frames to every frame.

The trackers of the published protocols count detections, and interpolate boxes linearly between them (joonson's
run_pipeline.py, track_shot). The interpolation here does the same between neighbouring samples of a shot, so that the
trackers see a box per frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from lipscore.types import Detection, Shot

LINK_IOU = 0.3  # the same face one stride later; lower than the trackers' 0.5, because a face moves further meanwhile
BRIDGE_IOU = 0.1  # the same face after a gap, or in a box of another size
STEADY = 9  # frames in the median filter over a face's boxes


def sample_indices(shots: Sequence[Shot], stride: int) -> list[int]:
    """Every stride-th frame of each shot from its first one on, and its last frame; ascending, without repetition."""
    chosen: set[int] = set()
    for shot in shots:
        if shot.end > shot.start:
            chosen.update(range(shot.start, shot.end, stride))
            chosen.add(shot.end - 1)
    return sorted(chosen)


def densify(
    found: Mapping[int, Sequence[Detection]], shots: Sequence[Shot], n_frames: int, link_iou: float = LINK_IOU
) -> list[list[Detection]]:
    """A list of boxes per frame, interpolated from the sampled frames.

    Boxes of neighbouring samples of a shot whose IoU is above link_iou are linked one to one, so that the sum of IoU is
    largest. Box and score are interpolated linearly in between, in the order of the earlier sample's boxes. A box
    without a link stays on its own frame only. Nothing is linked across a cut, and sampled frames keep exactly their
    own boxes. Points are interpolated with their boxes.

    Args:
        found: frame number -> its boxes, for each sampled frame.
        n_frames: frames in the video, the length of the result.
    """
    dense: list[list[Detection]] = [list(found.get(frame, ())) for frame in range(n_frames)]
    for shot in shots:
        samples = [frame for frame in range(shot.start, min(shot.end, n_frames)) if frame in found]
        for first, last in pairwise(samples):
            if last - first < 2:
                continue
            links = link(found[first], found[last], link_iou)
            for frame in range(first + 1, last):
                t = (frame - first) / (last - first)
                dense[frame] = [_between(before, after, frame, t) for before, after in links]
    return dense


def bridge(
    dense: Sequence[Sequence[Detection]], shots: Sequence[Shot], longest: int, link_iou: float = BRIDGE_IOU
) -> list[list[Detection]]:
    """Fill gaps of at most `longest` frames within a shot, by the rules of `densify`.

    This is for detectors that sometimes miss a face: a box that ends is linked to a box that begins near it.
    """
    filled = [list(boxes) for boxes in dense]
    for shot in shots:
        gone: list[Detection] = []
        for frame in range(shot.start + 1, min(shot.end, len(dense))):
            links = link(dense[frame - 1], dense[frame], link_iou)
            gone += [box for box in dense[frame - 1] if not any(box is one for one, _ in links)]
            gone = [box for box in gone if frame - box.frame <= longest + 1]
            begun = [box for box in dense[frame] if not any(box is other for _, other in links)]
            for before, after in link(gone, begun, link_iou):
                gone = [box for box in gone if box is not before]
                for k in range(before.frame + 1, frame):
                    filled[k].append(_between(before, after, k, (k - before.frame) / (frame - before.frame)))
    return filled


def steady(dense: Sequence[Sequence[Detection]], shots: Sequence[Shot]) -> list[list[Detection]]:
    """Median-filter the boxes: each side becomes its median over STEADY frames of the same face, with ends repeated.

    This is for detectors whose boxes of a still face alternate between sizes, which would make a tracker lose the face.
    """
    calm: dict[int, Detection] = {}
    for shot in shots:
        for face in _faces(dense[shot.start : shot.end]):
            sides = median_filter(np.stack([box.box_xyxy for box in face]), (STEADY, 1), mode="nearest")
            calm |= {id(box): replace(box, box_xyxy=xyxy) for box, xyxy in zip(face, sides, strict=True)}
    return [[calm.get(id(box), box) for box in boxes] for boxes in dense]


def without_weak(
    dense: Sequence[Sequence[Detection]], shots: Sequence[Shot], weak: float, clear: float
) -> list[list[Detection]]:
    """Drop the faces whose mean score is below `weak` where another face of the shot has at least `clear`.

    Plants and walls score like that next to a speaker. Where nothing scores better, a weak face may be a drawn one.
    """
    dropped: set[int] = set()
    for shot in shots:
        faces = _faces(dense[shot.start : shot.end])
        means = [sum(box.score for box in face) / len(face) for face in faces]
        if max(means, default=0.0) >= clear:
            dropped |= {id(box) for face, mean in zip(faces, means, strict=True) if mean < weak for box in face}
    return [[box for box in boxes if id(box) not in dropped] for boxes in dense]


def _faces(dense: Sequence[Sequence[Detection]]) -> list[list[Detection]]:
    """The boxes of each face, from frame to frame."""
    faces: list[list[Detection]] = []
    before: dict[int, list[Detection]] = {}
    for boxes in dense:
        last = [face[-1] for face in before.values()]
        goes_on = {id(box): before[id(earlier)] for earlier, box in link(last, boxes, BRIDGE_IOU)}
        before = {id(box): goes_on.get(id(box), []) for box in boxes}
        for box in boxes:
            face = before[id(box)]
            if not face:
                faces.append(face)
            face.append(box)
    return faces


def link(
    before: Sequence[Detection], after: Sequence[Detection], link_iou: float = LINK_IOU
) -> list[tuple[Detection, Detection]]:
    """Pairs of boxes of the same face, in the order of `before`."""
    if not before or not after:
        return []
    from scipy.optimize import linear_sum_assignment  # imported here: it takes 20 MB, and exact detection does not link

    overlaps = iou(np.stack([d.box_xyxy for d in before]), np.stack([d.box_xyxy for d in after]))
    overlaps = np.where(overlaps > link_iou, overlaps, 0)
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return [(before[i], after[j]) for i, j in zip(rows, columns, strict=True) if overlaps[i, j] > 0]


def iou(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """float64[N, M]: intersection over union of each of the boxes float[N, 4] with each of float[M, 4]."""
    return paired_iou(one[:, None], other[None])


def paired_iou(one: NDArray[np.floating], other: NDArray[np.floating], epsilon: float = 0.0) -> NDArray[np.float64]:
    """Intersection over union of boxes x1, y1, x2, y2; 0 where the union has no area.

    Args:
        one, other: float[..., 4], broadcast against each other; the result is float64[...].
        epsilon: added to the union; MoChaBench's tracker adds 1e-8.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    overlap = np.asarray(sides[..., 0] * sides[..., 1])
    union = _area(a) + _area(b) - overlap + epsilon
    share: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return share


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def _between(before: Detection, after: Detection, frame: int, t: float) -> Detection:
    box = (1 - t) * before.box_xyxy + t * after.box_xyxy
    points = None
    if before.points is not None and after.points is not None:
        points = ((1 - t) * before.points + t * after.points).astype(np.float32)
    return Detection(frame, box.astype(np.float32), (1 - t) * before.score + t * after.score, points)
