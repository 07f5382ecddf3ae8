"""YuNet on rendered heads and real clips, against boxes of another detector."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipscore.errors import WeightsError
from lipscore.eval.options import ModelOptions
from lipscore.eval.setup import load
from lipscore.faces import yunet
from lipscore.faces.boxes import densify, iou
from lipscore.faces.yunet import YunetDetector
from lipscore.media.read import frames_at
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import Detection, Frame, Shot
from lipscore.weights.catalogue import YUNET, YUNET_SHA256

CLIPS = (
    "1p_closeup_facingcamera/10_woman_doctor.mp4",
    "1p_closeup_facingcamera/4_man_reading.mp4",
    "1p_emotion/12_facingcamera_woman_cat_happy.mp4",
)


@pytest.fixture(scope="module")
def detector() -> YunetDetector:
    return YunetDetector()


def frames_of(shared: Path, clip: str, count: int) -> list[Frame]:
    return list(islice(frames_at(shared / "clips" / "talking" / clip), count))


@pytest.mark.parametrize("clip", CLIPS)
def test_finds_the_known_face_and_its_points(shared: Path, detector: YunetDetector, clip: str) -> None:
    known = json.loads((shared / "clips" / "boxes.json").read_text())[clip]
    indices = known["frames"][:4]
    frames = frames_of(shared, clip, indices[-1] + 1)
    for index, box, faces in zip(
        indices, known["boxes"], detector([frames[i] for i in indices], indices), strict=False
    ):
        (face,) = faces
        assert face.frame == index and face.box_xyxy.dtype == np.float32 and 0.6 <= face.score <= 1
        assert iou(face.box_xyxy[None], np.array([box[:4]]))[0, 0] > 0.75
        assert face.points is not None and face.points.shape == (5, 2) and face.points.dtype == np.float32
        right_eye, left_eye, nose, right_mouth, left_mouth = face.points
        assert right_eye[0] < nose[0] < left_eye[0] and right_mouth[0] < left_mouth[0]  # as the camera sees a person
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
        assert (face.points > face.box_xyxy[:2]).all() and (face.points < face.box_xyxy[2:]).all()


def test_boxes_and_points_follow_the_frames_size(shared: Path, detector: YunetDetector) -> None:
    (frame,) = frames_of(shared, CLIPS[0], 1)
    (here,) = detector([frame], [0])[0]
    assert here.points is not None
    side = here.box_xyxy[2] - here.box_xyxy[0]
    for width, height in ((488, 264), (1952, 1056), (976, 700)):  # the last is stretched
        factor = np.array([width, height]) / frame.shape[1::-1]
        (there,) = detector([np.asarray(cv2.resize(frame, (width, height)), np.uint8)], [0])[0]
        assert iou(here.box_xyxy[None], there.box_xyxy[None] / np.tile(factor, 2))[0, 0] > 0.8
        assert there.points is not None and np.abs(there.points / factor - here.points).max() < 0.1 * side


def test_faces_come_best_first_and_a_frame_without_one_has_none(shared: Path, detector: YunetDetector) -> None:
    one, other = (frames_of(shared, clip, 1)[0] for clip in CLIPS[:2])
    both = np.hstack([one, other[: one.shape[0], : one.shape[1]]])
    scores = [face.score for face in detector([both], [0])[0]]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    assert detector([noise, np.zeros((2, 2, 3), np.uint8)], [0, 1]) == [[], []]
    assert detector([], []) == []


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (31, 31), (20, 400), (400, 20)])
def test_a_small_frame_gets_a_border_and_has_no_face(size: tuple[int, int], detector: YunetDetector) -> None:
    random = np.random.default_rng(2).integers(0, 256, (*size, 3)).astype(np.uint8)
    assert detector([random, np.zeros((*size, 3), np.uint8)], [0, 1]) == [[], []]


def test_a_small_face_is_found_with_a_border(shared: Path, detector: YunetDetector) -> None:
    (frame,) = frames_of(shared, CLIPS[0], 1)
    factor = 90 / max(frame.shape)
    (small,) = detector([np.asarray(cv2.resize(frame, None, fx=factor, fy=factor), np.uint8)], [0])[0]
    (large,) = detector([frame], [0])[0]
    assert iou(small.box_xyxy[None], large.box_xyxy[None] * factor)[0, 0] > 0.7


def test_only_plausible_rows_become_faces() -> None:
    good = np.array([2, 3, 10, 12, *[5] * 10, 0.9], np.float32)
    bad = np.tile(good, (7, 1))
    bad[0, 0], bad[1, 3], bad[2, 7], bad[3, 14] = -np.inf, np.nan, np.inf, np.nan
    bad[4, 0], bad[5, 1], bad[6, 2] = 40, -20, 0  # right of the picture, above it, without width
    np.testing.assert_array_equal(yunet._plausible(np.vstack([bad, good]), (40, 30)), good[None])


def rows(faces: list[list[Detection]]) -> list[list[float]]:
    return [[face.frame, *face.box_xyxy.tolist(), face.score] for frame in faces for face in frame]


def test_threads_that_share_a_detector_get_the_boxes_of_one(shared: Path, detector: YunetDetector) -> None:
    """Frames of different sizes, so that a shared state would mix them up."""
    whole = frames_of(shared, CLIPS[0], 6)
    halves = [np.ascontiguousarray(frame[: frame.shape[0] // 2 + 9]) for frame in whole]
    expected = [rows(detector(frames, range(6))) for frames in (whole, halves)]
    assert expected[0] and expected[1] and expected[0] != expected[1]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(4):
            found = [threads.submit(detector, frames, range(6)) for frames in (whole, halves)]
            assert [rows(faces.result()) for faces in found] == expected


def test_points_are_interpolated_with_their_boxes() -> None:
    def face(frame: int, points: bool = True) -> Detection:
        box = np.array([frame, 0, frame + 40, 40], np.float32)
        five = np.full((5, 2), frame + 10, np.float32) if points else None
        return Detection(frame, box, 1.0, five)

    dense = densify({0: [face(0)], 4: [face(4)]}, [Shot(0, 5)], 5)
    assert [float(boxes[0].points[0, 0]) for boxes in dense if boxes[0].points is not None] == [10, 11, 12, 13, 14]
    without = densify({0: [face(0)], 4: [face(4, points=False)]}, [Shot(0, 5)], 5)
    assert [boxes[0].points is None for boxes in without] == [False, True, True, True, True]


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = YunetDetector().weights.path
    changed = tmp_path / YUNET
    content = bytearray(published.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)
    with pytest.raises(WeightsError, match=r"is not the published face_detection_yunet.*Reinstall") as error:
        YunetDetector(path=changed)
    assert str(changed) in str(error.value) and YUNET_SHA256 in str(error.value)
    with pytest.raises(WeightsError, match=r"gone\.onnx cannot be read: No such file"):
        YunetDetector(path=tmp_path / "gone.onnx")
    monkeypatch.setattr(yunet, "PACKAGE", "no-such-package-at-all")
    with pytest.raises(WeightsError, match="not installed"):
        YunetDetector()


# The option


@pytest.mark.parametrize(("wanted", "name"), [("auto", "yunet"), ("hog", "hog"), ("yunet", "yunet")])
def test_mini_looks_with_the_detector_that_is_asked_for(wanted: str, name: str) -> None:
    models = load(ModelOptions("mini", detector=wanted, device="cpu"), PROTOCOLS["wav2lip"])
    assert models.detector == models.detector_for(Path("any.mp4")).name == name
    files = {file["name"]: file["sha256"] for file in models.weights_record()}
    assert files.get(YUNET) == (YUNET_SHA256 if name == "yunet" else None)
    assert next(iter(files)) == "mini.safetensors"
    direct = load(ModelOptions("mini", detector=wanted, device="cpu"), PROTOCOLS["wav2lip-lrs"])
    assert (direct.detector, direct.weights) == ("none", ())


def test_any_model_looks_with_any_detector(
    random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIPSCORE_OFFLINE", "1")
    seen = {}
    for model in ("vgg", "mini"):
        for wanted in ("auto", "s3fd", "yunet", "hog"):
            asked = ModelOptions(model, random_weights, allow_unverified=True, detector=wanted, device="cpu")
            models = load(asked, PROTOCOLS["wav2lip"])
            assert models.detector_for(Path("any.mp4")).name == models.detector
            seen[model, wanted] = [models.detector, *(file["name"] for file in models.weights_record()[1:])]
    s3fd, hog, small = ["s3fd", "sfd_face.pth"], ["hog"], ["yunet", YUNET]
    for model, by_default in (("vgg", s3fd), ("mini", small)):
        assert [seen[model, wanted] for wanted in ("auto", "s3fd", "yunet", "hog")] == [by_default, s3fd, small, hog]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"sfd_face\.pth"):
        load(ModelOptions("mini", detector="s3fd", device="cpu"), PROTOCOLS["wav2lip"])
