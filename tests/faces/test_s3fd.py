"""S3FD against what the original made of the kit's weights, and its parts against naive versions of themselves."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lipscore import load_models
from lipscore.errors import WeightsError
from lipscore.faces.s3fd import detector as s3fd
from lipscore.faces.s3fd.detector import S3fdDetector
from lipscore.syncnet.protocols import PROTOCOLS, change
from lipscore.types import Detection


@pytest.fixture(scope="module")
def state(kit_weights: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = torch.load(kit_weights / "sfd_face.pth", weights_only=True)
    return tensors


@pytest.fixture(scope="module")
def detector(state: dict[str, torch.Tensor]) -> S3fdDetector:
    return S3fdDetector(state)


def frames_and_golden(shared: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    folder = shared / "conformance"
    cases = json.loads((folder / "s3fd_golden.json").read_text())["cases"]
    return [
        (
            np.asarray(cv2.imread(str(folder / "frames" / case["frame"]))),
            np.array(case["boxes_conf_above_0_9"]).reshape(-1, 5),
        )
        for case in cases
    ]


def rows(detections: list[Detection]) -> np.ndarray:
    return np.array([[*d.box_xyxy, d.score] for d in detections]).reshape(-1, 5)


def test_half_precision_finds_the_same_faces(
    shared: Path, state: dict[str, torch.Tensor], detector: S3fdDetector
) -> None:
    rough = S3fdDetector(state, dtype=torch.bfloat16)
    frames = [frame for frame, _ in frames_and_golden(shared)]
    for exact, halved in zip(detector(frames, range(len(frames))), rough(frames, range(len(frames))), strict=True):
        sure = rows(exact)[rows(exact)[:, 4] > 0.92, :4]
        gaps = np.abs(sure[:, None] - rows(halved)[None, :, :4]).max(axis=2).min(axis=1)
        # pixels; the kit's boxes crowd, so that one that another now suppresses does happen
        assert len(sure) and np.mean(gaps < 1.0) > 0.8


def test_boxes_are_the_originals(shared: Path, detector: S3fdDetector) -> None:
    frames, golden = zip(*frames_and_golden(shared), strict=True)
    found = detector(frames, range(7, 7 + len(frames)))
    for number, (ours, expected) in enumerate(zip(found, golden, strict=True)):
        assert len(ours) == len(expected)
        assert {d.frame for d in ours} <= {7 + number}
        assert np.abs(rows(ours)[:, :4] - expected[:, :4]).max() < 0.05
        assert np.abs(rows(ours)[:, 4] - expected[:, 4]).max() < 1e-4


def test_batches_and_sizes_do_not_change_a_frames_boxes(shared: Path, detector: S3fdDetector) -> None:
    (wide, _), *_, (odd, _) = frames_and_golden(shared)
    alone = detector([odd], [0])[0]
    mixed = detector([odd, odd, wide, odd], [0, 1, 2, 3])
    for index in (0, 1, 3):
        assert all(d.frame == index for d in mixed[index])
        np.testing.assert_allclose(rows(mixed[index]), rows(alone), atol=1e-3)
    assert detector([], []) == []


def test_no_crash_when_all_boxes_pass(state: dict[str, torch.Tensor]) -> None:
    """Every cell a face: more than 750 boxes above the threshold, where the original raises an IndexError."""
    certain = dict(state)
    for k in range(6):
        certain[f"conf.{k}.weight"] = torch.zeros_like(state[f"conf.{k}.weight"])
        certain[f"conf.{k}.bias"] = torch.tensor([-6.0, -6, -6, 6] if k == 0 else [-6.0, 6])
        certain[f"loc.{k}.weight"] = torch.zeros_like(state[f"loc.{k}.weight"])
        certain[f"loc.{k}.bias"] = torch.zeros(4)
    found = S3fdDetector(certain)([np.zeros((1080, 1920, 3), np.uint8)], [0])[0]
    assert 100 < len(found) <= s3fd.INNER_BOXES


@pytest.mark.parametrize(("channel", "colour", "mean"), [(2, "red", 123), (1, "green", 117), (0, "blue", 104)])
def test_the_network_is_given_rgb_less_its_mean(random_weights: Path, channel: int, colour: str, mean: int) -> None:
    """A network made by hand, that sees a face wherever one of its three inputs is more than 0, on BGR frames."""
    state = {name: torch.zeros_like(t) for name, t in torch.load(random_weights / "sfd_face.pth").items()}
    convolutions = [name for name in state if name.startswith("vgg.") and name.endswith("weight")]
    for name in convolutions:
        centre = state[name].shape[-1] // 2
        state[name][0, ("red", "green", "blue").index(colour) if name == "vgg.0.weight" else 0, centre, centre] = 1
    for k in range(6):
        state[f"conf.{k}.bias"][:] = 50
        state[f"conf.{k}.bias"][-1] = -50
    state["conf.3.weight"][1, 0, 1, 1] = 100  # of the last map of the VGG part, which is not normalised
    detector = S3fdDetector(state, facedet_scale=1)
    for level, others, faces in ((mean + 2, 0, True), (mean - 2, 255, False)):
        frame = np.full((64, 64, 3), others, np.uint8)
        frame[:, :, channel] = level
        assert bool(detector([frame], [0])[0]) == faces, (colour, level)


def test_the_protocols_face_confidence_reaches_the_detector(random_weights: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)

    def scores(limit: float) -> list[float]:
        protocol = change(PROTOCOLS["wav2lip"], {"face_confidence": limit, "facedet_scale": 0.5})
        models = load_models("vgg", protocol, weights_dir=random_weights, allow_unverified=True, device="cpu")
        return [found.score for found in models.detector_for(Path("any.mp4"))([frame], [0])[0]]

    every = scores(0.1)
    middle = every[len(every) // 2]
    assert 0.1 < every[-1] < middle < every[0] < 0.9
    assert scores(middle) == [score for score in every if score > middle]


def test_weights_that_are_not_s3fds_are_refused(state: dict[str, torch.Tensor]) -> None:
    missing = {name: tensor for name, tensor in state.items() if name != "vgg.0.bias"}
    for bad in (missing, state | {"more": torch.zeros(1)}, state | {"vgg.0.bias": torch.zeros(3)}):
        with pytest.raises(WeightsError, match="not the weights of S3FD"):
            S3fdDetector(bad)


def test_priors_cell_by_cell() -> None:
    height, width = 61, 47
    maps = [(16, 12), (8, 6), (4, 3), (2, 2), (1, 1), (1, 1)]
    naive = [
        ((j + 0.5) * step / width, (i + 0.5) * step / height, size / width, size / height)
        for (n_rows, n_columns), step, size in zip(
            maps, (4, 8, 16, 32, 64, 128), (16, 32, 64, 128, 256, 512), strict=True
        )
        for i in range(n_rows)
        for j in range(n_columns)
    ]
    np.testing.assert_allclose(s3fd.priors(height, width, maps).numpy(), np.array(naive), rtol=1e-6)


def test_decode_one_by_one() -> None:
    prior = torch.tensor([[0.5, 0.25, 0.2, 0.1], [0.1, 0.1, 0.4, 0.4]])
    offsets = torch.tensor([[1.0, -2.0, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0]])
    w, h = 0.2 * np.exp(0.1), 0.1 * np.exp(-0.1)
    x, y = 0.5 + 0.1 * 0.2, 0.25 - 0.2 * 0.1
    expected = [[x - w / 2, y - h / 2, x + w / 2, y + h / 2], [-0.1, -0.1, 0.3, 0.3]]
    np.testing.assert_allclose(s3fd.decode(offsets, prior).numpy(), expected, rtol=1e-5)


def greedy(boxes: np.ndarray, threshold: float, limit: int) -> list[int]:
    """Non-maximum suppression as its definition reads: one box at a time against those kept."""
    kept: list[int] = []
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        clear = True
        for u1, v1, u2, v2 in boxes[kept]:
            overlap = max(min(x2, u2) - max(x1, u1), 0.0) * max(min(y2, v2) - max(y1, v1), 0.0)
            union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - overlap
            clear &= union != 0 and bool(overlap / union <= threshold)
        if clear:
            kept.append(i)
    return kept[:limit]


@given(
    arrays(np.int64, st.tuples(st.integers(0, 40), st.just(4)), elements=st.integers(0, 12)),
    st.sampled_from([0.1, 0.3]),
    st.integers(1, 45),
    st.integers(1, 9),
)
def test_suppression_is_greedy_whatever_the_block(
    corners: np.ndarray, threshold: float, limit: int, block: int
) -> None:
    boxes = np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:]]).astype(np.float64)
    assert s3fd.suppress(boxes, threshold, limit, block).tolist() == greedy(boxes, threshold, limit)


def test_equal_scores_come_in_the_originals_order() -> None:
    """The original sorts upwards and walks from the end, twice: of equal scores the last comes first, then again."""
    boxes = torch.tensor([[0.0, 0, 0.1, 0.1], [0.2, 0, 0.3, 0.1], [0.4, 0, 0.5, 0.1], [0.6, 0, 0.7, 0.1]])
    scores = torch.tensor([0.95, 0.95, 0.99, 0.95])
    found = s3fd.select(boxes, scores, torch.tensor([10.0, 10, 10, 10]))
    np.testing.assert_allclose(found[:, 0], [4, 0, 2, 6], rtol=1e-6)


def test_only_scores_above_the_threshold_are_faces() -> None:
    boxes = torch.tensor([[0.0, 0, 0.1, 0.1], [0.2, 0, 0.3, 0.1]])
    scores = torch.tensor([s3fd.FACE, 0.9001])
    assert len(s3fd.select(boxes, scores, torch.ones(4))) == 1
    assert len(s3fd.select(boxes, scores, torch.ones(4), face_confidence=0.8)) == 2
    assert s3fd.select(boxes[:0], scores[:0], torch.ones(4)).shape == (0, 5)


def test_strips_are_the_whole_image() -> None:
    torch.manual_seed(0)
    vgg = s3fd.S3FDNet().vgg
    sizes = (122, 67), (121, 3000), (2, 5), (301, 1500)
    for layers, (height, width) in product((vgg[: s3fd.HALVED], vgg[s3fd.HALVED : s3fd.STEM]), sizes):
        x = torch.randn(1, cast(torch.nn.Conv2d, layers[0]).in_channels, height, width).contiguous(
            memory_format=torch.channels_last
        )
        with torch.inference_mode():
            torch.testing.assert_close(s3fd._in_strips(x, layers), s3fd._through(x, layers), rtol=1e-5, atol=1e-5)
