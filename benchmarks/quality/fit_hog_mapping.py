"""Fit the mapping from dlib's HOG squares to face boxes, and measure it: the numbers of faces/hog.py.

    python benchmarks/quality/fit_hog_mapping.py [../shared/clips]

The script takes three frames of each clip in boxes.json (after a tenth, half and nine tenths), fits the mapping on
every other clip and reports it on the rest; then it reports the detection rate and the milliseconds per frame.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.faces.boxes import iou
from lipscore.faces.hog import PASSES, HogDetector, to_faces
from lipscore.media.read import frames_at
from lipscore.types import Frame

MATCH = 0.3  # IoU of a HOG square with the known face from which on it counts as found
ALONG = (0.1, 0.5, 0.9)


def samples(clips: Path) -> Iterator[tuple[int, str, Frame, NDArray[np.float64]]]:
    """Clip number, clip, frame, known box x1 y1 x2 y2."""
    for number, (clip, entry) in enumerate(json.loads((clips / "boxes.json").read_text()).items()):
        known = {frame: box for frame, box in zip(entry["frames"], entry["boxes"], strict=True) if box}
        chosen = {list(known)[int(share * (len(known) - 1))] for share in ALONG}
        for index, frame in enumerate(frames_at(clips / "talking" / clip)):
            if index in chosen:
                yield number, clip, frame, np.array(known[index][:4])
            if index >= max(chosen):
                break


def fit(squares: NDArray[np.float64], faces: NDArray[np.float64]) -> NDArray[np.float64]:
    """MAPPING from matching squares [N, 6] and faces [N, 4]: medians per sub-detector, mirror images taken together."""
    side = (squares[:, 2] - squares[:, 0])[:, None]
    shift = (faces[:, :2] + faces[:, 2:] - squares[:, :2] - squares[:, 2:4]) / 2 / side
    unit = np.hstack([shift, (faces[:, 2:] - faces[:, :2]) / side])
    mapping = np.zeros((5, 4))
    for one, other in ((0, 0), (1, 2), (3, 4)):
        here, mirrored = unit[squares[:, 5] == one], unit[squares[:, 5] == other]
        both = np.vstack([here, mirrored * (-1, 1, 1, 1)])
        mapping[one] = np.median(both, axis=0)
        mapping[other] = mapping[one] * (-1 if one != other else 1, 1, 1, 1)
    return mapping


def own_iou(ours: NDArray[np.floating], known: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([iou(a[None], b[None])[0, 0] for a, b in zip(ours, known, strict=True)])


def speed(detector: HogDetector, frame: Frame, repeats: int = 10) -> float:
    """CPU milliseconds a frame: dlib runs on one thread, and other processes disturb wall time."""
    seconds = []
    for _ in range(repeats):
        start = time.thread_time()
        detector.squares(frame)
        seconds.append(time.thread_time() - start)
    return 1000 * float(np.median(seconds))


def main() -> None:
    clips = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).resolve().parents[3] / "shared" / "clips"
    detector = HogDetector()
    rate: dict[str, list[bool]] = defaultdict(list)
    others, matched = 0, []
    example: Frame | None = None
    for number, clip, frame, known in samples(clips):
        squares = detector.squares(frame)
        overlaps = iou(squares[:, :4], known[None])[:, 0]
        found = bool(squares.size) and overlaps.max() > MATCH
        rate[clip.split("/")[0]].append(found)
        others += int((overlaps <= 0.1).sum())
        if found:
            matched.append((number % 2, squares[overlaps.argmax()], known))
            example = frame
    n = sum(map(len, rate.values()))
    print(
        f"{n} frames, the known face found in {sum(map(sum, rate.values())) / n:.1%}, {others / n:.3f} other boxes each"
    )
    for kind, hits in sorted(rate.items()):
        print(f"  {kind:32} {sum(hits):4} of {len(hits)}")

    half, squares, known = (np.array(column) for column in zip(*matched, strict=True))
    train, test = half == 0, half == 1
    print(
        "MAPPING fitted on all:", np.array2string(fit(squares, known), separator=", ", precision=3, suppress_small=True)
    )
    print("sub-detectors' shares:", np.bincount(squares[:, 5].astype(int), minlength=5))
    # The score of a mapping on clips that it was not fitted on
    trained = to_faces(squares[test], fit(squares[train], known[train]))
    for name, ours in (
        ("as dlib draws it", squares[test, :4]),
        ("mapped, fitted on the other clips", trained),
        ("mapped as in use", to_faces(squares[test])),
    ):
        fits = own_iou(ours, known[test])
        low, quarter, middle = np.percentile(fits, (5, 25, 50))
        print(f"IoU on every other clip, {name}: median {middle:.3f}, 25th percentile {quarter:.3f}, 5th {low:.3f}")
    mapped = to_faces(squares[test])
    known = known[test]
    side = (known[:, 2:] - known[:, :2]).mean(axis=1)
    residual = np.abs((mapped[:, :2] + mapped[:, 2:] - known[:, :2] - known[:, 2:]) / 2) / side[:, None]
    across, down = np.median(residual, axis=0)
    print(f"median distance of centres, in face sides: {across:.3f} across, {down:.3f} down")

    assert example is not None, "no face found in any clip"
    for width, height in ((528, 976), (1080, 1920)):
        frame = cv2.resize(example, (width, height))
        once, every = speed(HogDetector(passes=PASSES[:1]), frame), speed(detector, np.zeros_like(frame))
        print(f"{width}x{height}: {once:.1f} ms a frame in one look, {every:.1f} ms in all {len(PASSES)}")


if __name__ == "__main__":
    main()
