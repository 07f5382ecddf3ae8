"""dlib's HOG frontal face detector, with its boxes mapped to the shape that the crops expect.

Detector: dlib.net, frontal_face_detector.h (Felzenszwalb et al. 2010, Dalal & Triggs 2005), from PyPI's dlib-bin, which
contains the weights. The crop geometry expects boxes as S3FD draws them, forehead to chin; dlib draws squares around
the features. benchmarks/quality/fit_hog_mapping.py fits MAPPING; docs/measures/faces.md gives the errors of the fit and
the share of faces that the detector finds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import cv2
import dlib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lipscore.types import Detection, Frame

# dlib's five sub-detectors: frontal, turned left and right, tilted left and right. Per sub-detector, in units of the
# square's side: the offset of the face box's centre (across, down), then its width and height. Mirrored pairs share
# their numbers.
MAPPING = (
    (0.0, -0.079, 0.918, 1.213),
    (0.109, -0.027, 0.847, 1.127),
    (-0.109, -0.027, 0.847, 1.127),
    (-0.06, -0.069, 0.911, 1.141),
    (0.06, -0.069, 0.911, 1.141),
)


class SearchPass(NamedTuple):
    """One pass over a frame; it runs only if the passes before it found no face.

    longer_side: the length to which the frame's longer side is resized, in pixels. least_score: a box with a higher
    score is a face, in the detector's own units. degrees: the clockwise rotation of the frame. most: the largest number
    of faces to return.
    """

    longer_side: int
    least_score: float
    degrees: float = 0
    most: int = 100


# The thresholds lie below dlib's default of 0, which misses heads that look aside. A false box that appears once makes
# no track.
PASSES = (
    SearchPass(480, -0.2),
    SearchPass(480, -0.3, 25, 1),
    SearchPass(480, -0.3, -25, 1),
    SearchPass(800, -0.4),
    SearchPass(800, -0.7, 0, 1),
)
MAX_UPSAMPLING = 2.0  # the largest factor for small frames; the detector needs faces of 80 px


class HogDetector:
    """Frontal faces, scored in the detector's own units (`lipscore.types.Detector`).

    Args:
        stride: it looks at every stride-th frame.
        passes: the passes over a frame, in order.
    """

    name = "hog"
    batch_size = 2
    doubtful = (0.0, 0.0)
    bridge = 24  # frames: as long as the published trackers go on without a face
    turn = nullcontext()  # no lock: decoding is the bottleneck, so videos may run concurrently

    def __init__(self, stride: int = 5, passes: Sequence[SearchPass] = PASSES) -> None:
        self.stride = stride
        self.passes = tuple(passes)
        self._local = threading.local()  # dlib releases the GIL while it mutates the detector: one per thread

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """Faces of uint8[H, W, 3] BGR frames with these numbers, best first; boxes may reach beyond the frame."""
        by_frame = []
        for frame, index in zip(frames, indices, strict=True):
            rows = self.squares(frame)
            faces = to_faces(rows)
            by_frame.append([Detection(index, box, float(row[4])) for box, row in zip(faces, rows, strict=True)])
        return by_frame

    def _dlib(self) -> dlib.fhog_object_detector:
        """This thread's detector."""
        if not hasattr(self._local, "detector"):
            self._local.detector = dlib.get_frontal_face_detector()
        return self._local.detector

    def squares(self, frame: Frame) -> NDArray[np.float64]:
        """dlib's own boxes in a frame, best first: float64[N, 6], x1 y1 x2 y2 in source pixels, score, sub-detector.

        Boxes from a rotated pass are upright, with the centres of the rotated boxes.
        """
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        for search_pass in self.passes:
            rows = self._search(grey, search_pass)
            if len(rows):
                return rows
        return np.empty((0, 6))

    def _search(self, grey: cv2.typing.MatLike, search_pass: SearchPass) -> NDArray[np.float64]:
        """The boxes of one pass, as `squares` returns them."""
        scale = min(search_pass.longer_side / max(grey.shape), MAX_UPSAMPLING)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=interpolation)
        height, width = small.shape
        rotation = cv2.getRotationMatrix2D((width / 2, height / 2), -search_pass.degrees, 1)
        rotated = cv2.warpAffine(small, rotation, (width, height)) if search_pass.degrees else small
        boxes, scores, sub_detectors = self._dlib().run(rotated, 0, search_pass.least_score)
        if not boxes:
            return np.empty((0, 6))
        # dlib's right and bottom edges are the last pixel inside
        corners = np.array([(b.left(), b.top(), b.right() + 1, b.bottom() + 1) for b in boxes], np.float64)
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        back = cv2.transform(centres[None], cv2.invertAffineTransform(rotation))[0]
        corners += np.tile(back - centres, 2)
        return np.column_stack([corners / scale, scores, sub_detectors])[: search_pass.most]


def to_faces(squares: NDArray[np.float64], mapping: ArrayLike = MAPPING) -> NDArray[np.float32]:
    """`HogDetector.squares` [N, 6] -> face boxes float32[N, 4], forehead to chin."""
    chosen = np.asarray(mapping)[squares[:, 5].astype(int)]
    side = (squares[:, 2:4] - squares[:, :2]).mean(axis=1, keepdims=True)
    centre = (squares[:, :2] + squares[:, 2:4]) / 2 + side * chosen[:, :2]
    half = side * chosen[:, 2:] / 2
    return np.hstack([centre - half, centre + half]).astype(np.float32)
