"""dlib's HOG frontal face detector, whose weights come with dlib, its boxes mapped to those that the crops expect.

Detector: dlib.net, frontal_face_detector.h (Felzenszwalb et al. 2010, Dalal & Triggs 2005), from PyPI's dlib-bin. The
crop geometry expects boxes as S3FD draws them, forehead to chin; dlib's are squares around the features. MAPPING is
fitted by benchmarks/fit_hog_mapping.py; docs/faces.md says how well it fits and which faces are found.
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

# dlib's five sub-detectors: ahead, to either side, tilted to either side. Per sub-detector, in sides of its square: the
# face box's centre from the square's, across and down, and its width and height. Mirror images share their numbers.
MAPPING = (
    (0.0, -0.079, 0.918, 1.213),
    (0.109, -0.027, 0.847, 1.127),
    (-0.109, -0.027, 0.847, 1.127),
    (-0.06, -0.069, 0.911, 1.141),
    (0.06, -0.069, 0.911, 1.141),
)


class Look(NamedTuple):
    """One look at a frame, taken only where those before found no face.

    longer_side: of the picture, in pixels; least_score: above which a box is a face, in the detector's own units;
    degrees: that the picture is turned by, clockwise; most: faces that the look may give.
    """

    longer_side: int
    least_score: float
    degrees: float = 0
    most: int = 100


# Scores below dlib's default of 0, which misses heads that look aside; a box that appears once makes no track anyway.
PASSES = (Look(480, -0.2), Look(480, -0.3, 25, 1), Look(480, -0.3, -25, 1), Look(800, -0.4), Look(800, -0.7, 0, 1))
MAX_UPSAMPLING = 2.0  # small frames are enlarged by no more: the detector wants faces of 80 px


class HogDetector:
    """Frontal faces, scored in the detector's own units (`lipscore.types.Detector`).

    Args:
        stride: frames from one look to the next.
        passes: the looks.
    """

    name = "hog"
    batch_size = 2
    bridge = 24  # frames: as long as the published trackers go on without a face
    turn = nullcontext()  # anybody's: decoding takes longer than looking

    def __init__(self, stride: int = 5, passes: Sequence[Look] = PASSES) -> None:
        self.stride = stride
        self.passes = tuple(passes)
        self._local = threading.local()  # a detector is not to be shared: dlib leaves the interpreter and works in it

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """Faces of uint8[H, W, 3] BGR frames with these numbers, best first; boxes may reach beyond the frame."""
        found = []
        for frame, index in zip(frames, indices, strict=True):
            rows = self.squares(frame)
            found.append([Detection(index, box, float(row[4])) for box, row in zip(to_faces(rows), rows, strict=True)])
        return found

    def _dlib(self) -> dlib.fhog_object_detector:
        """This thread's detector."""
        if not hasattr(self._local, "detector"):
            self._local.detector = dlib.get_frontal_face_detector()
        return self._local.detector

    def squares(self, frame: Frame) -> NDArray[np.float64]:
        """dlib's own boxes in a frame, best first: float64[N, 6], x1 y1 x2 y2 in source pixels, score, sub-detector.

        Those of a turned look lie upright where the turned ones had their centres.
        """
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        for look in self.passes:
            rows = self._seen(grey, look)
            if len(rows):
                return rows
        return np.empty((0, 6))

    def _seen(self, grey: cv2.typing.MatLike, look: Look) -> NDArray[np.float64]:
        """What one look finds, as `squares` gives it."""
        scale = min(look.longer_side / max(grey.shape), MAX_UPSAMPLING)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=way)
        height, width = small.shape
        rotation = cv2.getRotationMatrix2D((width / 2, height / 2), -look.degrees, 1)
        turned = cv2.warpAffine(small, rotation, (width, height)) if look.degrees else small
        boxes, scores, which = self._dlib().run(turned, 0, look.least_score)
        if not boxes:
            return np.empty((0, 6))
        # dlib's right and bottom are the last pixel inside
        corners = np.array([(b.left(), b.top(), b.right() + 1, b.bottom() + 1) for b in boxes], np.float64)
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        back = cv2.transform(centres[None], cv2.invertAffineTransform(rotation))[0]
        corners += np.tile(back - centres, 2)
        return np.column_stack([corners / scale, scores, which])[: look.most]


def to_faces(squares: NDArray[np.float64], mapping: ArrayLike = MAPPING) -> NDArray[np.float32]:
    """What `HogDetector.squares` gives [N, 6] -> face boxes float32[N, 4], forehead to chin."""
    chosen = np.asarray(mapping)[squares[:, 5].astype(int)]
    side = (squares[:, 2:4] - squares[:, :2]).mean(axis=1, keepdims=True)
    centre = (squares[:, :2] + squares[:, 2:4]) / 2 + side * chosen[:, :2]
    half = side * chosen[:, 2:] / 2
    return np.hstack([centre - half, centre + half]).astype(np.float32)
