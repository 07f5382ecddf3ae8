"""SyncNet folded against SyncNet as published, and the pass in chunks against one go."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lipscore.errors import NotScoredError, WeightsError
from lipscore.syncnet.models.mini import load_mini
from lipscore.syncnet.models.sync_pass import WindowPass
from lipscore.syncnet.models.v2 import SyncNet, SyncNetEmbedder


@pytest.fixture(scope="module")
def state(kit_weights: Path) -> dict[str, torch.Tensor]:
    return torch.load(kit_weights / "syncnet_v2.model", weights_only=True)  # type: ignore[no-any-return]


def test_folded_equals_published(state: dict[str, torch.Tensor]) -> None:
    net = SyncNet()
    net.load_state_dict(state)
    net.eval()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (7, 224, 224, 3)).astype(np.uint8)
    mfcc = rng.standard_normal((28, 13)).astype(np.float32) * 10
    windows = torch.stack([torch.from_numpy(frames[i : i + 5]).permute(3, 0, 1, 2).float() for i in range(3)])
    sounds = torch.stack([torch.from_numpy(mfcc[4 * i : 4 * i + 20].T.copy())[None] for i in range(3)])
    with torch.inference_mode():
        lip, audio = net.forward_lip(windows).numpy(), net.forward_aud(sounds).numpy()
    ours = SyncNetEmbedder(state, torch.device("cpu"), batch_size=2)
    assert np.abs(ours.lip(frames) - lip).max() < 1e-5 * np.abs(lip).max()
    assert np.abs(ours.audio(mfcc) - audio).max() < 1e-5 * np.abs(audio).max()


def test_weights_that_do_not_fit_are_refused(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"netfclip\.3\.bias"):
        SyncNetEmbedder({k: v for k, v in state.items() if k != "netfclip.3.bias"}, torch.device("cpu"))


class Means:
    """A model whose embeddings can be checked by eye: the mean of the frames, the mean of the MFCC."""

    name = "means"
    context = 0

    def __init__(self, pads: bool) -> None:
        self.pads = pads
        self.lips_seen = self.audio_seen = 0

    def lip(self, frames: np.ndarray) -> np.ndarray:
        self.lips_seen += len(frames) - 4
        rows = [frames[i : i + 5].mean() for i in range(len(frames) - 4)]
        return np.array(rows, np.float32)[:, None]

    def audio(self, mfcc: np.ndarray) -> np.ndarray:
        rows = [mfcc[4 * i : 4 * i + 20].mean() for i in range((len(mfcc) - 20) // 4 + 1)]
        self.audio_seen += len(rows)
        return np.array(rows, np.float32)[:, None]


@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 7, 32, 60])
def test_chunks_change_nothing(pads: bool, chunk: int) -> None:
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (60, 1, 1, 1)).astype(np.uint8) * np.ones((1, 224, 224, 3), np.uint8)
    mfcc = rng.uniform(0, 255, (250, 13)).astype(np.float32)
    model = Means(pads)
    run = WindowPass(model, mfcc, 60 * 640, len(frames), 15)
    for start in range(0, 60, chunk):
        run.feed(frames[start : start + chunk])
    n = 55  # min(60 frames, 60 * 640 / 640) - 5
    got = run.distances()
    assert got.shape == (n, 31)
    lip = [frames[i : i + 5, 0, 0, 0].mean() for i in range(n)]
    audio = [mfcc[4 * i : 4 * i + 20].mean() for i in range(n)]
    for i in range(n):
        for k in range(31):
            j = i + k - 15
            inside = 0 <= j < n
            want = abs(lip[i] - audio[j]) if inside else abs(lip[i]) if pads else np.nan
            assert got[i, k] == pytest.approx(want, abs=1e-2, nan_ok=True)
    assert model.lips_seen == n  # each window once
    assert model.audio_seen <= n + 2 * (60 // chunk + 2)


@pytest.mark.parametrize("sound_frames", [96, 20])
def test_a_finished_pass_holds_no_crops(sound_frames: int) -> None:
    """A trace keeps the passes of all tracks; and frames go on where the sound has ended."""
    chunk = np.ones((32, 224, 224, 3), np.uint8)
    tracemalloc.start()
    runs = [WindowPass(Means(True), np.zeros((400, 13), np.float32), sound_frames * 640, 96, 15) for _ in range(3)]
    for run in runs:
        for _ in range(3):
            run.feed(chunk)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(run.distances()) for run in runs] == [sound_frames - 5] * 3
    assert held < chunk.nbytes / 10 and most < 4 * chunk.nbytes


def test_windows_are_counted_as_the_original_counts_them() -> None:
    mfcc = np.zeros((200, 13), np.float32)
    for n_frames, n_samples, want in ((60, 60 * 640, 55), (60, 50 * 640 + 639, 45), (5, 64000, 0), (40, 10, 0)):
        assert WindowPass(Means(True), mfcc, n_samples, n_frames, 15).n_windows == want


@pytest.mark.parametrize("chunk", [1, 5, 32])
def test_a_model_that_looks_beyond_its_windows_sees_no_seams(chunk: int) -> None:
    model = load_mini(torch.device("cpu"))
    rng = np.random.default_rng(5)
    pattern = np.asarray(cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), (224, 224)), np.uint8)
    frames = np.stack([np.roll(pattern, 5 * k, axis=0) for k in range(40)])
    mfcc = rng.standard_normal((161, 13)).astype(np.float32) * 10
    runs = []
    for size in (chunk, 40):
        run = WindowPass(model, mfcc, 40 * 640, 40, 6)
        for start in range(0, 40, size):
            run.feed(frames[start : start + size])
        runs.append(run.distances())
    assert runs[0].shape == (35, 13)
    assert np.allclose(runs[0], runs[1], atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize(("tower", "value"), [("lip", np.nan), ("audio", np.nan), ("audio", np.inf)])
def test_nan_from_a_network_is_no_partner_that_is_missing(
    pads: bool, tower: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Means(pads)
    whole = getattr(model, tower)

    def broken(given: np.ndarray) -> np.ndarray:
        rows: np.ndarray = whole(given).copy()
        rows[-1] = value
        return rows

    monkeypatch.setattr(model, tower, broken)
    run = WindowPass(model, np.ones((250, 13), np.float32), 60 * 640, 60, 15)
    with pytest.raises(NotScoredError, match="NaN or infinity for 1 of ") as caught:
        run.feed(np.zeros((60, 224, 224, 3), np.uint8))
    assert caught.value.status == "error"
