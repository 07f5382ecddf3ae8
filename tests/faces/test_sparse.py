"""Boxes between samples: the laws that linear interpolation within a shot must keep."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lipscore.faces.boxes import STEADY, bridge, densify, iou, link, sample_indices, steady, without_weak
from lipscore.types import Detection, Shot


def face(frame: int, x: float, y: float = 0, side: float = 100, score: float = 1.0) -> Detection:
    return Detection(frame, np.array([x, y, x + side, y + side], np.float32), score)


link([face(0, 0)], [face(1, 0)])  # imports what it needs, before the clock of a property's first example runs


@st.composite
def shot_lists(draw: st.DrawFn) -> list[Shot]:
    cuts = sorted(draw(st.sets(st.integers(1, 80), max_size=5)))
    bounds = [0, *cuts, draw(st.integers(81, 100))]
    return [Shot(a, b) for a, b in pairwise(bounds)]


@given(shot_lists(), st.integers(1, 30))
def test_samples_cover_each_shot_to_its_ends(shots: list[Shot], stride: int) -> None:
    chosen = sample_indices(shots, stride)
    assert chosen == sorted(set(chosen))
    for shot in shots:
        inside = [i for i in chosen if shot.start <= i < shot.end]
        assert (inside[0], inside[-1]) == (shot.start, shot.end - 1)
        assert all(b - a <= stride for a, b in pairwise(inside))


@given(shot_lists())
def test_stride_one_is_the_identity(shots: list[Shot]) -> None:
    n = shots[-1].end
    assert sample_indices(shots, 1) == list(range(n))
    found = {i: [face(i, 3 * i), face(i, 500 - i)][: i % 3] for i in range(n)}
    assert densify(found, shots, n) == [found[i] for i in range(n)]


@given(shot_lists(), st.integers(1, 12), st.floats(-4, 4), st.floats(-4, 4), st.floats(-1, 1))
def test_linear_motion_is_reproduced(shots: list[Shot], stride: int, vx: float, vy: float, grow: float) -> None:
    n = shots[-1].end

    def truth(i: int) -> list[Detection]:
        return [
            face(i, 500 + vx * i, 500 + vy * i, 400 + grow * i, score=i / n),
            face(i, 2500 - vx * i, 2500 + vy * i, 400 - grow * i, score=1 - i / n),
        ]

    dense = densify({i: truth(i) for i in sample_indices(shots, stride)}, shots, n)
    for i, boxes in enumerate(dense):
        assert [d.frame for d in boxes] == [i, i]
        for ours, expected in zip(boxes, truth(i), strict=True):
            np.testing.assert_allclose(ours.box_xyxy, expected.box_xyxy, atol=2e-3)
            np.testing.assert_allclose(ours.score, expected.score, atol=1e-6)
            assert ours.box_xyxy.dtype == np.float32


def test_nothing_crosses_a_cut() -> None:
    shots = [Shot(0, 10), Shot(10, 20)]
    dense = densify({0: [face(0, 0)], 9: [], 10: [], 19: [face(19, 0)]}, shots, 20)
    assert [i for i, boxes in enumerate(dense) if boxes] == [0, 19]
    whole = densify({0: [face(0, 0)], 19: [face(19, 0)]}, [Shot(0, 20)], 20)
    assert all(len(boxes) == 1 for boxes in whole)


def test_boxes_that_do_not_meet_leave_a_gap() -> None:
    dense = densify({0: [face(0, 0)], 5: [face(5, 80)]}, [Shot(0, 6)], 6)
    assert [len(boxes) for boxes in dense] == [1, 0, 0, 0, 0, 1]


@given(st.integers(1, 20), st.integers(0, 20), st.floats(-2, 2))
def test_a_face_that_is_missed_goes_on(gone: int, longest: int, speed: float) -> None:
    frames = [*range(10), *range(10 + gone, 20 + gone)]
    dense = [[face(i, speed * i)] if i in frames else [] for i in range(20 + gone)]
    found = bridge(dense, [Shot(0, 20 + gone)], longest)
    if gone > longest:
        assert found == dense
        return
    for i, boxes in enumerate(found):
        assert [box.frame for box in boxes] == [i]
        np.testing.assert_allclose(boxes[0].box_xyxy, face(i, speed * i).box_xyxy, atol=1e-3)


def test_no_bridge_to_another_place_across_a_cut_or_beside_a_face_that_stays() -> None:
    apart = [[face(0, 0)], [], [face(2, 300)]]
    assert bridge(apart, [Shot(0, 3)], 9) == apart
    cut = [[face(0, 0)], [], [face(2, 0)]]
    assert bridge(cut, [Shot(0, 1), Shot(1, 3)], 9) == cut
    stays = [[face(i, 0)] for i in range(4)]
    stays[0].append(face(0, 300))
    assert bridge(stays, [Shot(0, 4)], 9) == stays


def test_sizes_that_flip_are_steadied() -> None:
    """What a tracker would lose, since neighbours share less than half of their area, it then keeps."""
    small, large = [face(i, 30, 30, 40) for i in range(40)], [face(i, 0, 0, 100) for i in range(40)]
    dense = [[small[i] if i % 5 == 2 else large[i]] for i in range(40)]
    assert min(iou(a.box_xyxy[None], b.box_xyxy[None])[0, 0] for (a,), (b,) in pairwise(dense)) < 0.5
    calm = steady(dense, [Shot(0, 40)])
    assert all(np.array_equal(box.box_xyxy, large[0].box_xyxy) for (box,) in calm)


@given(st.floats(-4, 4), st.floats(-4, 4), st.floats(-1, 1))
def test_a_face_in_steady_motion_stays_where_it_is(vx: float, vy: float, grow: float) -> None:
    """A median leaves a line as it is, but for half its size at both ends; two faces, each for itself; scores too."""
    dense = [
        [face(i, 500 + vx * i, 500 + vy * i, 200 + grow * i, i / 60), face(i, 2500 - vx * i, 500, 200, 1 - i / 60)]
        for i in range(60)
    ]
    calm = steady(dense, [Shot(0, 60)])
    half = STEADY // 2
    for before, after in zip(dense, calm, strict=True):
        assert [(box.frame, box.score) for box in after] == [(box.frame, box.score) for box in before]
    for before, after in zip(dense[half:-half], calm[half:-half], strict=True):
        for box, ours in zip(before, after, strict=True):
            np.testing.assert_allclose(ours.box_xyxy, box.box_xyxy, atol=1e-3)


def test_nothing_is_steadied_across_a_cut_or_from_another_face() -> None:
    dense = [[face(0, 0)], [face(1, 50)], [], [face(3, 400)], [face(4, 10), face(4, 300)]]
    for shots in ([Shot(i, i + 1) for i in range(5)], [Shot(2, 4), Shot(4, 5)]):
        calm = steady(dense, shots)
        for before, after in zip(dense, calm, strict=True):
            assert [box.box_xyxy.tolist() for box in after] == [box.box_xyxy.tolist() for box in before]


def test_a_face_that_appears_is_not_made_up_before() -> None:
    found = {0: [face(0, 0)], 5: [face(5, 0), face(5, 300)], 10: [face(10, 0), face(10, 300)]}
    assert [len(boxes) for boxes in densify(found, [Shot(0, 11)], 11)] == [1] * 5 + [2] * 6


def test_order_of_the_earlier_sample_is_kept() -> None:
    found = {0: [face(0, 300), face(0, 0)], 4: [face(4, 10), face(4, 310)]}
    assert [d.box_xyxy[0] for d in densify(found, [Shot(0, 5)], 5)[2]] == [305, 5]


def test_each_box_links_once_and_to_the_best() -> None:
    before, after = [face(0, 0), face(0, 20)], [face(5, 12), face(5, 34)]

    def positions(pairs: list[tuple[Detection, Detection]]) -> list[tuple[float, float]]:
        return [(float(a.box_xyxy[0]), float(b.box_xyxy[0])) for a, b in pairs]

    # The nearest pair of all is (20, 12): taking it first would leave 0 to 34
    assert positions(link(before, after)) == [(0, 12), (20, 34)]
    assert positions(link(before, after[:1])) == [(20, 12)]


def test_a_video_that_ends_early_has_no_frames_beyond() -> None:
    assert len(densify({0: [face(0, 0)], 3: [face(3, 0)]}, [Shot(0, 10)], 4)) == 4


def test_iou_by_counting_pixels() -> None:
    rng = np.random.default_rng(5)
    corners = rng.integers(0, 20, (12, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 20, (12, 2))]).astype(np.float32)
    masks = np.zeros((12, 40, 40), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    a, b = masks[:, None], masks[None]
    np.testing.assert_allclose(iou(boxes, boxes), (a & b).sum((2, 3)) / (a | b).sum((2, 3)))
    assert iou(np.zeros((1, 4)), np.zeros((1, 4)))[0, 0] == 0


def test_a_weak_face_goes_where_a_clear_one_is_in_the_same_shot() -> None:
    shots = [Shot(0, 3), Shot(3, 6)]
    clear, weak = ([face(k, x, score=score) for k in range(6)] for x, score in ((0, 0.9), (500, 0.7)))
    flickers = [face(k, 900, score=0.6 + 0.2 * (k % 2 == 0)) for k in range(3)]  # 0.73 on average
    dense = [[clear[k], weak[k], flickers[k]] for k in range(3)] + [[weak[k]] for k in range(3, 6)]
    kept = without_weak(dense, shots, 0.75, 0.85)
    assert kept == [[clear[0]], [clear[1]], [clear[2]], [weak[3]], [weak[4]], [weak[5]]]
    assert without_weak(dense, shots, 0.72, 0.85)[1] == [clear[1], flickers[1]]
    assert without_weak(dense, shots, 0.75, 0.95) == dense
