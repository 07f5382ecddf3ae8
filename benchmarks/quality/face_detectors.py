"""YuNet and HOG on the same known faces: the share found, overlap, milliseconds per frame (docs/measures/faces.md).

    python benchmarks/quality/face_detectors.py [../shared/clips]

The frames are those of fit_hog_mapping.py. Times are CPU milliseconds of one thread, with OpenCV on one thread too.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from fit_hog_mapping import MATCH, samples

from lipscore.faces.boxes import iou
from lipscore.faces.hog import HogDetector
from lipscore.faces.yunet import LEAST_SCORE, YunetDetector
from lipscore.types import Detector

ELSEWHERE = 0.1  # IoU with the known face up to which a box is of something else
SCORES = (LEAST_SCORE, 0.7, 0.8, 0.9)


def main() -> None:
    clips = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).resolve().parents[3] / "shared" / "clips"
    cv2.setNumThreads(1)
    detectors: tuple[Detector, ...] = (HogDetector(), YunetDetector())
    seconds: dict[str, list[float]] = defaultdict(list)
    best: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    elsewhere: dict[str, int] = defaultdict(int)
    for _, clip, frame, known in samples(clips):
        for detector in detectors:
            start = time.thread_time()
            (faces,) = detector([frame], [0])
            seconds[detector.name].append(time.thread_time() - start)
            for least in SCORES if detector.name == "yunet" else (-np.inf,):
                name = f"yunet, scores from {least}" if detector.name == "yunet" else detector.name
                boxes = np.array([face.box_xyxy for face in faces if face.score >= least]).reshape(-1, 4)
                overlaps = iou(boxes, known[None])[:, 0]
                best[name][clip.split("/")[0]].append(float(max(overlaps, default=0)))
                elsewhere[name] += int((overlaps <= ELSEWHERE).sum())
    for name, kinds in best.items():
        every = np.concatenate([np.array(overlaps) for overlaps in kinds.values()])
        found = every[every > MATCH]
        low, quarter, middle = np.percentile(found, (5, 25, 50))
        print(
            f"{name}: {found.size} of {every.size} found ({found.size / every.size:.1%}), IoU median {middle:.3f}, "
            f"25th percentile {quarter:.3f}, 5th {low:.3f}; {elsewhere[name] / every.size:.3f} other boxes a frame"
        )
        for kind, overlaps in sorted(kinds.items()):
            print(f"  {kind:32} {sum(overlap > MATCH for overlap in overlaps):4} of {len(overlaps)}")
    for name, values in seconds.items():
        mean, middle = 1000 * np.mean(values), 1000 * np.median(values)
        print(f"{name}: {mean:.1f} ms a frame, median {middle:.1f} (OpenCV {cv2.__version__})")


if __name__ == "__main__":
    main()
