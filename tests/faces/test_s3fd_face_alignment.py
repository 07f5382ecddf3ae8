"""S3FD as face_alignment runs it: the kit's boxes and maps, and that it is not the published scores' S3FD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from lipscore.errors import WeightsError
from lipscore.faces.s3fd.detector import S3fdDetector, suppress
from lipscore.faces.s3fd.face_alignment import MODULES, FaceAlignmentS3fd, renamed


@pytest.fixture(scope="module")
def detector(wav2lip_weights: Path) -> FaceAlignmentS3fd:
    return FaceAlignmentS3fd(torch.load(wav2lip_weights / "s3fd.pth", weights_only=True), batch_size=2)


def pair_of(shared: Path, name: str, size: list[int]) -> list[np.ndarray]:
    image = cv2.resize(np.asarray(cv2.imread(str(shared / "conformance" / "frames" / name))), tuple(size))
    return [image, np.ascontiguousarray(image[:, ::-1])]


def test_the_names_map_one_to_one(wav2lip_kit: Path) -> None:
    for line in (wav2lip_kit / "s3fd_shapes.txt").read_text().splitlines():
        theirs, ours, _ = line.split(" ")
        module, _, leaf = theirs.rpartition(".")
        assert f"{MODULES[module]}.{leaf}" == ours
    with pytest.raises(WeightsError, match=r"vgg\.0\.weight"):
        renamed({"vgg.0.weight": torch.zeros(1)})


@pytest.mark.parametrize("name", ["tall.jpg", "wide.jpg", "odd.png"])
def test_the_kits_boxes_and_maps(
    wav2lip_kit: Path, shared: Path, detector: FaceAlignmentS3fd, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden: dict[str, Any] = json.loads((wav2lip_kit / "golden.json").read_text())["s3fd"][name]
    heads: list[np.ndarray] = []
    whole = detector.network._heads

    def kept(level: int, source: torch.Tensor) -> torch.Tensor:
        out = whole(level, source)
        heads.append(out[0].numpy())
        return out

    monkeypatch.setattr(detector.network, "_heads", kept)
    found = detector(pair_of(shared, name, golden["size"]), [0, 1])
    for faces, n, top, api in zip(found, golden["n"], golden["top"], golden["api"], strict=True):
        assert abs(len(faces) - n) <= 1
        rows = np.array([[*face.box_xyxy, face.score] for face in faces[:5]])
        np.testing.assert_allclose(rows, top, atol=2e-3)
        assert np.maximum(faces[0].box_xyxy, 0).astype(int).tolist() == api
    maps = []
    for head in heads:
        maps += [np.stack([head[..., 4:-1].max(-1), head[..., -1]]), head[..., :4]]
    for array, (shape, mean, std) in zip(maps, golden["maps"], strict=True):
        assert array.size == np.prod(shape)
        assert array.mean() == pytest.approx(mean, abs=1e-4, rel=1e-3)
        assert array.std(ddof=1) == pytest.approx(std, abs=1e-4, rel=1e-3)


def test_the_other_network_gives_other_boxes(wav2lip_weights: Path, shared: Path, detector: FaceAlignmentS3fd) -> None:
    state = renamed(torch.load(wav2lip_weights / "s3fd.pth", weights_only=True))
    other = S3fdDetector(state, facedet_scale=1.0, face_confidence=0.5)
    frames = pair_of(shared, "tall.jpg", [132, 244])[:1]
    here, there = detector(frames, [0])[0], other(frames, [0])[0]
    assert len(here) != len(there) or np.abs(here[0].box_xyxy - there[0].box_xyxy).max() > 1


def test_areas_count_the_last_pixel() -> None:
    # 10 x 10 px each, 5 columns shared: 5 * 10 of 150 by differences, 6 * 11 of 176 with the last pixel
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float64)
    assert suppress(boxes, 0.35, 9).tolist() == [0, 1]
    assert suppress(boxes, 0.35, 9, pixel=1.0).tolist() == [0]
