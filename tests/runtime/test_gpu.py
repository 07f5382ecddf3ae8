"""On a GPU: the published numbers, half precision, memory that runs out, a device that dies.

Skips where none answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from lipscore import load_models, score_video
from lipscore.faces.s3fd.detector import S3fdDetector
from lipscore.metrics.image.measure import Images
from lipscore.metrics.image.variants import psnr_of, ssim_of
from lipscore.runtime import pick_device
from lipscore.syncnet.models.v2 import SyncNetEmbedder
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import Detection, Frame

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no GPU answers here (torch.cuda.is_available() is False)"
    ),
]
GPU = torch.device("cuda")


@pytest.fixture(scope="module")
def s3fd_state(kit_weights: Path) -> dict[str, torch.Tensor]:
    return torch.load(kit_weights / "sfd_face.pth", weights_only=True)  # type: ignore[no-any-return]


def frame_of(shared: Path, name: str) -> Frame:
    frame = cv2.imread(str(shared / "conformance" / "frames" / name))
    assert frame is not None
    return frame.astype(np.uint8)


def rows(detections: list[Detection]) -> np.ndarray:
    return np.array([[*d.box_xyxy, d.score] for d in detections]).reshape(-1, 5)


@pytest.mark.parametrize("protocol", ["wav2lip", "mochabench", "latentsync"])
def test_scores_are_the_originals(
    protocol: str, golden: dict[str, Any], clip_paths: dict[str, Path], shared: Path, kit_weights: Path
) -> None:
    boxes = shared / "conformance/detections" / ("mp4" if protocol == "latentsync" else "avi")
    models = load_models(
        "vgg",
        PROTOCOLS[protocol],
        weights_dir=kit_weights,
        allow_unverified=True,
        detections=boxes,
        device="cuda",
    )
    record = score_video(clip_paths["closeup_doctor"], PROTOCOLS[protocol], models)
    want = golden["closeup_doctor"][protocol]["tracks"]
    assert len(record.tracks) == len(want) > 0
    for track, expected in zip(record.tracks, want, strict=True):
        assert (track.offset, track.n_windows) == (expected["offset"], expected["n_windows"])
        assert np.abs(np.array(track.curve) - expected["curve"]).max() < 1e-3


def test_boxes_are_the_originals(shared: Path, s3fd_state: dict[str, torch.Tensor]) -> None:
    detector = S3fdDetector(dict(s3fd_state), GPU)
    folder = shared / "conformance"
    for case in json.loads((folder / "s3fd_golden.json").read_text())["cases"]:
        expected = np.array(case["boxes_conf_above_0_9"]).reshape(-1, 5)
        found = rows(detector([frame_of(shared, case["frame"])], [0])[0])
        assert len(found) == len(expected)
        assert np.abs(found[:, :4] - expected[:, :4]).max() < 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_finds_the_same_faces(
    dtype: torch.dtype, shared: Path, s3fd_state: dict[str, torch.Tensor]
) -> None:
    frame = frame_of(shared, "phone.jpg")
    exact = rows(S3fdDetector(dict(s3fd_state), GPU)([frame], [0])[0])
    halved = rows(S3fdDetector(dict(s3fd_state), GPU, dtype=dtype)([frame], [0])[0])
    sure = exact[exact[:, 4] > 0.92, :4]
    gaps = np.abs(sure[:, None] - halved[None, :, :4]).max(axis=2).min(axis=1)
    assert len(sure) and np.mean(gaps < 1.0) > 0.8


def test_memory_that_runs_out_halves_the_batch(s3fd_state: dict[str, torch.Tensor]) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (16, 976, 528, 3), np.uint8))
    expected = S3fdDetector(dict(s3fd_state), GPU)(frames, range(16))
    detector = S3fdDetector(dict(s3fd_state), GPU, batch_size=16)
    torch.cuda.empty_cache()
    few = torch.cuda.memory_reserved() + 160e6
    torch.cuda.set_per_process_memory_fraction(few / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = detector(frames, range(16))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert detector._batches.size < 16
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(rows(one)[:, :4], rows(other)[:, :4], atol=0.1)


def test_embeddings_are_the_cpus(kit_weights: Path) -> None:
    state = torch.load(kit_weights / "syncnet_v2.model", weights_only=True)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (100, 224, 224, 3)).astype(np.uint8)
    mfcc = rng.standard_normal((400, 13)).astype(np.float32) * 10
    here, there = (SyncNetEmbedder(dict(state), torch.device(name)) for name in ("cpu", "cuda"))
    for ours, expected in ((there.lip(frames), here.lip(frames)), (there.audio(mfcc), here.audio(mfcc))):
        assert np.abs(ours - expected).max() < 1e-4 * np.abs(expected).max()


def test_mini_scores_as_on_the_cpu(clip_paths: dict[str, Path]) -> None:
    protocol = PROTOCOLS["lipscore-1"]
    here, there = (
        score_video(clip_paths["closeup_doctor"], protocol, load_models("mini", protocol, device=name))
        for name in ("cpu", "cuda")
    )
    assert (here.status, here.offset) == (there.status, there.offset) and here.status == "ok"
    assert there.lse_d == pytest.approx(here.lse_d, abs=1e-3) and there.lse_c == pytest.approx(here.lse_c, abs=1e-3)


def test_psnr_and_ssim_are_the_cpus() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (120, 90, 3), np.uint8) for _ in range(2))
    here, there = Images(a, b), Images(a, b, "cuda")
    assert psnr_of(there, "luma") == pytest.approx(psnr_of(here, "luma"), rel=1e-9)
    assert ssim_of(there, "luma", "wang") == pytest.approx(ssim_of(here, "luma", "wang"), rel=1e-9)


def test_auto_takes_the_gpu() -> None:
    assert pick_device("auto").type == "cuda"


DEAD = """
import sys
import numpy as np, torch
from lipscore.errors import DeviceError
from lipscore.device import on_device
device = torch.device("cuda")
try:
    with on_device(device):
        table = torch.zeros(4, device=device)
        table[torch.tensor([9], device=device)].cpu()
except DeviceError as error:
    print(error)
    sys.exit(error.exit_status)
"""


def test_a_dead_device_ends_the_run() -> None:
    """In a process of its own: an index beyond a table is an assertion in a kernel, after which the context is gone."""
    done = subprocess.run([sys.executable, "-c", DEAD], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr[-500:]
    assert "the GPU failed" in done.stdout
