"""Where Wav2Lip's patch goes, and how it gets there: smoothing, pads, persons, paste."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipscore.errors import MediaError, UsageError
from lipscore.generate.wav2lip.faces import paste, person
from lipscore.generate.wav2lip.faces.boxes import Pads, padded, place_all, place_fork, place_kept, ranges, smoothed
from lipscore.generate.wav2lip.faces.picture import Crop, Framing, is_image, open_picture
from lipscore.generate.wav2lip.flow import stretched
from lipscore.types import Detection, Frame

boxes_of = st.lists(st.lists(st.integers(0, 2000), min_size=4, max_size=4), min_size=1, max_size=30)


def naive_smoothing(boxes: list[list[int]]) -> list[list[int]]:
    """By plain lists: a window of five from here on; near the end the last five, as they are by then."""
    held = [list(box) for box in boxes]
    n = len(held)
    for i in range(n):
        window = held[i : i + 5] if i + 5 <= n else held[n - 5 :]  # a negative start counts from the end
        held[i] = [int(sum(column) / len(window)) for column in zip(*window, strict=True)]
    return held


@pytest.mark.parametrize("n", range(1, 15))
def test_smoothing_is_the_naive_one(n: int) -> None:
    boxes = np.random.default_rng(n).integers(0, 500, (n, 4))
    before = boxes.copy()
    np.testing.assert_array_equal(smoothed(boxes), naive_smoothing(boxes.tolist()))
    np.testing.assert_array_equal(boxes, before)


@given(boxes_of)
def test_smoothed_boxes_stay_within_the_boxes(boxes: list[list[int]]) -> None:
    array = np.array(boxes, np.int64)
    out = smoothed(array)
    assert (out >= array.min(axis=0)).all() and (out <= array.max(axis=0)).all()


@given(st.lists(st.integers(0, 2000), min_size=4, max_size=4), st.integers(1, 20))
def test_smoothing_leaves_a_box_that_keeps_still(box: list[int], n: int) -> None:
    array = np.array([box] * n, np.int64)
    np.testing.assert_array_equal(smoothed(array), array)


def test_the_kits_smoothing(wav2lip_kit: Path) -> None:
    units = json.loads((wav2lip_kit / "golden.json").read_text())["units"]["smoothing"]
    assert {1, 2, 3, 4, 5, 14} <= {len(unit["boxes"]) for unit in units}
    for unit in units:
        assert smoothed(np.array(unit["boxes"], np.int64)).tolist() == unit["smoothed"]


def detection(*box: float) -> Detection:
    return Detection(0, np.array(box, np.float32), 1.0)


def test_pads_are_clipped_to_the_frame_and_corners_truncated() -> None:
    pads = Pads(top=8, bottom=20, left=4, right=6)
    np.testing.assert_array_equal(padded(detection(-3.7, 10.9, 50.9, 60.2), pads, 200, 100), [0, 2, 56, 80])
    np.testing.assert_array_equal(padded(detection(150.5, 3, 199, 95), pads, 200, 100), [146, 0, 200, 100])
    assert padded(None, pads, 200, 100) is None
    assert padded(detection(300, 10, 320, 60), Pads(0, 0, 0, 0), 200, 100) is None  # beside the frame


def box(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_a_missing_box_lies_between_its_neighbours() -> None:
    found = [None, box(0, 0, 10, 10), None, None, box(30, 60, 40, 70), None]
    placed = place_all(found, smooth=False)
    assert placed.boxes[:, 0].tolist() == [0, 0, 10, 20, 30, 30]
    assert placed.boxes[:, 1].tolist() == [0, 0, 20, 40, 60, 60]
    assert placed.states == ("interpolated", "generated", "interpolated", "interpolated", "generated", "interpolated")
    assert all(placed.box_of(frame) is not None for frame in range(6))


def test_kept_passages_take_no_part_in_the_smoothing_of_others() -> None:
    one, other = [box(k, k, k + 50, k + 50) for k in range(8)], [box(500, 500, 600, 600)] * 8
    found = [*one, None, None, *other]
    placed = place_kept(found, [True] * 8 + [False] * 2 + [True] * 8, smooth=True)
    np.testing.assert_array_equal(placed.boxes[:8], smoothed(np.stack(one)))
    np.testing.assert_array_equal(placed.boxes[10:], np.stack(other))
    assert placed.box_of(8) is None and placed.box_of(9) is None
    assert ranges(placed.states) == {"generated": [[0, 7], [10, 17]], "no_face": [[8, 9]]}


def test_another_persons_frames_are_kept() -> None:
    placed = place_kept([box(0, 0, 9, 9)] * 3, [True, False, True], smooth=True)
    assert placed.states == ("generated", "other_face", "generated")
    assert placed.box_of(1) is None


def test_the_fork_mixes_the_first_box_into_its_neighbours() -> None:
    found = [box(100, 100, 200, 200)] * 4 + [None] + [box(300, 300, 400, 400)] * 5
    placed = place_fork(found, box(0, 0, 50, 50), [b is not None for b in found], smooth=True)
    filled = [[100, 100, 200, 200]] * 4 + [[0, 0, 50, 50]] + [[300, 300, 400, 400]] * 5
    np.testing.assert_array_equal(placed.boxes, naive_smoothing(filled))
    assert placed.box_of(4) is None


def drawn(seed: int, side: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def test_the_input_is_the_masked_face_then_the_whole_one() -> None:
    faces = [drawn(0), drawn(1)]
    x = paste.network_input(faces)
    assert x.shape == (2, 6, 96, 96) and x.dtype == np.float32
    for b, row, column, channel in ((0, 10, 20, 0), (1, 47, 95, 2), (1, 48, 3, 1), (0, 95, 0, 0)):
        value = faces[b][row, column, channel] / 255
        assert x[b, 3 + channel, row, column] == np.float32(value)
        assert x[b, channel, row, column] == (np.float32(value) if row < 48 else 0)


def resized(image: np.ndarray, width: int, height: int) -> Frame:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def naive_resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bilinear with pixels' centres at halves, edges repeated."""
    out = np.empty((height, width, 3))
    rows, columns = image.shape[:2]
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
            x = min(max((j + 0.5) * columns / width - 0.5, 0), columns - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
            top = image[y0, x0] * (1 - x + x0) + image[y0, x1] * (x - x0)
            low = image[y1, x0] * (1 - x + x0) + image[y1, x1] * (x - x0)
            out[i, j] = top * (1 - y + y0) + low * (y - y0)
    return out


def test_the_patch_covers_the_box_and_nothing_else() -> None:
    frame = resized(drawn(2, 30), 160, 120)
    before = frame.copy()
    patch = np.random.default_rng(3).uniform(0, 1, (3, 96, 96)).astype(np.float32)
    out = paste.pasted(frame, box(20, 10, 90, 110), patch)
    np.testing.assert_array_equal(frame, before)
    outside = np.ones(frame.shape[:2], bool)
    outside[10:110, 20:90] = False
    np.testing.assert_array_equal(out[outside], before[outside])
    expected = naive_resize(np.floor(patch.transpose(1, 2, 0) * 255), 70, 100)
    assert np.abs(out[10:110, 20:90] - expected).max() <= 1


def test_patches_are_truncated() -> None:
    patch = np.full((3, 96, 96), 0.9999, np.float32)
    assert (paste.pasted(np.zeros((96, 96, 3), np.uint8), box(0, 0, 96, 96), patch) == 254).all()


def test_the_face_is_the_box_at_96_pixels() -> None:
    frame = resized(drawn(4, 20), 200, 150)
    face = paste.face_of(frame, box(50, 20, 146, 116))
    np.testing.assert_array_equal(face, frame[20:116, 50:146])
    small = paste.face_of(frame, box(50, 20, 98, 68))
    assert np.abs(small - naive_resize(frame[20:68, 50:98].astype(float), 96, 96)).max() <= 1


def test_frames_are_shrunk_turned_and_cut_in_this_order() -> None:
    frame = np.zeros((100, 60, 3), np.uint8)
    frame[:50, :, 0] = 200
    out = Framing(2, True, Crop(0, -1, 5, 45))(frame)
    assert out.shape == (30, 40, 3)
    assert (out[:, 25:, 0] == 200).all() and (out[:, :15, 0] == 0).all()  # the upper half lies on the right
    assert Framing(shorter_side=30)(frame).shape == (50, 30, 3)
    for bad in (Framing(crop=Crop(50, 20, 0, -1)), Framing(resize_factor=100)):
        with pytest.raises(UsageError, match="leaves nothing"):
            bad(frame)
    with pytest.raises(UsageError, match="resize_factor = 0"):
        Framing(0)


def test_a_picture_is_what_it_holds_not_what_it_is_called(tmp_path: Path) -> None:
    from lipscore.media.write import write_video

    image, video = tmp_path / "image.mp4", tmp_path / "video.jpg"
    image.write_bytes(cv2.imencode(".png", drawn(5))[1].tobytes())
    write_video(tmp_path / "v.mp4", [drawn(k) for k in range(4)], 30)
    (tmp_path / "v.mp4").rename(video)
    still, moving = open_picture(image), open_picture(video)
    assert still.still and still.fps == 25 and not moving.still and moving.fps == 30
    np.testing.assert_array_equal(next(still.raw(1)), drawn(5))
    assert len(list(moving.raw(10))) == 4 and len(list(moving.raw(3))) == 3
    assert open_picture(image, 30).fps == 30
    with pytest.raises(UsageError, match=r"fps = 30: only for a still image; .*video\.jpg is a video of 30 fps"):
        open_picture(video, 30)
    with pytest.raises(UsageError, match="fps = -1"):
        open_picture(image, -1)
    with pytest.raises(MediaError, match=r"nowhere\.mp4"):
        open_picture(tmp_path / "nowhere.mp4")
    (tmp_path / "half.png").write_bytes(image.read_bytes()[:60])
    with pytest.raises(MediaError, match=r"half\.png: the image cannot be decoded"):
        open_picture(tmp_path / "half.png")
    (tmp_path / "text.mp4").write_text("no video")
    assert not is_image(tmp_path / "text.mp4")
    with pytest.raises(MediaError, match=r"text\.mp4"):
        open_picture(tmp_path / "text.mp4")


def test_appearance_does_not_depend_on_the_size_of_the_box() -> None:
    face, other = resized(drawn(6, 6), 200, 240), resized(drawn(7, 6) // 3, 200, 240)
    for width, height in ((50, 60), (200, 240), (500, 600)):
        assert person.Appearance(face).distance(resized(face, width, height)) < 0.2
        assert person.Appearance(face).distance(resized(other, width, height)) > person.LIMIT
    # the fork's does: the same two, small, are within its limit
    tiny = [resized(image, 50, 60) for image in (face, other)]
    assert person.fork_distance(tiny[0], tiny[1]) <= person.FORK_LIMIT < person.fork_distance(face, other)


def test_of_several_faces_the_persons_own_is_taken() -> None:
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[:, :100] = (40, 80, 200)
    frame[:, 100:] = (200, 60, 30)
    left, right = box(10, 10, 80, 90), box(110, 10, 190, 90)
    boxes, same = person.recognise([frame] * 4, [[left], [right, left], [right], []], "appearance")
    assert [None if b is None else b.tolist() for b in boxes] == [left.tolist(), left.tolist(), right.tolist(), None]
    assert same == [True, True, False, False]
    assert person.recognise([frame] * 2, [[left], [right]], "off")[1] == [True, True]
    assert person.recognise([frame] * 2, [[left], [right]], "fork")[1] == [True, False]


def test_the_kits_histograms(wav2lip_kit: Path, shared: Path) -> None:
    from lipscore.media.read import frames_at

    unit = json.loads((wav2lip_kit / "golden.json").read_text())["units"]["similar"]
    frames = dict(zip(range(41), frames_at(shared / "clips" / unit["clip"], None), strict=False))

    def cut(of: dict[str, Any]) -> Frame:
        x1, y1, x2, y2 = of["box"]
        return frames[of["frame"]][y1:y2, x1:x2]

    for other in unit["others"]:
        distance = person.fork_distance(cut(unit["reference"]), cut(other))
        assert distance == pytest.approx(other["distance"], abs=1e-3)
        assert (distance <= person.FORK_LIMIT) == other["similar"]


@given(st.integers(1, 60), st.integers(0, 120))
def test_stretching_repeats_frames_in_order(have: int, more: int) -> None:
    order = stretched(have, have + more)
    assert len(order) == have + more
    assert order == sorted(order) and set(order) <= set(range(have))
    if more == 0:
        assert order == list(range(have))
