"""Where the speaker of a training clip is: the boxes that scoring would follow.

The boxes come from the detector, the stride, the linking and the filters that `lipscore score` uses, so that the crops
of the training look like those of the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipscore.faces.boxes import iou, paired_iou
from lipscore.faces.scan import scan
from lipscore.media import read
from lipscore.media.files.scratch import scratch
from lipscore.pool import Pool
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.shots import find_shots
from lipscore.syncnet.source import prepare
from lipscore.syncnet.tracks import find_tracks
from lipscore.types import Detection, Detector, Shot, Track

PROTOCOL = PROTOCOLS["lipscore-1"]
SAME_IOU = 0.3  # with the known box: the same face
LEAST_SHARE = 0.5  # of the frames, for a face to be followed


@dataclass(frozen=True, slots=True)
class Followed:
    """The speaker's track at 25 frames a second, how many tracks there are, and how often the known box was found.

    found: the share of the frames with a box of the known face; None if there were no known boxes.
    """

    track: Track
    n_tracks: int
    found: float | None = None


def follow(path: Path, detector: Detector, known: Track | None = None, *, listener: bool = False) -> Followed | None:
    """Find the speaker; None where the detector finds nobody for long enough.

    Args:
        known: boxes for every frame, from a file; they choose among the faces. Without them, the speaker is who is seen
            for longest; the larger one at equal length.
        listener: the known boxes are a listener's, so the speaker is somebody else.

    Raises:
        MediaError: the clip cannot be read.
        NotScoredError: the clip has no audio.
    """
    with scratch() as folder:
        source = prepare(read.probe(path), PROTOCOL, folder)
        shots = tuple(find_shots(source.shot_frames(), PROTOCOL.shot_threshold))
        boxes = scan(source.frames, shots, detector, Pool(1)).boxes
    tracks = find_tracks(boxes, shots, PROTOCOL).tracks
    if known is not None and not listener:
        found = [box for frame in boxes if (box := _same(frame, known)) is not None]
        share = len(found) / max(1, len(boxes))
        return Followed(_filled(found, len(boxes)), len(tracks), share) if share >= LEAST_SHARE else None
    others = [track for track in tracks if known is None or not _mostly(track, known)]
    if not others:
        return None
    return Followed(max(others, key=lambda track: (len(track.frames), _height(track))), len(tracks))


def _same(boxes: Sequence[Detection], known: Track) -> Detection | None:
    """The box of the known face in a frame."""
    if not boxes:
        return None
    wanted = known.boxes_xyxy[min(boxes[0].frame, len(known.boxes_xyxy) - 1)]
    overlaps = iou(np.stack([box.box_xyxy for box in boxes]), wanted[None])[:, 0]
    best = int(np.argmax(overlaps))
    return boxes[best] if overlaps[best] > SAME_IOU else None


def _mostly(track: Track, known: Track) -> bool:
    """Whether a track is the known face's in most of its frames."""
    wanted = known.boxes_xyxy[np.minimum(track.frames, len(known.boxes_xyxy) - 1)]
    return float(np.mean(paired_iou(track.boxes_xyxy, wanted) > SAME_IOU)) > LEAST_SHARE


def _height(track: Track) -> float:
    return float(np.mean(track.boxes_xyxy[:, 3] - track.boxes_xyxy[:, 1]))


def _filled(found: Sequence[Detection], n_frames: int) -> Track:
    """A track over all frames, interpolated between the boxes that were found."""
    numbers = np.arange(n_frames)
    at = np.array([box.frame for box in found], np.float64)
    corners = np.stack([box.box_xyxy for box in found]).astype(np.float64)
    dense = np.stack([np.interp(numbers, at, corners[:, k]) for k in range(4)], 1)
    return Track(0, Shot(0, n_frames), numbers, dense)
