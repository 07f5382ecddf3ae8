"""Link boxes into face tracks, like joonson/syncnet_python run_pipeline.py (track_shot) and its forks.

Published numbers depend on a quirk of the original: it removes boxes from the list that it iterates over, so the box
after a removed one is skipped in that frame.
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
    """The tracks of a video, and figures of rejected candidates for the message when there is no track.

    longest: detections in the longest candidate; largest_px: the mean face size of the largest candidate that was long
    enough.
    """

    tracks: tuple[Track, ...]
    longest: int
    largest_px: float


def find_tracks(detections: Sequence[Sequence[Detection]], shots: Sequence[Shot], protocol: Protocol) -> Tracking:
    """Link boxes into tracks, shot by shot.

    Args:
        detections: the boxes of each frame, in the detector's order; the result depends on this order.
        shots: shots of fewer than protocol.min_track frames are skipped.
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
    """One pass over a shot: removes from `remaining` the boxes that link to the first one, and returns them."""
    chain: list[Detection] = []
    for boxes in remaining:
        position = 0
        while position < len(boxes):
            box = boxes[position]
            if not chain:
                chain.append(boxes.pop(position))
            elif box.frame - chain[-1].frame > protocol.max_gap:
                break
            elif paired_iou(box.box_xyxy, chain[-1].box_xyxy, protocol.iou_epsilon) > protocol.track_iou:
                chain.append(boxes.pop(position))
            elif protocol.low_iou == "next_frame":
                break
            position += 1  # also after a removal, which skips the box that moved into its place: the original's quirk
    return chain


def _fill_gaps(chain: Sequence[Detection]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Boxes for every frame from the first to the last, interpolated linearly between detections."""
    detected = np.array([box.frame for box in chain])
    boxes = np.array([box.box_xyxy for box in chain], np.float64)
    frames = np.arange(detected[0], detected[-1] + 1)
    return frames, np.stack([np.interp(frames, detected, boxes[:, side]) for side in range(4)], axis=1)
