"""From boxes to face tracks, as joonson/syncnet_python run_pipeline.py (track_shot) and its forks make them.

Published numbers depend on a quirk of the original: it takes boxes out of the list that it is walking, so that the box
after a taken one is passed over in that frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipscore.faces.boxes import paired_iou
from lipscore.syncnet.protocols import Protocol
from lipscore.types import Detection, Shot, Track


@dataclass(frozen=True, slots=True)
class Tracking:
    """The tracks of a video, and the best that was turned down, so that a reason can say what was missing.

    longest: detections in the longest candidate; largest_px: the mean face size of the largest candidate that was long
    enough.
    """

    tracks: tuple[Track, ...]
    longest: int
    largest_px: float


def find_tracks(detections: Sequence[Sequence[Detection]], shots: Sequence[Shot], protocol: Protocol) -> Tracking:
    """Link boxes into tracks, shot by shot.

    Args:
        detections: for each frame of the video its boxes, in the detector's order (which the linking depends on).
        shots: only those of at least protocol.min_track frames are looked at.
    """
    tracks: list[Track] = []
    longest = 0
    largest = 0.0
    for shot in shots:
        if shot.end - shot.start < protocol.min_track:
            continue
        remaining = [list(boxes) for boxes in detections[shot.start : shot.end]]
        while chain := _take_chain(remaining, protocol):
            longest = max(longest, len(chain))
            if len(chain) <= protocol.min_track:
                continue
            frames, boxes = _fill_gaps(chain)
            size = max(np.mean(boxes[:, 2] - boxes[:, 0]), np.mean(boxes[:, 3] - boxes[:, 1]))
            largest = max(largest, float(size))
            if size > protocol.min_face_size:
                tracks.append(Track(len(tracks), shot, frames, boxes))
    return Tracking(tuple(tracks), longest, largest)


def _take_chain(remaining: list[list[Detection]], protocol: Protocol) -> list[Detection]:
    """One walk over a shot: the boxes that link up with the first one left, taken out of `remaining`."""
    chain: list[Detection] = []
    for boxes in remaining:
        at = 0
        while at < len(boxes):
            box = boxes[at]
            if not chain:
                chain.append(boxes.pop(at))
            elif box.frame - chain[-1].frame > protocol.max_gap:
                break
            elif paired_iou(box.box_xyxy, chain[-1].box_xyxy, protocol.iou_epsilon) > protocol.track_iou:
                chain.append(boxes.pop(at))
            elif protocol.low_iou == "next_frame":
                break
            at += 1  # also after a box was taken: the walk steps over the one that moved into its place
    return chain


def _fill_gaps(chain: Sequence[Detection]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Boxes for every frame from the first to the last, linear between detections."""
    at = np.array([box.frame for box in chain])
    boxes = np.array([box.box_xyxy for box in chain], np.float64)
    frames = np.arange(at[0], at[-1] + 1)
    return frames, np.stack([np.interp(frames, at, boxes[:, side]) for side in range(4)], axis=1)
