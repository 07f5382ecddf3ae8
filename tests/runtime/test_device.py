"""What a GPU does to a run, as far as a machine without one can tell: memory, failures, half precision, shapes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lipscore import runtime
from lipscore.device import Batches, on_device
from lipscore.errors import DeviceError
from lipscore.eval.cli.main import app
from lipscore.faces.s3fd.detector import L2Norm, S3fdDetector, S3FDNet
from lipscore.runtime import pick_device
from lipscore.syncnet.models.mini import MiniSyncNet
from lipscore.syncnet.models.v2 import SyncNetEmbedder

CPU = torch.device("cpu")


def test_the_norm_holds_in_half_precision() -> None:
    """256 features of 30 have a sum of squares of 230400, beyond float16's 65504."""
    norm = L2Norm(256).half()
    norm.weight.data.fill_(10.0)
    out = norm(torch.full((1, 256, 2, 2), 30.0, dtype=torch.float16))
    assert out.dtype == torch.float16
    np.testing.assert_allclose(out.float().detach().numpy(), 10 / 16, rtol=1e-3)


@pytest.mark.parametrize("fits", [1, 3, 4, 7, 100])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(fits: int) -> None:
    batches, tried = Batches(16, CPU), []

    def work(start: int, stop: int) -> range:
        tried.append(stop - start)
        if stop - start > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return range(start, stop)

    assert [i for part in batches.over(41, work) for i in part] == list(range(41))
    assert batches.size == next(size for size in (16, 8, 4, 2, 1) if size <= fits)
    tried.clear()
    batches.over(41, work)
    assert max(tried) <= fits  # what did not fit once is not tried again


def test_no_memory_for_one_item_ends_the_run() -> None:
    def work(start: int, stop: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError, match="not enough memory for one frame"):
        Batches(8, CPU).over(3, work)


@pytest.mark.parametrize("words", ["CUDA error: device-side assert triggered\nmore", "cuDNN error: CUDNN_STATUS_X"])
def test_a_failure_of_the_device_is_told_from_one_of_the_call(words: str) -> None:
    with pytest.raises(DeviceError, match="the GPU failed"), on_device(CPU):
        raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="shapes"), on_device(CPU):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(torch.OutOfMemoryError), on_device(CPU):
        raise RuntimeError("cuBLAS: CUBLAS_STATUS_ALLOC_FAILED")


def test_auto_passes_over_a_card_that_does_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here torch has no CUDA at all, so that a card that "is there" fails at its first kernel."""
    if torch.cuda.is_available():
        pytest.skip("this machine's GPU computes")

    def dead(device: torch.device) -> torch.device:
        raise DeviceError(f"{device}: no kernel image is available")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "tried", dead)
    with pytest.warns(RuntimeWarning, match="no kernel image.*the CPU is used"):
        assert pick_device("auto").type == "cpu"
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pick_device("auto").type == "cpu"


def test_a_dead_device_ends_the_run_and_keeps_what_was_scored(
    clip_paths: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    network = MiniSyncNet.lip

    def dies(self: MiniSyncNet, mouths: torch.Tensor) -> torch.Tensor:
        if (out / "scores.jsonl").read_text():  # the first video is done
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return network(self, mouths)

    monkeypatch.setattr(MiniSyncNet, "lip", dies)
    videos = [str(clip_paths[name]) for name in ("closeup_doctor", "camera_cave", "closeup_reading")]
    command = ["score", *videos, "--model", "mini", "--protocol", "lipscore-1", "--device", "cpu", "--workers", "1"]
    result = CliRunner().invoke(app, [*command, "--out", str(out), "--scores-file", str(tmp_path / "all.txt")])
    assert result.exit_code == 3
    records = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["ok"]


def test_the_detectors_maps_are_as_the_priors_expect() -> None:
    """On torch's meta device, where shapes are worked out and nothing is computed: an input of a 4K frame."""
    with torch.device("meta"):
        offsets, scores, maps = S3FDNet()(torch.empty(3, 3, 540, 960))
    cells = sum(rows * columns for rows, columns in maps)
    assert offsets.shape == (3, cells, 4) and scores.shape == (3, cells)
    assert maps == [(135, 240), (68, 120), (34, 60), (17, 30), (9, 15), (5, 8)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_the_cpu_is_near(
    dtype: torch.dtype, kit_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arithmetic of --fast, emulated: float16's range is what a CPU can check. oneDNN has no float16 on most."""
    monkeypatch.setattr("lipscore.faces.s3fd.packed.available", lambda: False)
    frames = np.random.default_rng(0).integers(0, 256, (2, 480, 640, 3), np.uint8)
    state = torch.load(kit_weights / "sfd_face.pth", weights_only=True)
    with torch.inference_mode():
        answers = []
        for kind in (torch.float32, dtype):
            detector = S3fdDetector(dict(state), dtype=kind)
            answers.append(detector._network_on(frames[:, ::4, ::4]))
    (_, scores, _), (rough_offsets, rough_scores, _) = answers
    assert torch.isfinite(rough_offsets).all() and torch.isfinite(rough_scores).all()
    assert (scores - rough_scores).abs().mean() < 0.01
    lips = torch.load(kit_weights / "syncnet_v2.model", weights_only=True)
    crops = np.random.default_rng(1).integers(0, 256, (6, 224, 224, 3), np.uint8)
    exact, rough = (SyncNetEmbedder(dict(lips), CPU, dtype=kind).lip(crops) for kind in (torch.float32, dtype))
    assert np.abs(exact - rough).max() < 0.02 * np.abs(exact).max()
