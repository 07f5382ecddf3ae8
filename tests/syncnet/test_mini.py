"""The built-in model: its contract, its files, and what it finds on clips with a known offset."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lipscore.errors import WeightsError
from lipscore.eval.cli import tables
from lipscore.media.read import frames_at, read_pcm
from lipscore.metrics import lse
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.models import mini
from lipscore.syncnet.models.sync_pass import Embedder, WindowPass
from lipscore.syncnet.window import N_MFCC
from lipscore.types import Floats, SyncCurve

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> mini.MiniEmbedder:
    return mini.load_mini(CPU)


@pytest.fixture(scope="module")
def example(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """The official demo clip's crops and audio: its audio leads by 3 frames."""
    path = shared / "clips" / "real" / "example.avi"
    return np.stack(list(frames_at(path)))[:150], read_pcm(path)[: 150 * 640]


def curve(lip: Floats, audio: Floats) -> SyncCurve:
    count = min(len(lip), len(audio))
    distances = lse.shifted_distances(
        lip[:count], np.pad(audio[:count], ((15, 15), (0, 0)), constant_values=np.nan), 15
    )
    return SyncCurve(distances, lse.mean_curve(distances))


def made_of(mean: Floats) -> tuple[SyncCurve, Floats, Floats]:
    """A curve of one window, with lips that look alike by 0.25 and audio whose MFCC deviate by 1."""
    lip = np.zeros(130, np.float32)
    lip[[0, 129]] = 0.5, 0.7  # the last two are the spare ones
    return SyncCurve(mean[None], mean), lip, np.stack([np.ones(13), -np.ones(13)]).astype(np.float32)


@pytest.mark.parametrize(("frames", "rows"), [(5, 20), (6, 23), (9, 24), (30, 121)])
def test_a_window_per_frame_and_per_four_mfcc(model: mini.MiniEmbedder, frames: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    lip = model.lip(rng.integers(0, 256, (frames, 224, 224, 3), np.uint8))
    audio = model.audio(rng.normal(size=(rows, 13)).astype(np.float32))
    assert lip.shape == (frames - 4, 130) and audio.shape == ((rows - 20) // 4 + 1, 130)
    assert lip.dtype == audio.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(lip, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(audio, axis=1), 1, atol=1e-5)


def test_it_is_an_embedder(model: mini.MiniEmbedder) -> None:
    """The assignment is mypy's to check; a pass through it, in chunks, is what scoring asks of one."""
    embedder: Embedder = model
    rng = np.random.default_rng(6)
    crops, rows = rng.integers(0, 256, (12, 224, 224, 3), np.uint8), rng.normal(size=(48, 13)).astype(np.float32)
    sync = WindowPass(embedder, rows, 12 * 640, 12, 3)
    for start in range(0, 12, 5):
        sync.feed(crops[start : start + 5])
    lip, audio = embedder.lip(crops)[:7], embedder.audio(rows)[:7]  # as the originals: 12 frames less 5 windows
    want = [
        [np.linalg.norm(one - audio[k] + lse.EPS) if 0 <= k < len(audio) else np.nan for k in range(i - 3, i + 4)]
        for i, one in enumerate(lip)
    ]
    assert np.allclose(sync.distances(), np.array(want), atol=1e-4, equal_nan=True)
    assert model.name == "mini" and embedder.pads is False


def test_batches_change_nothing(model: mini.MiniEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    crops = rng.integers(0, 256, (40, 224, 224, 3), np.uint8)
    rows = rng.normal(size=(160, 13)).astype(np.float32)
    whole = model.lip(crops), model.audio(rows)
    monkeypatch.setattr(mini, "BATCH", 7)
    np.testing.assert_allclose(model.lip(crops), whole[0], atol=1e-5)
    np.testing.assert_allclose(model.audio(rows), whole[1], atol=1e-5)


def test_a_window_sees_its_own_frames_and_little_more(model: mini.MiniEmbedder) -> None:
    rng = np.random.default_rng(2)
    crops = rng.integers(0, 256, (30, 224, 224, 3), np.uint8)
    changed = crops.copy()
    changed[20] = 255 - changed[20]
    moved = np.abs(model.lip(crops) - model.lip(changed)).max(axis=1) > 1e-6
    seen = np.flatnonzero(moved)
    assert seen.min() == 20 - 4 - mini.LIP_CONTEXT and seen.max() == 20 + mini.LIP_CONTEXT
    rows = rng.normal(size=(120, 13)).astype(np.float32)
    other = rows.copy()
    other[60] += 1
    heard = np.flatnonzero(np.abs(model.audio(rows) - model.audio(other)).max(axis=1) > 1e-6)
    first = 4 * heard.min() + N_MFCC + mini.AUDIO_CONTEXT - mini.AUDIO_LAG - 1
    assert first - 4 < 60 <= first and 4 * heard.max() - mini.AUDIO_CONTEXT - mini.AUDIO_LAG <= 60


def test_what_lies_outside_the_mouth_does_not_matter(model: mini.MiniEmbedder) -> None:
    crops = np.random.default_rng(3).integers(0, 256, (8, 224, 224, 3), np.uint8)
    other = crops.copy()
    other[:, :83] = 0
    other[:, 175:] = 0
    other[:, :, :66] = 0
    other[:, :, 158:] = 0
    np.testing.assert_array_equal(model.lip(crops), model.lip(other))


def test_the_official_example_has_its_offset(model: mini.MiniEmbedder, example: tuple[np.ndarray, np.ndarray]) -> None:
    crops, pcm = example
    lip = model.lip(crops)
    offset = lse.sync_of(curve(lip, model.audio(mfcc(pcm))).mean).offset
    assert abs(offset - 3) <= 1
    later = np.pad(pcm[: -8 * 640], (8 * 640, 0))  # the audio 8 frames later: the offset falls by 8
    assert abs(lse.sync_of(curve(lip, model.audio(mfcc(later))).mean).offset - (offset - 8)) <= 1


def test_features_of_a_curve_made_by_hand() -> None:
    mean = np.full(31, 2.0, np.float32)
    mean[10] = 1.0
    mean[[4, 16]] = 3.0  # six frames away
    features = mini.features(*made_of(mean))
    np.testing.assert_allclose(features, [1.0, 1.0, (4 * 2.0 + 2 * 3.0) / 6 - 1.0, 0.0, 0.25, np.log(1.001)])


def test_windows_that_differ_have_a_deviation() -> None:
    distances = np.full((3, 31), 2.0, np.float32)
    distances[:, 15] = 1.0, 1.2, np.nan  # a window without a partner there
    curve, lip, rows = made_of(lse.mean_curve(distances))
    np.testing.assert_allclose(
        mini.features(replace(curve, distances=distances), lip, rows)[[1, 3]], [1.1, 0.1], rtol=1e-6
    )


def test_features_of_a_single_window_are_numbers() -> None:
    mean = np.full(31, np.nan, np.float32)
    mean[15] = 1.0
    np.testing.assert_allclose(mini.features(*made_of(mean)), [1.0, 1.0, 0.0, 0.0, 0.25, np.log(1.001)])


def test_estimates_lie_between_apart_and_a_linear_law_and_are_never_negative() -> None:
    mean = np.full(31, 2.0, np.float32)
    mean[15] = 1.5
    weights = (1.0, 2.0, 0.0, 0.0, 4.0, 0.0), (0.0, -9.0, 0.0, 0.0, 0.0, 0.0)

    def estimate(logit: float) -> tuple[float, float]:
        return mini.Calibration((logit, 0.0, 0.0, 0.0), *weights)(*made_of(mean))

    assert estimate(100.0) == (5.0, 0.0)
    assert estimate(-100.0) == pytest.approx(mini.APART)
    assert estimate(math.log(3.0))[0] == pytest.approx(0.25 * mini.APART[0] + 0.75 * 5.0)


def test_estimates_on_the_example_are_of_syncnets_size(
    model: mini.MiniEmbedder, example: tuple[np.ndarray, np.ndarray]
) -> None:
    crops, pcm = example
    run = model.open(pcm, len(crops), 15)
    run.feed(crops)
    _, lse_c = run.scores(run.curve())
    assert lse_c == pytest.approx(7.47, abs=0.1)  # the official demo prints 10.02


def test_shipped_weights_are_small_and_are_those_of_the_record() -> None:
    assert mini.WEIGHTS.stat().st_size <= 8_000_000
    digest = hashlib.sha256(mini.WEIGHTS.read_bytes()).hexdigest()
    assert mini.mini_sha256() == digest == json.loads(mini.RECORD.read_text())["weights_sha256"]
    assert mini.held_out_figures()["clips"] >= 30


def test_the_protocols_command_says_how_far_the_estimates_are_off() -> None:
    figures = json.loads(mini.RECORD.read_text())["held_out"]
    said = tables.protocols()
    for score in ("lse_d", "lse_c"):
        line = f"mean error {figures[f'{score}_mae']:.2f}  Spearman {figures[f'{score}_spearman']:.2f}"
        assert line in said


def test_weights_survive_a_round_trip(model: mini.MiniEmbedder, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = mini.MiniSyncNet().eval()
    calibration = mini.Calibration((0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (7.0, 8.0, 9.0, 1.0, 2.0, 3.0))
    mini.save_mini(net, calibration, tmp_path / "w.safetensors")
    back = mini.load_mini(CPU, tmp_path / "w.safetensors")
    crops = np.random.default_rng(4).integers(0, 256, (6, 224, 224, 3), np.uint8)
    direct = mini.MiniEmbedder(net, calibration, CPU).lip(crops)
    np.testing.assert_allclose(back.lip(crops), direct, atol=0.02)  # half precision
    assert np.abs(back.lip(crops) - model.lip(crops)).max() > 0.05
    mean = np.linspace(1, 2, 31).astype(np.float32)
    some = made_of(mean)
    assert back.calibration(*some) == calibration(*some)


@pytest.mark.parametrize("content", [None, b"no tensors", "other"])
def test_a_wrong_weight_file_is_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "mine.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "other":
        from safetensors.torch import save

        path.write_bytes(save({"x": torch.zeros(1)}, {"calibration": '{"lse_d": [0], "lse_c": [0]}'}))
    with pytest.raises(WeightsError, match=r"mine[.]safetensors"):
        mini.load_mini(CPU, path)
