"""The crop against the original's way of cutting it out of a wholly padded frame, and the round trip through a file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import medfilt

from lipscore.media.decode.passes import FrameSource
from lipscore.syncnet.crops import CropFile, CropPath, cut_tracks, track_pcm
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import Shot, Track

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)


def track(boxes: np.ndarray, first: int = 0, index: int = 0) -> Track:
    return Track(index, Shot(0, 1000), np.arange(first, first + len(boxes)), boxes.astype(np.float64))


def naive(frame: np.ndarray, half: float, x: float, y: float, cs: float) -> np.ndarray:
    pad = int(half * (1 + 2 * cs))
    whole = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    my, mx = y + pad, x + pad
    rows = slice(int(my - half), int(my + half * (1 + 2 * cs)))
    return cv2.resize(whole[rows, int(mx - half * (1 + cs)) : int(mx + half * (1 + cs))], (224, 224))


@settings(max_examples=60)
@given(st.floats(0, 120), st.floats(0, 90), st.floats(4, 80), st.sampled_from([0.0, 0.4, 0.7]))
def test_cut_equals_padding_the_whole_frame(x: float, y: float, half: float, scale: float) -> None:
    path = CropPath(np.array([half]), np.array([x]), np.array([y]))
    assert np.array_equal(path.cut(NOISE, 0, scale), naive(NOISE, half, x, y, scale))


def test_a_box_outside_the_frame_is_grey() -> None:
    path = CropPath(np.array([10.0]), np.array([400.0]), np.array([400.0]))
    assert (path.cut(NOISE, 0, 0.4) == 110).all()


def test_size_and_centre_are_median_filtered() -> None:
    rng = np.random.default_rng(1)
    boxes = np.cumsum(rng.standard_normal((60, 4)), axis=0) + np.array([10, 20, 60, 90])
    path = CropPath.of(track(boxes))
    half = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2
    assert np.allclose(path.half, medfilt(half, 13))
    assert np.allclose(path.x, medfilt((boxes[:, 0] + boxes[:, 2]) / 2, 13))
    assert np.allclose(path.y, medfilt((boxes[:, 1] + boxes[:, 3]) / 2, 13))


def test_one_pass_serves_overlapping_tracks() -> None:
    frames = [np.full((90, 120, 3), k, np.uint8) for k in range(100)]
    opened = []

    def packed():  # type: ignore[no-untyped-def]
        opened.append(1)
        return iter(frames)

    box = np.tile([20.0, 20, 60, 60], (70, 1))
    tracks = [track(box, 0, 0), track(box[:40], 30, 1)]
    got: dict[int, list[np.ndarray]] = {0: [], 1: []}
    ends = []
    for index, chunk, last in cut_tracks(FrameSource(packed, lambda frame: frame), tracks, 0.4):
        got[index].append(chunk)
        if last:
            ends.append(index)
    levels = [np.concatenate(got[k])[:, 112, 112, 0].tolist() for k in (0, 1)]
    assert levels == [list(range(70)), list(range(30, 70))]
    assert sorted(ends) == [0, 1]
    assert len(opened) == 1


def test_audio_beneath_a_track() -> None:
    pcm = np.arange(16000, dtype=np.int16)
    beneath = track_pcm(pcm, track(np.zeros((10, 4)), first=5), 25)
    assert (beneath[0], len(beneath)) == (5 * 640, 10 * 640)


@pytest.mark.parametrize("name", ["wav2lip", "latentsync"])
def test_a_crop_file_gives_its_frames_and_audio_back(tmp_path: Path, name: str) -> None:
    ramp = np.linspace(0, 255, 224).astype(np.uint8)
    crops = np.stack([np.roll(np.stack([np.tile(ramp, (224, 1))] * 3, axis=2), 4 * k, axis=1) for k in range(30)])
    pcm = (6000 * np.sin(np.arange(30 * 640) * 0.2)).astype(np.int16)
    file = CropFile(tmp_path, 0, PROTOCOLS[name])
    file.write(crops)
    file.finish(pcm)
    assert [path.name for path in tmp_path.iterdir()] == [file.path.name]
    back = np.concatenate(list(file.chunks()))
    assert back.shape == crops.shape
    assert np.abs(back.astype(int) - crops).mean() < 12
    sound = file.pcm()
    assert np.corrcoef(sound[2000:18000], pcm[2000:18000])[0, 1] > 0.98
    if name == "wav2lip":
        assert np.array_equal(sound, pcm)
