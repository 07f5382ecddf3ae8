"""`lipscore detect` and `fix --max-offset`: real files whose sound is moved by seconds, or is another's."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from lipscore.demo.clips import render_clip
from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.options import DetectOptions
from lipscore.eval.setup import Setup
from lipscore.eval.tools.longrange.answers import answer_of, drift_of, trace_of
from lipscore.eval.tools.longrange.detect import detect
from lipscore.eval.tools.longrange.detection import Detection, agreement, sentence
from lipscore.eval.tools.longrange.mend import mend
from lipscore.media import edit, ffmpeg, read
from lipscore.metrics.longrange import ShiftSums
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.models.sync_pass import Embedder
from lipscore.syncnet.models.wide_pass import LipStream, Sound, WidePass
from lipscore.syncnet.protocols import PROTOCOLS

if TYPE_CHECKING:
    from lipscore import Models

REACH = 125


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn head that talks for 9 seconds, in sync."""
    path = tmp_path_factory.mktemp("wide") / "nine.mp4"
    render_clip(path, seed=7, seconds=9, size=(320, 320))
    return path


@pytest.fixture(scope="module")
def setup(mini_models: Models) -> Setup:
    return Setup(PROTOCOLS["lipscore-1"], mini_models)


@pytest.fixture(scope="module")
def boxes(clip: Path, setup: Setup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clip's boxes, so that its copies need no detector."""
    from lipscore.eval.score import score_video
    from lipscore.eval.trace import Trace

    trace = Trace()
    assert score_video(clip, setup, trace=trace).status == "ok"
    assert trace.faces is not None
    rows = [[[*map(float, face.box_xyxy), face.score] for face in frame] for frame in trace.faces.boxes]
    folder = tmp_path_factory.mktemp("boxes")
    for name in ("nine", "moved", "other", "silent"):
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def given(setup: Setup, boxes: Path) -> Setup:
    from lipscore.faces.given import GivenBoxes

    return setup.with_detector(GivenBoxes(boxes).for_video)


def moved(clip: Path, folder: Path, frames: int) -> Path:
    """The clip with its sound `frames` earlier."""
    target = folder / "moved.mp4"
    edit.shift_audio(clip, target, Fraction(-frames, 25))
    return target


@pytest.mark.parametrize("frames", [55, -70])
def test_seconds_are_found_and_mended(clip: Path, given: Setup, tmp_path: Path, frames: int) -> None:
    off = moved(clip, tmp_path, frames)
    found = detect(off, given, DetectOptions(compare=True, trace=True))
    assert found.status == "found" and found.offset is not None and abs(found.offset - frames) <= 1, found
    record = found.as_json()
    assert record["offset_seconds"] == found.offset / 25 and record["audio_leads"] == (frames > 0)
    assert record["compare"]["agreement"] == "outside +-15: SyncNet's search cannot see it"
    assert abs(record["offset_subframe"] - found.offset) <= 0.5
    assert len(record["trace"]) == 9 and record["tracks"][0]["offset_frames"] == found.offset
    target = tmp_path / "mended.mp4"
    done = mend(off, target, given.with_detector(lambda _: given.models.detector_for(off)), DetectOptions())
    assert done.verdict == "fixed", done.message
    # an MP4's edit list moves sound earlier without encoding it; sound that moves later is encoded
    assert ("(encoded)" if frames > 0 else "(copied)") in done.message
    assert detect(target, given.with_detector(lambda _: given.models.detector_for(off))).offset == 0


def test_the_same_answer_as_the_narrow_search_where_it_sees(clip: Path, given: Setup) -> None:
    found = detect(clip, given, DetectOptions(compare=True))
    assert found.offset is not None and abs(found.offset) <= 1
    assert agreement(found) == "agree"


def test_a_whole_file_counts_at_25_whatever_its_rate(mini_models: Models, tmp_path: Path) -> None:
    plain, double = tmp_path / "plain.mp4", tmp_path / "double.mkv"
    render_clip(plain, seed=3, seconds=2, size=(224, 224))
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(plain), "-vf", "fps=50", "-c:a", "copy", f"file:{double}"], double)
    setup = Setup(PROTOCOLS["wav2lip-lrs"], mini_models)
    found = [detect(path, setup, DetectOptions(compare=True)) for path in (plain, double)]
    assert [(one.tracks[0].first_frame, one.tracks[0].last_frame) for one in found] == [(0, 49)] * 2


def test_another_recordings_sound_gets_no_offset(clip: Path, given: Setup, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.mp4"
    render_clip(stranger, seed=91, seconds=9, size=(160, 160))
    other = tmp_path / "other.mp4"
    edit.join(clip, stranger, other)
    found = detect(other, given)
    assert found.status == "unknown" and found.offset is None and "an answer needs" in found.reason, found
    assert found.as_json()["best"]["offset_frames"] == found.answer.peak.offset  # type: ignore[union-attr]
    assert mend(other, tmp_path / "no.mp4", given, DetectOptions()).verdict == "refused"
    assert not (tmp_path / "no.mp4").exists()


def test_a_photograph_gets_no_offset(clip: Path, given: Setup, tmp_path: Path) -> None:
    frozen = tmp_path / "other.mp4"
    freeze = "trim=end_frame=1,loop=224:1,setpts=N/25/TB"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-vf", freeze, "-r", "25", f"file:{frozen}"], frozen)
    found = detect(frozen, given)
    assert found.status == "unknown" and "no speech-like motion" in found.reason
    assert mend(frozen, tmp_path / "no.mp4", given, DetectOptions()).verdict == "refused"
    assert not (tmp_path / "no.mp4").exists()


def test_silence_gets_no_offset(clip: Path, given: Setup, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mkv"
    sound = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-map", "0:v", "-map", "1:a", "-shortest"]
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), *sound, "-c:v", "copy", f"file:{silent}"], silent)
    found = detect(silent, given)
    assert (found.status, found.reason) == ("unknown", "no audible speech: the audio is silent")


def test_the_sound_around_a_track_counts(clip: Path, mini_models: Models) -> None:
    """A pass over part of the frames, beside all of the sound: full overlap, and blocks change nothing."""
    towers, pcm = mini_models.sync, read.read_pcm(clip)
    assert isinstance(towers, Embedder)
    frames = np.stack([np.resize(frame, (224, 224, 3)) for frame in read.frames_at(clip)])[60:160]
    sound = Sound(towers, mfcc(pcm), len(pcm))
    sums = []
    for size in (100, 17):
        one = WidePass(towers, sound, 60, 40)
        for start in range(0, 100, size):
            one.feed(frames[start : start + size])
        one.finish()
        assert one.n_windows == 96 and len(one.steps) == 4
        sums.append(one.total())
    assert (sums[0].count == 96).all() and (sums[1].count == 96).all()
    np.testing.assert_allclose(sums[1].total, sums[0].total, atol=2e-3)


def test_embeddings_do_not_depend_on_the_blocks(
    clip: Path, mini_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipscore.syncnet.models import wide_pass

    towers, pcm = mini_models.sync, read.read_pcm(clip)
    assert isinstance(towers, Embedder)
    rows = mfcc(pcm)
    whole, first = Sound(towers, rows, len(pcm)).around(-5, 10**6)
    monkeypatch.setattr(wide_pass, "BLOCK", 40)
    blocks = Sound(towers, rows, len(pcm))
    np.testing.assert_allclose(blocks.around(0, len(blocks))[0], whole, atol=1e-5)
    np.testing.assert_allclose(blocks.around(95, 130)[0], whole[95:130], atol=1e-5)
    assert first == 0 and len(blocks._blocks) <= wide_pass.KEPT
    stream = LipStream(towers)
    assert len(stream.feed(np.zeros((3, 224, 224, 3), np.uint8))) == 0 and len(stream.rest()) == 0


def test_a_finished_track_holds_no_crops(mini_models: Models) -> None:
    towers, crops = mini_models.sync, np.ones((40, 224, 224, 3), np.uint8)
    assert isinstance(towers, Embedder)
    tracemalloc.start()
    streams = [LipStream(towers) for _ in range(3)]
    for stream in streams:
        assert len(stream.feed(crops)) + len(stream.rest()) == 36
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < crops.nbytes / 10 < most


def second(offset: int, rng: np.random.Generator, height: float = 0.3) -> ShiftSums:
    """A second's sums whose sound is `offset` frames early, with the noise that windows have."""
    total = rng.normal(0, 0.15, 2 * REACH + 1) * 5
    total[REACH - offset] += 25 * height
    return ShiftSums(total, np.full(2 * REACH + 1, 25))


@pytest.mark.parametrize("per_minute", [12.0, -20.0])
def test_drift(per_minute: float) -> None:
    """Frames a minute over four minutes, from -1 on: the slope's interval holds the truth, the ppm follow."""
    rng = np.random.default_rng(4)
    seconds = {at: second(round(-1 + per_minute * (at + 0.5) / 60), rng) for at in range(240)}
    drift = drift_of(seconds, 0.8)
    assert drift is not None and drift.steady
    assert drift.low <= per_minute * 40 + 4 and drift.high >= per_minute * 40 - 4
    assert drift.per_minute == pytest.approx(per_minute * 40, rel=0.1)
    record = drift.as_json()
    assert record["ppm"] == pytest.approx(record["ms_per_minute"] * 1000 / 60, rel=0.01)
    limit = 45 if per_minute > 0 else -125  # ITU-R BT.1359-1
    assert drift.detectable_at == pytest.approx((limit + 40) / (per_minute * 40 / 60), abs=6)


def test_no_drift_is_not_called_one() -> None:
    rng = np.random.default_rng(6)
    drift = drift_of({at: second(3, rng) for at in range(120)}, 0.8)
    assert drift is not None and not drift.steady and drift.detectable_at is None
    assert drift_of({at: second(3, rng) for at in range(20)}, 0.8) is None


def test_the_trace_shows_where_a_file_was_cut_wrong() -> None:
    rng = np.random.default_rng(9)
    seconds = {at: second(0 if at < 30 else 80, rng) for at in range(60)}
    offsets = [window.found.peak.offset for window in trace_of(seconds, 0.8) if window.found.peak is not None]
    assert offsets[:28] == [0] * 28 and offsets[33:] == [80] * 27


def test_an_offset_at_the_edge_is_no_answer() -> None:
    rng = np.random.default_rng(2)
    sums = sum((second(REACH, rng) for _ in range(30)), ShiftSums.none(REACH))
    found = answer_of(sums, 0.8)
    assert found.status == "unknown" and "--max-offset 250" in found.trouble


def test_the_command_line(clip: Path, boxes: Path, tmp_path: Path) -> None:
    off, runner = moved(clip, tmp_path, 30), CliRunner()
    common = ["--model", "mini", "--device", "cpu", "--detections", str(boxes)]
    ran = runner.invoke(app, ["detect", str(off), *common, "--json"])
    assert ran.exit_code == 0, ran.output
    record = json.loads(ran.stdout)  # nothing else on standard output
    assert abs(record["offset_frames"] - 30) <= 1 and record["status"] == "found" and "trace" not in record
    out = tmp_path / "out" / "offsets.jsonl"
    ran = runner.invoke(app, ["detect", str(off), str(tmp_path / "gone.mp4"), *common, "--output", str(out), "-v"])
    assert ran.exit_code == 1 and "no such file" in ran.stdout and "delay the audio by" in ran.stdout
    assert [json.loads(line)["status"] for line in out.read_text().splitlines()] == ["found", "media_error"]
    assert out.with_suffix(".csv").read_text().splitlines()[0].startswith("video,status,offset_frames")
    for wrong in (["--output", str(tmp_path / "in.jsonl")], ["--method", "head"], ["--max-offset", "0"]):
        assert runner.invoke(app, ["detect", str(tmp_path), *common, *wrong]).exit_code == 2


def test_words() -> None:
    assert sentence(-38).startswith("the audio is 1.52 s late: advance")
    blank = Detection("a b.mp4", "unknown", "", "mini", "lipscore-1", "root-n", 125)
    assert agreement(blank) == "not compared"
    assert json.loads(json.dumps(replace(blank, drift=None).as_json()))["offset_frames"] is None
    with pytest.raises(UsageError, match="min_confidence"):
        DetectOptions(min_confidence=1.5)
