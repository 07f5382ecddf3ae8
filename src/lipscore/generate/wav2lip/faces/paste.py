"""Cut the network's input from a frame, and paste its output back.

github.com/Rudrabha/Wav2Lip at 5c90fa9, inference.py: datagen and main.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.generate.wav2lip.network import SIDE
from lipscore.types import Floats, Frame


def face_of(frame: Frame, box: NDArray[np.int64]) -> Frame:
    """uint8[96, 96, 3]: the box of the frame, bilinear."""
    x1, y1, x2, y2 = box
    return cv2.resize(frame[y1:y2, x1:x2], (SIDE, SIDE))  # type: ignore[return-value]


def network_input(faces: Sequence[Frame]) -> Floats:
    """float32[B, 6, 96, 96] in 0 ... 1: the faces with black lower halves, then the whole faces, each as B, G, R."""
    whole = np.stack(faces)
    masked = whole.copy()
    masked[:, SIDE // 2 :] = 0
    both = np.concatenate([masked, whole], axis=3) / 255.0
    return np.ascontiguousarray(both.transpose(0, 3, 1, 2), np.float32)


def pasted(frame: Frame, box: NDArray[np.int64], patch: Floats) -> Frame:
    """A copy of the frame whose box shows float32[3, 96, 96] in 0 ... 1; pixel values are truncated, not rounded."""
    x1, y1, x2, y2 = box
    out = frame.copy()
    pixels = (patch.transpose(1, 2, 0) * np.float32(255)).astype(np.uint8)
    out[y1:y2, x1:x2] = cv2.resize(pixels, (int(x2 - x1), int(y2 - y1)))
    return out
