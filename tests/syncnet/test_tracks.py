"""The tracker against what three original trackers made of 82 lists of boxes, a naive oracle, and its own laws."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lipscore.faces.boxes import iou, paired_iou
from lipscore.syncnet.protocols import PROTOCOLS, Protocol
from lipscore.syncnet.tracks import find_tracks
from lipscore.types import Detection, Shot


def detections(boxes: Sequence[Sequence[Sequence[float]]]) -> list[list[Detection]]:
    return [
        [Detection(k, np.array(box[:4], np.float64), box[4] if len(box) > 4 else 1.0) for box in frame]
        for k, frame in enumerate(boxes)
    ]


@pytest.fixture(scope="module")
def cases(shared: Path) -> Any:
    return json.loads(gzip.decompress((shared / "conformance/tracker_cases.json.gz").read_bytes()))


def moving(frames: range, x: float, size: float = 120, step: float = 1.0) -> dict[int, list[float]]:
    return {k: [x + step * k, 50, x + step * k + size, 50 + size, 1.0] for k in frames}


def one_shot(*faces: dict[int, list[float]], n: int = 200) -> tuple[list[list[Detection]], list[Shot]]:
    return detections([[face[k] for face in faces if k in face] for k in range(n)]), [Shot(0, n)]


def test_a_gap_is_filled_in_a_straight_line() -> None:
    face = moving(range(150), 10, step=1.5)
    holes = {k: box for k, box in face.items() if not 60 <= k < 80}
    tracking = find_tracks(*one_shot(holes), PROTOCOLS["wav2lip"])
    (track,) = tracking.tracks
    assert (track.first_frame, track.last_frame) == (0, 149)
    assert np.allclose(track.boxes_xyxy, [face[k][:4] for k in range(150)], atol=1e-4)


@pytest.mark.parametrize("name", ["wav2lip", "joonson", "mochabench", "latentsync", "lipscore-1"])
def test_a_gap_of_more_than_25_frames_ends_a_track(name: str) -> None:
    face = moving(range(300), 10, step=0)
    holes = {k: box for k, box in face.items() if not 150 <= k < 175}
    assert len(find_tracks(*one_shot(holes, n=300), PROTOCOLS[name]).tracks) == 2
    holes = {k: box for k, box in face.items() if not 150 <= k < 174}
    assert len(find_tracks(*one_shot(holes, n=300), PROTOCOLS[name]).tracks) == 1


def test_min_track_counts_detections_and_face_size_is_strict() -> None:
    protocol = PROTOCOLS["wav2lip"]
    assert not find_tracks(*one_shot(moving(range(100), 10)), protocol).tracks
    assert find_tracks(*one_shot(moving(range(101), 10)), protocol).tracks
    every_second = {k: box for k, box in moving(range(190), 10).items() if k % 2}
    turned_down = find_tracks(*one_shot(every_second), protocol)
    assert not turned_down.tracks
    assert turned_down.longest == 95
    small = find_tracks(*one_shot(moving(range(150), 10, size=100)), protocol)
    assert not small.tracks
    assert small.largest_px == pytest.approx(100)
    assert find_tracks(*one_shot(moving(range(150), 10, size=100)), replace(protocol, min_face_size=99)).tracks


@pytest.mark.parametrize(
    ("width", "height", "large"), [(101, 60, True), (60, 101, True), (100, 100, False), (99, 60, False)]
)
def test_a_faces_size_is_the_larger_of_its_sides(width: int, height: int, large: bool) -> None:
    boxes = detections([[[10, 50, 10 + width, 50 + height, 1.0]] for _ in range(150)])
    tracking = find_tracks(boxes, [Shot(0, 150)], PROTOCOLS["wav2lip"])
    assert bool(tracking.tracks) == large
    assert tracking.largest_px == pytest.approx(max(width, height))


Box = tuple[int, int, int, int]


def cells(box: Box) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


def overlap(one: Box, other: Box, epsilon: float) -> float:
    """Intersection over union by counting cells."""
    return len(cells(one) & cells(other)) / (len(cells(one) | cells(other)) + epsilon)


def naive_chain(left: list[list[tuple[int, Box]]], protocol: Protocol) -> list[tuple[int, Box]]:
    """One walk over the frames, as (frame, box); what it takes is gone from `left`, whose boxes are numbered.

    Python's own iterator over a list counts places: after a box was taken out, it never comes to the one that moved
    into its place.
    """
    chain: list[tuple[int, Box]] = []

    def wanted(frame: int, box: Box) -> bool:
        return not chain or overlap(box, chain[-1][1], protocol.iou_epsilon) > protocol.track_iou

    for frame, boxes in enumerate(left):
        if chain and frame > chain[-1][0] + protocol.max_gap:
            break
        for item in boxes:
            if wanted(frame, item[1]):
                boxes.remove(item)
                chain.append((frame, item[1]))
            elif protocol.low_iou == "next_frame":
                break
    return chain


CORNER, SIDE = st.integers(0, 3), st.integers(4, 6)
BOX = st.tuples(CORNER, CORNER, SIDE, SIDE).map(lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]))
TWICE = [(0, 0, 4, 4), (0, 0, 4, 5)]
ELSEWHERE = (20, 20, 24, 24)


@pytest.mark.parametrize("name", ["wav2lip", "mochabench"])
@given(frames=st.lists(st.lists(BOX, max_size=4), max_size=9))
@example(frames=[TWICE] * 4)  # both overlap the last box: the second of a frame is stepped over
@example(frames=[TWICE[:1], *[[ELSEWHERE, *TWICE]] * 4])  # the first of a frame lies elsewhere
@example(frames=[TWICE, [], [], [], TWICE, TWICE])
def test_the_linking_is_that_of_a_list_walked_while_boxes_are_taken_out(name: str, frames: list[list[Box]]) -> None:
    protocol = replace(PROTOCOLS[name], min_track=1, min_face_size=0, max_gap=2)
    found = find_tracks(
        detections([[list(box) for box in boxes] for boxes in frames]), [Shot(0, len(frames))], protocol
    )
    left = [list(enumerate(boxes)) for boxes in frames]
    chains = []
    while any(left):
        chains.append(naive_chain(left, protocol))
    want = [chain for chain in chains if len(chain) > 1]
    assert found.longest == max((len(chain) for chain in chains), default=0)
    assert [(t.first_frame, t.last_frame) for t in found.tracks] == [(c[0][0], c[-1][0]) for c in want]
    for track, chain in zip(found.tracks, want, strict=True):
        for frame, box in dict(chain).items():  # of two in one frame, the later
            assert tuple(track.boxes_xyxy[frame - track.first_frame]) == box


def test_a_short_shot_is_not_looked_at() -> None:
    boxes, _ = one_shot(moving(range(200), 10))
    shots = [Shot(0, 99), Shot(99, 200)]
    (track,) = find_tracks(boxes, shots, PROTOCOLS["wav2lip"]).tracks
    assert (track.first_frame, track.last_frame, track.shot) == (99, 199, shots[1])


@pytest.mark.parametrize("name", ["wav2lip", "mochabench", "latentsync"])
def test_original_trackers(cases: Any, name: str) -> None:
    assert len(cases) == 82
    for case in cases:
        boxes = case["frames"]
        got = find_tracks(detections(boxes), [Shot(0, len(boxes))], PROTOCOLS[name]).tracks
        want = case["tracks"][name]
        assert [(t.first_frame, t.last_frame) for t in got] == [(t["first"], t["last"]) for t in want]
        for track, golden in zip(got, want, strict=True):
            assert track.boxes_xyxy.sum(axis=0) == pytest.approx(golden["box_sum"], abs=1e-2)
            assert track.boxes_xyxy[len(track.boxes_xyxy) // 2] == pytest.approx(golden["mid"], abs=1e-3)


def iou_as_the_original(a: list[float], b: list[float], epsilon: float) -> float:
    """In plain floats, in the order of operations of the published scripts."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height + epsilon
    return width * height / union if union else 0.0


@given(st.lists(st.floats(0, 1000, width=32), min_size=8, max_size=8), st.sampled_from([0.0, 1e-8]))
def test_iou_is_the_scalar_one_to_the_last_bit(values: list[float], epsilon: float) -> None:
    a, b = (np.array([v[0], v[1], v[0] + v[2], v[1] + v[3]], np.float32) for v in (values[:4], values[4:]))
    want = iou_as_the_original([float(x) for x in a], [float(x) for x in b], epsilon)
    assert float(paired_iou(a, b, epsilon)) == want
    assert iou(np.stack([b, a]), a[None])[0, 0] == iou_as_the_original([float(x) for x in b], [float(x) for x in a], 0)


@given(st.lists(st.floats(0, 1000, width=32), min_size=8, max_size=8))
def test_iou_is_symmetric_and_between_0_and_1(values: list[float]) -> None:
    a, b = (np.array([v[0], v[1], v[0] + v[2], v[1] + v[3]]) for v in (values[:4], values[4:]))
    assert paired_iou(a, b) == pytest.approx(paired_iou(b, a))
    assert 0 <= paired_iou(a, b) <= 1 + 1e-9
