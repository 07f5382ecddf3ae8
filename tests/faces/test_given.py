"""Boxes from files: the kit's own, and files that are wrong in every way that people get them wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lipscore.errors import MediaError, MissingError
from lipscore.faces.given import GivenBoxes

BLANK = np.zeros((1080, 1920, 3), np.uint8)  # of a frame, only the size counts


def test_the_kits_boxes_come_back_in_order(shared: Path) -> None:
    folder = shared / "conformance" / "detections" / "avi"
    detector = GivenBoxes(folder).for_video(Path("videos/4_man_shaking_hands_basketball.mp4"))
    expected = json.loads((folder / "4_man_shaking_hands_basketball.json").read_text())
    indices = list(range(len(expected)))
    found = detector([BLANK] * len(indices), indices)
    assert [len(boxes) for boxes in found] == [len(rows) for rows in expected]
    assert max(map(len, found)) > 1
    for i, (boxes, rows) in enumerate(zip(found, expected, strict=True)):
        assert all(box.frame == i for box in boxes)
        for box, row in zip(boxes, rows, strict=True):
            np.testing.assert_allclose([*box.box_xyxy, box.score], row, rtol=1e-6)
    assert detector([BLANK], [3]) == [found[3]]
    assert detector.stride == 1


def test_five_points_may_follow_the_score(tmp_path: Path) -> None:
    points = [30.5, 40, 70, 41, 50, 60, 35, 80, 66, 81.25]
    row = [0, 0, 100, 120, 0.5]
    (tmp_path / "a.json").write_text(json.dumps([[[*row, *points], row]]))
    with_points, without = GivenBoxes(tmp_path).for_video(Path("a.mp4"))([BLANK], [0])[0]
    assert with_points.points is not None and without.points is None
    np.testing.assert_array_equal(with_points.points, np.reshape(points, (5, 2)))
    np.testing.assert_array_equal(with_points.box_xyxy, without.box_xyxy)


def test_a_stem_with_dots_and_spaces(tmp_path: Path) -> None:
    (tmp_path / "a b.v2.json").write_text("[[[0, 0, 10, 10, 0.5]], []]")
    found = GivenBoxes(tmp_path).for_video(Path("a b.v2.mp4"))([BLANK] * 2, [0, 1])
    assert [len(boxes) for boxes in found] == [1, 0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ('{"0": []}', "an object where a list per frame"),
        ("[[], 7]", "frame 1: 7 where a list of rows"),
        ("[[], [[0, 0, 10, 10]]]", "frame 1, row 0"),
        ("[[[0, 0, 10, 10, 1], [0, 0, 10, 10, 1, 2]]]", "frame 0, row 1"),
        ('[[[0, 0, 10, "10", 1]]]', "frame 0, row 0"),
        (json.dumps([[[0, 0, 10, 10, 1, *range(9)]]]), "with or without five points"),
        (json.dumps([[[0, 0, 10, 10, 1, *range(9), None]]]), "frame 0, row 0"),
        ("[[[0, 0, 10, true, 1]]]", "frame 0, row 0"),
        ("[[[0, 0, NaN, 10, 1]]]", "frame 0, row 0"),
        ("[[[0, 0, null, 10, 1]]]", "frame 0, row 0"),
        ("[[5]]", "frame 0, row 0"),
        ("[[[10, 0, 0, 10, 1]]]", "no area"),
    ],
)
def test_malformed_files_are_named_with_the_place(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = tmp_path / "clip.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(MediaError) as caught:
        GivenBoxes(tmp_path).for_video(Path("clip.mp4"))
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_missing_folders_and_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="detections = "):
        GivenBoxes(tmp_path / "nowhere")
    with pytest.raises(MediaError, match=r"clip\.json: no such file"):
        GivenBoxes(tmp_path).for_video(Path("clip.mp4"))
    (tmp_path / "clip.json").mkdir()
    with pytest.raises(MediaError, match="is not a regular file"):
        GivenBoxes(tmp_path).for_video(Path("clip.mp4"))


def test_fewer_lists_than_frames_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "clip.json").write_text("[[], []]")
    with pytest.raises(MediaError, match="boxes for 2 frames"):
        GivenBoxes(tmp_path).for_video(Path("clip.mp4"))([BLANK], [2])


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([1920, 0, 2000, 80], "lies outside the frame of 1920x1080"),
        ([0, -80, 80, 0], "lies outside the frame of 1920x1080"),
        ([-10000, -10000, 10000, 10000], "4 times as large as the frame"),
    ],
)
def test_boxes_of_another_video_are_named(tmp_path: Path, box: list[float], said: str) -> None:
    (tmp_path / "clip.json").write_text(json.dumps([[], [[1900, 1000, 2000, 1100, 1.0], [*box, 1.0]]]))
    detector = GivenBoxes(tmp_path).for_video(Path("clip.mp4"))
    assert detector([BLANK], [0]) == [[]]
    with pytest.raises(MediaError, match=f"frame 1: .*{said}"):
        detector([BLANK], [1])


@pytest.mark.parametrize("content", ["[[[0, 0, 1" + "0" * 400 + ", 10, 0.5]]]", "[" * 100_000])
def test_json_that_is_no_box_is_a_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "clip.json").write_text(content)
    with pytest.raises(MediaError, match=r"clip\.json"):
        GivenBoxes(tmp_path).for_video(Path("clip.mp4"))


def test_a_file_of_boxes_is_for_one_video(tmp_path: Path) -> None:
    boxes = tmp_path / "faces.json"
    boxes.write_text("[[[1, 2, 30, 40, 0.9]]]")
    given = GivenBoxes(boxes)
    for video in (Path("a/talk.mp4"), Path("b/talk.mp4")):
        assert len(given.for_video(video).boxes) == 1
    with pytest.raises(MediaError, match=r"for one video; give a folder with other\.json"):
        given.for_video(Path("other.mp4"))
