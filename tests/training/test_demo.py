"""The rendered clips: what they claim must be true of the decoded files, measured without the renderer's own tracks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import dlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio
from typer.testing import CliRunner

from lipscore import score_video
from lipscore.demo.clips import EARLY_FRAMES, FILE_RATE, Clip, DemoClip, make_clip, render_clip, render_demo
from lipscore.demo.phones import draw_utterance
from lipscore.demo.voice import LIP_LEAD_S, speak
from lipscore.errors import NotScoredError
from lipscore.eval.cli.main import app
from lipscore.eval.setup import load_models
from lipscore.media.rates import SAMPLE_RATE
from lipscore.media.read import frames_at, probe, read_pcm
from lipscore.syncnet.protocols import PROTOCOLS

SAMPLES = SAMPLE_RATE // 25  # beneath one frame


def sound_of(clip: Clip) -> NDArray[np.int16]:
    assert clip.pcm is not None
    return clip.pcm


def loudness(pcm: NDArray[np.int16], n_frames: int) -> NDArray[np.float64]:
    beneath = pcm[: n_frames * SAMPLES].astype(np.float64).reshape(n_frames, SAMPLES)
    level: NDArray[np.float64] = np.sqrt(np.sqrt(np.mean(beneath**2, axis=1)))
    return level


def found_offset(opening: NDArray[np.float64], pcm: NDArray[np.int16], reach: int = 15) -> int:
    """The shift with the largest correlation of mouth and loudness, by a loop; positive: the audio comes first.

    In speech as it is, loudness follows the lips: that lead is taken off.
    """
    loud = loudness(pcm, len(opening))
    inside = range(reach, len(opening) - reach)
    mouth = [opening[i] for i in inside]
    scores = {k: np.corrcoef(mouth, [loud[i - k] for i in inside])[0, 1] for k in range(-reach, reach + 1)}
    return max(scores, key=lambda k: scores[k]) + round(25 * LIP_LEAD_S)


def seen_opening(path: Path, boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """How open a mouth looks: the share of its middle that is as dark as a cavity or as colourless as teeth."""
    values = []
    for frame, (x1, y1, x2, y2) in zip(frames_at(path), boxes, strict=True):
        centre, height = (x1 + x2) / 2, y2 - y1
        rows = slice(int(y1 + 0.68 * height), int(y1 + 0.93 * height))
        part = frame[rows, int(centre - 0.10 * height) : int(centre + 0.10 * height)].astype(float)
        bright = part.max(axis=2)
        saturation = (bright - part.min(axis=2)) / (bright + 1)
        values.append(np.mean((saturation < 0.2) | (bright < 60)))
    return np.array(values)


def hog_boxes(frame: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    found = dlib.get_frontal_face_detector()(np.ascontiguousarray(frame[..., ::-1]), 0)
    return [(box.left(), box.top(), box.right(), box.bottom()) for box in found]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[DemoClip]:
    return render_demo(tmp_path_factory.mktemp("demo"))


def test_the_same_seed_draws_the_same_clip_and_another_seed_another() -> None:
    takes = [make_clip(seed=seed, seconds=0.2) for seed in (7, 7, 8)]
    frames = [np.stack(list(take.frames)) for take in takes]
    sounds = [sound_of(take) for take in takes]
    assert np.array_equal(frames[0], frames[1]) and np.array_equal(sounds[0], sounds[1])
    assert not np.array_equal(frames[0], frames[2]) and not np.array_equal(sounds[0], sounds[2])


@pytest.mark.parametrize("face_px", [130, 240, 450])
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_hog_finds_the_one_face_where_the_truth_says(face_px: int, seed: int) -> None:
    side = int(1.8 * face_px)
    clip = make_clip(seed=seed, seconds=2.0, size=(side, side), face_px=face_px)
    for index, frame in enumerate(clip.frames):
        if index % 12 == 0:
            ((x1, y1, x2, y2),) = hog_boxes(frame)
            left, top, right, bottom = clip.boxes[0, index]
            shared = max(0, min(x2, right) - max(x1, left)) * max(0, min(y2, bottom) - max(y1, top))
            union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared
            assert shared / union > 0.5


@pytest.mark.parametrize("faces", [0, 2])
def test_as_many_faces_as_asked_for_and_only_the_first_speaks(faces: int) -> None:
    clip = make_clip(seed=5, seconds=1.2, size=(720, 400), faces=faces)
    frames = list(clip.frames)
    assert [len(hog_boxes(frame)) for frame in frames[::10]] == [faces] * 3
    assert clip.boxes.shape == (faces, 30, 4)
    if faces:
        heights = clip.boxes[:, :, 3] - clip.boxes[:, :, 1]
        assert np.ptp(heights[0] / heights[1]) > 0.01  # the speaker's chin moves


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), shift=st.integers(-12, 12))
def test_a_shift_moves_the_sound_and_the_correlation_with_it(seed: int, shift: int) -> None:
    still, moved = make_clip(seed=seed), make_clip(seed=seed, shift_frames=shift)
    assert still.pcm is not None and moved.pcm is not None
    assert np.array_equal(still.mouth.opening, moved.mouth.opening)
    lead = shift * SAMPLES
    inside = np.arange(15 * SAMPLES, len(still.pcm) - 15 * SAMPLES)
    assert np.array_equal(moved.pcm[inside], still.pcm[inside + lead])  # heard earlier by the shift
    assert abs(found_offset(moved.mouth.opening.astype(np.float64), moved.pcm) - shift) <= 1


def test_bilabials_shut_the_mouth_and_open_vowels_open_it() -> None:
    for seed in range(5):
        events = draw_utterance(np.random.default_rng([seed, 1]), 8.0)
        speech = speak(seed, 8.0)
        for event in events:
            middle = round(100 * (event.start + event.end))
            if middle >= len(speech.controls):
                break
            opening = speech.controls[middle, 0]
            if event.phone.name in {"p", "b", "m"}:
                assert opening < 0.1
            if event.phone.name == "ah":
                assert opening > 0.3


def test_a_written_clip_has_its_frames_and_samples(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    clip = render_clip(path, seed=3, seconds=2.0, size=(320, 240))
    info = probe(path)
    assert (info.width, info.height, info.fps, info.sample_rate) == (320, 240, Fraction(25), FILE_RATE)
    assert sum(1 for _ in frames_at(path)) == 50
    heard = read_pcm(path)
    assert clip.pcm is not None and len(clip.pcm) == 2 * SAMPLE_RATE
    assert abs(len(heard) - 2 * SAMPLE_RATE) <= 1024  # AAC's last packet
    assert np.corrcoef(heard[: 2 * SAMPLE_RATE - 1024], clip.pcm[: 2 * SAMPLE_RATE - 1024])[0, 1] > 0.95  # and no delay


def test_a_clip_without_audio(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    assert render_clip(path, seed=3, seconds=1.0, size=(160, 160), audio=False).pcm is None
    with pytest.raises(NotScoredError):
        read_pcm(path)


def test_other_frame_rates_take_the_shift_in_their_own_frames() -> None:
    at_50, at_25 = make_clip(seed=4, fps=50, shift_frames=6), make_clip(seed=4, shift_frames=3)
    assert len(at_50.mouth) == 2 * len(at_25.mouth)
    assert np.array_equal(sound_of(at_50), sound_of(at_25))


def test_a_shift_beyond_the_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="shift of 26 frames"):
        make_clip(seed=1, shift_frames=26)


def test_the_demonstration_shows_the_offsets_it_claims(rendered: list[DemoClip]) -> None:
    assert [clip.expected_offset for clip in rendered] == [0, EARLY_FRAMES, 0]
    for seed, clip in enumerate(rendered, start=1):
        take = make_clip(seed=seed)
        assert probe(clip.path).n_frames == len(take.mouth) > 100
        opening = seen_opening(clip.path, take.boxes[0])
        assert abs(found_offset(opening, read_pcm(clip.path)) - clip.expected_offset) <= 1


@pytest.mark.slow
def test_the_built_in_model_finds_the_offsets(rendered: list[DemoClip]) -> None:
    models = load_models("mini")
    scores = [score_video(clip.path, PROTOCOLS["wav2lip"], models) for clip in rendered]
    assert [score.offset for score in scores] == [clip.expected_offset for clip in rendered]


def test_the_distorted_clip_is_its_reference_distorted(rendered: list[DemoClip]) -> None:
    clip = rendered[2]
    assert clip.reference is not None
    pairs = zip(frames_at(clip.path), frames_at(clip.reference), strict=True)
    psnr = [peak_signal_noise_ratio(clean, bad) for bad, clean in pairs]
    # Noise of 8 levels alone is 20 log10(255 / 8) = 30.1 dB; the blur takes a little more.
    assert min(psnr) > 27.5 and max(psnr) < 31.5


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    mine = [tmp_path / name for name in ("demo_in_sync.mp4", "demo_distorted.mp4", "reference/demo_distorted.mp4")]
    (tmp_path / "reference").mkdir()
    for path in mine:
        path.write_bytes(b"mine")
    result = CliRunner().invoke(app, ["demo", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert [path.read_bytes() for path in mine] == [b"mine"] * 3
    early = tmp_path / "demo_audio_early.mp4"
    lines = result.output.splitlines()
    assert lines[0].startswith(f"kept {mine[0]}: offset +0")
    assert lines[1].startswith(f"rendered {early}: offset +{EARLY_FRAMES}")
    assert probe(early).n_frames > 100
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*mine, early}  # nothing half written


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    result = CliRunner().invoke(app, ["demo", str(blocked)])
    assert (result.exit_code, "a file" in result.stderr) == (3, True), result.stderr
