"""dlib's HOG detector on real clips, against boxes of another detector."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipscore.faces.boxes import iou
from lipscore.faces.hog import MAPPING, PASSES, HogDetector, SearchPass, to_faces
from lipscore.media.read import frames_at

CLIPS = (
    "1p_closeup_facingcamera/10_woman_doctor.mp4",
    "1p_closeup_facingcamera/4_man_reading.mp4",
    "1p_emotion/12_facingcamera_woman_cat_happy.mp4",
)


@pytest.fixture(scope="module")
def detector() -> HogDetector:
    return HogDetector()


@pytest.mark.parametrize("clip", CLIPS)
def test_finds_the_known_face(shared: Path, detector: HogDetector, clip: str) -> None:
    known = json.loads((shared / "clips" / "boxes.json").read_text())[clip]
    indices = known["frames"][:4]
    frames = dict(enumerate(islice(frames_at(shared / "clips" / "talking" / clip), indices[-1] + 1)))
    found = detector([frames[i] for i in indices], indices)
    overlaps = []
    for boxes, index, box in zip(found, indices, known["boxes"], strict=False):
        assert boxes[0].frame == index
        assert boxes[0].box_xyxy.dtype == np.float32
        overlaps.append(iou(boxes[0].box_xyxy[None], np.array([box[:4]]))[0, 0])
    assert min(overlaps) > 0.6
    assert np.mean(overlaps) > 0.7


def test_boxes_follow_the_frames_size(shared: Path, detector: HogDetector) -> None:
    """The same picture at other sizes: the same box, in that size's pixels."""
    frame = next(iter(frames_at(shared / "clips" / "talking" / CLIPS[0])))
    here = detector([frame], [0])[0][0].box_xyxy
    for scale in (0.5, 2.0):
        there = (
            detector([np.asarray(cv2.resize(frame, None, fx=scale, fy=scale), np.uint8)], [0])[0][0].box_xyxy / scale
        )
        assert iou(here[None], there[None])[0, 0] > 0.8


def test_a_second_pass_finds_a_smaller_face(shared: Path) -> None:
    frame = next(iter(frames_at(shared / "clips" / "talking" / CLIPS[0])))
    height, width = frame.shape[:2]
    far = np.full((2 * height, 2 * width, 3), 128, np.uint8)
    far[:height, :width] = frame
    once, twice = HogDetector(passes=[SearchPass(300, 0)]), HogDetector(passes=[SearchPass(300, 0), SearchPass(976, 0)])
    assert once([far], [0]) == [[]]
    assert len(twice([far], [0])[0]) == 1


@pytest.mark.parametrize("degrees", [52, -52])
def test_a_tilted_head_is_found_where_it_is(shared: Path, detector: HogDetector, degrees: float) -> None:
    """A frame turned about the known face's centre: the box stays there, though upright looks see nothing."""
    known = np.array(json.loads((shared / "clips" / "boxes.json").read_text())[CLIPS[1]]["boxes"][0][:4])
    frame = next(iter(frames_at(shared / "clips" / "talking" / CLIPS[1])))
    turn = cv2.getRotationMatrix2D(tuple((known[:2] + known[2:]) / 2), degrees, 1)
    tilted = np.asarray(cv2.warpAffine(frame, turn, frame.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)
    upright = HogDetector(passes=[look for look in PASSES if look.degrees == 0])
    assert all(iou(box.box_xyxy[None], known[None])[0, 0] < 0.5 for box in upright([tilted], [0])[0])
    (found,) = detector([tilted], [0])[0]
    assert iou(found.box_xyxy[None], known[None])[0, 0] > 0.7
    left = tilted.shape[1] // 2
    aside = np.asarray(
        cv2.copyMakeBorder(tilted, 0, 0, left, 0, cv2.BORDER_REPLICATE), np.uint8
    )  # off the picture's centre
    (found,) = detector([aside], [0])[0]
    assert iou(found.box_xyxy[None], known[None] + [left, 0, left, 0])[0, 0] > 0.7


def test_a_pass_returns_at_most_its_limit_of_faces(shared: Path) -> None:
    frame = next(iter(frames_at(shared / "clips" / "talking" / CLIPS[0])))
    two = np.hstack([frame, frame])
    every, best = (HogDetector(passes=[SearchPass(960, 0, 0, most)])([two], [0])[0] for most in (9, 1))
    assert len(every) == 2
    assert [box.score for box in best] == [max(box.score for box in every)]


def test_no_face(detector: HogDetector) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    flat = np.zeros((2, 2, 3), np.uint8)
    assert detector([noise, flat], [0, 1]) == [[], []]
    assert detector([], []) == []


def test_mapping_of_one_square_by_hand() -> None:
    square = np.array([[100.0, 200, 300, 400, 0.5, 1]])
    across, down, width, height = MAPPING[1]
    cx, cy = 200 + 200 * across, 300 + 200 * down
    expected = [cx - 100 * width, cy - 100 * height, cx + 100 * width, cy + 100 * height]
    np.testing.assert_allclose(to_faces(square)[0], expected, rtol=1e-6)


def test_mirrored_sub_detectors_mirror_the_mapping() -> None:
    for one, other in ((0, 0), (1, 2), (3, 4)):
        assert MAPPING[one][0] == -MAPPING[other][0]
        assert MAPPING[one][1:] == MAPPING[other][1:]
