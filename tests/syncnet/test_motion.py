"""Whether a mouth moves: speakers, photographs under a moving camera, empty pictures; and what follows from it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lipscore import Models
from lipscore.demo.clips import make_clip
from lipscore.eval.options import ModelOptions, ProtocolOptions
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.tools.filter import Limits, decide
from lipscore.eval.tools.fix import fix
from lipscore.media import ffmpeg, read
from lipscore.syncnet.crops import CropPath
from lipscore.syncnet.motion import LAG, STILL, MouthMotion, change, is_still, lower_face
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.protocols import change as changed
from lipscore.training.clips import LISTENERS, read_boxes
from lipscore.types import Shot, Track

Crops = NDArray[np.uint8]


@pytest.fixture(scope="module")
def speaker() -> Crops:
    """The crops of a drawn head that speaks, uint8[75, 224, 224, 3]."""
    clip = make_clip(seed=5, seconds=3, size=(320, 320), audio=False)
    boxes = clip.boxes[0].astype(np.float64)
    path = CropPath.of(Track(0, Shot(0, len(boxes)), np.arange(len(boxes)), boxes))
    return np.stack([path.cut(frame, number, 0.4) for number, frame in enumerate(clip.frames)])


def motion_of(crops: Crops) -> float:
    motion = MouthMotion()
    motion.feed(crops)
    assert motion.value is not None
    return motion.value


def filmed(photograph: NDArray[np.uint8], n_frames: int, seed: int) -> Crops:
    """A photograph before a camera held by hand that zooms and turns; the light changes, and the sensor has noise."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(n_frames):
        sway = 3 * np.sin(number / np.array([7.0, 5.0]) + seed)
        view = cv2.getRotationMatrix2D((112, 112), 2 * np.sin(number / 9), 1 + 0.002 * number)
        view[:, 2] += sway
        frame = cv2.warpAffine(photograph, view, (224, 224), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        lit = frame * (1 + 0.1 * np.sin(number / 3)) + rng.normal(0, 6, frame.shape)
        frames.append(np.clip(lit, 0, 255).astype(np.uint8))
    return np.stack(frames)


def test_a_speaker_moves_and_a_photograph_does_not(speaker: Crops) -> None:
    assert motion_of(speaker) > 2 * STILL
    assert motion_of(np.repeat(speaker[:1], 50, axis=0)) == 0
    for seed in range(3):
        assert motion_of(filmed(speaker[7 * seed], 50, seed)) < STILL


def test_a_speaker_under_a_moving_camera_still_moves(speaker: Crops) -> None:
    moved = np.concatenate([filmed(crop, 1, number) for number, crop in enumerate(speaker)])
    assert motion_of(moved) > 2 * STILL


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_has_no_motion(level: int) -> None:
    rng = np.random.default_rng(level)
    empty = np.full((50, 224, 224, 3), level, np.uint8)
    assert motion_of(empty) == 0
    assert motion_of(np.clip(empty + rng.normal(0, 4, empty.shape), 0, 255).astype(np.uint8)) < STILL


def test_gain_and_level_are_no_change(speaker: Crops) -> None:
    face = lower_face(speaker[0])
    assert change(face, 0.8 * face + 12) < 1e-3
    other = face.copy()
    other[18:26, 14:28] -= 40  # a mouth that opens
    assert change(face, other) > 2 * STILL


@settings(max_examples=10)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_it_does_not_depend_on_the_chunks(sizes: list[int]) -> None:
    crops = np.random.default_rng(3).integers(0, 256, (sum(sizes), 28, 28, 3), np.uint8)
    crops = np.stack([cv2.resize(crop, (224, 224)) for crop in crops[::LAG]]).repeat(LAG, axis=0)[: sum(sizes)]
    whole, parts = MouthMotion(), MouthMotion()
    whole.feed(crops)
    for part in np.split(crops, np.cumsum(sizes)[:-1]):
        parts.feed(part)
    assert whole.value == parts.value
    assert (whole.value is None) == (len(crops) <= 2 * LAG)


def test_what_is_not_known_is_not_still() -> None:
    assert not is_still(None) and not is_still(STILL) and is_still(STILL - 1e-4)


@pytest.fixture(scope="module")
def frozen(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn head's first picture, with all of its sound."""
    path = tmp_path_factory.mktemp("frozen") / "frozen.mp4"
    freeze = "trim=end_frame=1,loop=49:1,setpts=N/25/TB,scale=240:240"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(talk), "-vf", freeze, "-r", "25", "-t", "2", f"file:{path}"], path)
    return path


def test_minis_estimate_of_a_photograph_is_that_of_unrelated_lips(
    frozen: Path, mini_models: Models, tmp_path: Path
) -> None:
    setup = Setup(changed(PROTOCOLS["lipscore-1"], {"min_track": 30, "min_face_size": 50}), mini_models)
    record = score_video(frozen, setup)
    assert record.status == "ok" and is_still(record.tracks[0].mouth_motion)
    assert (record.lse_d, record.lse_c) == mini_models.sync.unrelated
    assert any("no speech-like motion" in note for note in record.notes)
    decision, reasons = decide(record, Limits(0, 15))
    assert decision == "poor" and "no speech-like motion" in reasons[0]
    done = fix(frozen, tmp_path / "out.mp4", setup, min_confidence=0)
    assert done.verdict == "refused" and "no speech-like motion" in done.message and not (tmp_path / "out.mp4").exists()


def test_syncnets_own_score_of_a_photograph_stays(frozen: Path, random_weights: Path) -> None:
    """The original scores it too: a published number is not changed, and a note says what it is worth."""
    model = ModelOptions(model="vgg", weights_dir=random_weights, device="cpu", allow_unverified=True)
    setup = Setup.load(ProtocolOptions("wav2lip-lrs"), model)
    short = frozen.with_name("short.mp4")
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(frozen), "-t", "0.64", f"file:{short}"], short)
    record = score_video(short, setup)
    curve = np.array(record.tracks[0].curve)
    assert record.tracks[0].mouth_motion is not None and is_still(record.tracks[0].mouth_motion)
    assert record.lse_d == pytest.approx(curve.min(), abs=1e-5)
    assert record.lse_c == pytest.approx(np.median(curve) - curve.min(), abs=1e-5)
    assert any("measure no lip sync" in note for note in record.notes)


@pytest.mark.slow
def test_no_real_speaker_is_near_the_limit(shared: Path) -> None:
    folder = shared / "clips" / "talking"
    found = {}
    for name, track in read_boxes(shared / "clips" / "boxes.json").items():
        if name in LISTENERS:
            continue
        path, motion = CropPath.of(track), MouthMotion()
        for number, frame in zip(range(len(track.frames)), read.frames_at(folder / name, 25), strict=False):
            motion.feed(path.cut(frame, number, 0.4)[None])
        found[name] = motion.value or 0.0
    least = min(found, key=lambda name: found[name])
    print(f"{len(found)} clips, the least {found[least]:.3f} ({least})")
    assert found[least] > 1.15 * STILL, (least, found[least])
