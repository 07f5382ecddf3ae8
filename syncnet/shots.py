"""Cuts between shots, by scenedetect 0.6.0's ContentDetector.

scenedetect's SceneManager is left out, because it wants a file of its own to read: the frames reach its detector as its
own reader would hand them over.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from scenedetect.detectors import ContentDetector
from scenedetect.scene_manager import compute_downscale_factor

from lipscore.types import Frame, Shot


def find_shots(frames: Iterable[Frame], threshold: float) -> list[Shot]:
    """Cut a video into shots; the last one ends with the last frame that there is.

    Args:
        frames: uint8[H, W, 3] BGR, all of the video, in order. Read by OpenCV (as the published protocols do), an AVI
            that FFmpeg wrote has one frame less than FFmpeg reads from it.
        threshold: ContentDetector's.
    """
    detector = ContentDetector(threshold=threshold)
    cuts: list[int] = []
    n = 0
    for frame in frames:
        factor = compute_downscale_factor(frame.shape[1])
        cuts += detector.process_frame(n, np.ascontiguousarray(frame[::factor, ::factor]))
        n += 1
    return [Shot(a, b) for a, b in pairwise([0, *cuts, n])]
