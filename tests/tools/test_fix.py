"""`lipscore fix` on audio that was truly shifted, and every reason to leave a video alone."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lipscore import score_video
from lipscore.demo.clips import render_clip
from lipscore.eval.cli.main import app
from lipscore.eval.setup import Models, Setup
from lipscore.eval.tools import fix as task
from lipscore.eval.tools.fix import fix, why_not
from lipscore.media import edit, ffmpeg, read
from lipscore.syncnet.protocols import PROTOCOLS, change
from lipscore.types import TrackScore

WAV2LIP = PROTOCOLS["wav2lip"]


@pytest.fixture(scope="module")
def clip(shared: Path) -> Path:
    return shared / "clips/talking/1p_closeup_facingcamera/10_woman_doctor.mp4"


def lag(later: np.ndarray, earlier: np.ndarray) -> int:
    """By how many samples `later` comes after `earlier`, by cross-correlation."""
    n = min(len(later), len(earlier))
    spectra = np.fft.rfft(later[:n].astype(float), 2 * n) * np.conj(np.fft.rfft(earlier[:n].astype(float), 2 * n))
    peak = int(np.argmax(np.fft.irfft(spectra)))
    return peak if peak < n else peak - 2 * n


@pytest.mark.parametrize("frames", [5, -5, 12])
def test_audio_is_shifted_by_the_time_asked_for(clip: Path, tmp_path: Path, frames: int) -> None:
    target = tmp_path / "shifted.mp4"
    copied = edit.shift_audio(clip, target, Fraction(frames, 25)).copied
    assert copied == (frames < 0)
    assert lag(read.read_pcm(target), read.read_pcm(clip)) == pytest.approx(640 * frames, abs=1)
    pictures = [ffmpeg.run_ffmpeg([*ffmpeg.input_args(p), "-map", "0:v", "-f", "md5", "-"], p) for p in (clip, target)]
    assert pictures[0] == pictures[1]


def test_formats_without_edit_lists_are_encoded(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "shifted.mkv"
    assert not edit.shift_audio(clip, target, Fraction(-5, 25)).copied
    assert lag(read.read_pcm(target), read.read_pcm(clip)) == pytest.approx(-3200, abs=1)


@pytest.mark.parametrize(("frames", "audio"), [(5, "encoded"), (-4, "copied")])
def test_a_shifted_video_is_mended(clip: Path, mini_models: Models, tmp_path: Path, frames: int, audio: str) -> None:
    off, target = tmp_path / "it's off.mp4", tmp_path / "to" / "mended.mp4"
    edit.shift_audio(clip, off, Fraction(-frames, 25))
    done = fix(off, target, Setup(WAV2LIP, mini_models))
    assert (done.verdict, done.audio, done.before.offset) == ("fixed", audio, frames), done.message
    assert f"offset {frames:+d} -> 0" in done.message
    assert score_video(target, WAV2LIP, mini_models).offset == 0
    assert [path.name for path in target.parent.iterdir()] == ["mended.mp4"]


@pytest.mark.parametrize(
    ("lse_c", "verdict"), [(None, "fixed"), ((10.0, 9.71), "fixed"), ((10.0, 9.69), "not_better"), ((2, 3), "fixed")]
)
def test_the_lse_c_may_fall_by_three_hundredths(
    talk: Path,
    mini_models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lse_c: tuple[float, float] | None,
    verdict: str,
) -> None:
    """A drawn head whose audio comes 3 frames early; lse_c, where given, replaces what is measured before and after."""
    if lse_c is not None:
        monkeypatch.setattr(task, "_confidences", lambda *_: lse_c)
    target = tmp_path / "out.mp4"
    done = task.fix(talk, target, Setup(PROTOCOLS["lipscore-1"], mini_models))
    assert (done.verdict, target.exists()) == (verdict, verdict == "fixed"), done.message
    assert done.after is not None and done.after.offset == 0


def test_a_video_in_sync_is_left_alone(clip: Path, mini_models: Models, tmp_path: Path) -> None:
    done = fix(clip, tmp_path / "out.mp4", Setup(WAV2LIP, mini_models))
    assert done.verdict == "in_sync"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frames", "factor", "message"),
    [
        (4, Fraction(1, 2), "the offset is then -2"),
        (2, Fraction(3, 2), "(copied), but the offset is then"),
    ],
)
def test_a_result_that_scores_no_better_is_not_kept(
    clip: Path,
    mini_models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frames: int,
    factor: Fraction,
    message: str,
) -> None:
    off = tmp_path / "off.mp4"
    edit.shift_audio(clip, off, Fraction(frames, 25))
    true_shift = edit.shift_audio
    monkeypatch.setattr(edit, "shift_audio", lambda source, target, delay: true_shift(source, target, delay * factor))
    done = fix(off, tmp_path / "out.mp4", Setup(WAV2LIP, mini_models))
    assert (done.verdict, message in done.message) == ("not_better", True), done.message
    assert [path.name for path in tmp_path.iterdir()] == ["off.mp4"]


def test_audio_that_ends_a_frame_off_is_moved_once_more(
    clip: Path, mini_models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off, target = tmp_path / "off.mp4", tmp_path / "out.mp4"
    edit.shift_audio(clip, off, Fraction(4, 25))
    true_shift = edit.shift_audio
    monkeypatch.setattr(edit, "shift_audio", lambda source, to, delay: true_shift(source, to, delay + Fraction(1, 25)))
    done = fix(off, target, Setup(WAV2LIP, mini_models))
    assert (done.verdict, "moved the audio 200 ms earlier" in done.message) == ("fixed", True), done.message
    assert score_video(target, WAV2LIP, mini_models).offset == 0


@pytest.mark.parametrize("delay", [Fraction(-1, 50), Fraction(1, 50)])
def test_what_lies_within_the_models_error_is_left_alone(
    clip: Path, mini_models: Models, tmp_path: Path, delay: Fraction
) -> None:
    off = tmp_path / "off.mp4"
    edit.shift_audio(clip, off, delay)  # half a frame
    done = fix(off, tmp_path / "out.mp4", Setup(WAV2LIP, mini_models))
    assert done.verdict == "in_sync" and not (tmp_path / "out.mp4").exists()
    assert done.before.offset == 0 or "within the error of model mini, 1 frames" in done.message


def track(lse_c: float, offset: int, number: int = 0) -> TrackScore:
    return TrackScore(number, 0, 99, offset, 7.0, lse_c, 95, (0.0,) * 31)


@pytest.mark.parametrize(
    ("tracks", "reason"),
    [
        ([track(2.9, 4)], "too low to trust"),
        ([track(6.0, 15)], "search wider with --vshift 30"),
        ([track(6.0, -15)], "search wider with --vshift 30"),
        ([track(6.0, 4), track(5.0, -3, 1)], "different shifts (-3, +4)"),
        ([track(6.0, 4), track(1.0, -3, 1)], ""),
        ([track(6.0, 4), track(5.0, 5, 1)], ""),
        ([track(3.0, 14)], ""),
    ],
)
def test_when_an_offset_is_not_trusted(tracks: list[TrackScore], reason: str) -> None:
    assert reason in why_not(tracks, 3.0)
    assert bool(why_not(tracks, 3.0)) == bool(reason)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-map", "0:v", "-map", "1:a", "-shortest"],
            "no audible speech",
        ),
        (["-vf", "fps=30", "-c:a", "copy"], "30 frames a second were taken for 25"),
    ],
)
def test_an_offset_that_means_nothing_moves_no_audio(
    mini_models: Models, tmp_path: Path, options: list[str], reason: str
) -> None:
    crop, made = tmp_path / "crop.mp4", tmp_path / "made.mkv"
    render_clip(crop, seed=3, seconds=3, size=(224, 224))
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(crop), *options, f"file:{made}"], made)
    setup = Setup(change(PROTOCOLS["wav2lip-lrs"], {"vshift": 30}), mini_models)
    done = fix(made, tmp_path / "out.mkv", setup, min_confidence=0.0)
    assert done.verdict == "refused" and reason in done.message, done.message
    assert not (tmp_path / "out.mkv").exists()


def test_the_command_reports_a_refusal(clip: Path, tmp_path: Path) -> None:
    off = tmp_path / "off.mp4"
    edit.shift_audio(clip, off, Fraction(4, 25))
    run, out = CliRunner(), tmp_path / "out.mp4"
    common = ["fix", str(off), "--out", str(out), "--model", "mini"]
    result = run.invoke(app, [*common, "--min-confidence", "20"])
    assert (result.exit_code, result.stdout.split(":")[0]) == (1, "refused")
    assert run.invoke(app, ["fix", str(off), "--out", str(off), "--model", "mini", "--overwrite"]).exit_code == 2
    shutil.copy(clip, out)
    assert run.invoke(app, common).exit_code == 2
    assert out.read_bytes() == clip.read_bytes()
