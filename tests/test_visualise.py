"""`lipscore visualise`: the boxes and numbers that are drawn, the audio that is kept, the charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipscore.errors import UsageError
from lipscore.eval.report.chart import Chart, draw, png, ticks
from lipscore.eval.score import score_video as score_setup
from lipscore.eval.setup import Models, Setup
from lipscore.eval.tools.visualise import colour, visualise
from lipscore.eval.trace import Trace, TracedTrack
from lipscore.media import ffmpeg, read
from lipscore.metrics import lse
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import Floats, SyncCurve, TrackScore, VideoScore


@pytest.fixture(scope="module")
def clip(shared: Path) -> Path:
    return shared / "clips/talking/1p_closeup_facingcamera/10_woman_doctor.mp4"


@pytest.fixture(scope="module")
def done(
    clip: Path, mini_models: Models, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], VideoScore, Trace]:
    target = tmp_path_factory.mktemp("seen") / 'it\'s "shown" here.mp4'
    setup, trace = Setup(PROTOCOLS["lipscore-1"], mini_models), Trace()
    record, written = visualise(clip, target, setup)
    score_setup(clip, setup, trace=trace)
    return written, record, trace


def test_boxes_are_where_the_track_is(done: tuple[list[Path], VideoScore, Trace], clip: Path) -> None:
    (video, _), record, keeper = done
    (kept,) = keeper.tracks
    assert kept.track is not None
    plain = list(read.frames_at(clip, 25))
    drawn = list(read.frames_at(video, None))
    assert len(drawn) == len(plain)
    at = 60
    x1, y1, x2, y2 = kept.track.boxes_xyxy[at - kept.score.first_frame].round().astype(int)
    confidence = float(kept.confidence[at - kept.score.first_frame])
    side = drawn[at][(y1 + y2) // 2 - 20 : (y1 + y2) // 2 + 20, x1].reshape(-1, 3).mean(axis=0)
    assert np.abs(side - colour(confidence)).max() < 60  # chroma is halved in the file
    face = np.s_[y1 + 20 : y2 - 20, x1 + 20 : x2 - 20]
    assert np.abs(drawn[at][face].astype(int) - plain[at][face]).mean() < 4
    assert np.abs(drawn[at].astype(int) - plain[at]).mean() > 0.1
    assert record.status == "ok"


def test_the_audio_is_kept(done: tuple[list[Path], VideoScore, Trace], clip: Path) -> None:
    def packets(path: Path) -> bytes:
        return ffmpeg.run_ffmpeg([*ffmpeg.input_args(path), "-map", "0:a", "-c", "copy", "-f", "adts", "-"], path)

    assert packets(done[0][0]) == packets(clip)


def test_a_chart_per_track(done: tuple[list[Path], VideoScore, Trace]) -> None:
    video, chart = done[0]
    assert chart.name == 'it\'s "shown" here.track00.png'
    assert sorted(path.name for path in video.parent.iterdir()) == sorted([video.name, chart.name])
    image = cv2.imread(str(chart))
    assert image.shape == (600, 900, 3)


def curve_of(distances: Floats) -> SyncCurve:
    nothing = np.zeros((0, 13), np.float32)
    return SyncCurve(distances, lse.mean_curve(distances), np.zeros(0, np.float32), nothing)


def test_confidence_of_each_frame() -> None:
    rng = np.random.default_rng(3)
    distances = rng.uniform(5, 12, (40, 31)).astype(np.float32)
    distances[:, 17] -= 4
    mean = distances.mean(axis=0)
    median = np.sort(mean)[15]
    kept = TracedTrack(None, TrackScore(0, 10, 54, -2, 0, float(median - mean[17]), 40, ()), curve_of(distances))
    raw = [0.0] * 4 + [float(median - row[17]) for row in distances] + [0.0] * 4
    by_window = [sorted(raw[k : k + 9])[4] for k in range(40)]
    want = [by_window[min(max(frame - 2, 0), 39)] for frame in range(45)]
    assert np.allclose(kept.confidence, want, atol=1e-4)
    estimated = replace(kept, score=replace(kept.score, lse_c=3 * kept.score.lse_c))
    assert np.allclose(estimated.confidence, 3 * kept.confidence)


def test_windows_without_a_partner_take_the_nearest_confidence() -> None:
    distances = np.random.default_rng(4).uniform(5, 12, (40, 31)).astype(np.float32)
    distances[:, 17] -= 4
    distances[-2:, 17] = np.nan
    score = TrackScore(0, 0, 44, -2, 0, 1, 40, ())
    found = TracedTrack(None, score, curve_of(distances)).confidence
    assert np.isfinite(found).all()
    assert (found[39:] == found[39]).all()


def test_colours_run_from_red_to_green() -> None:
    assert [colour(value) for value in (-3, 0, 5.1, 10.2, 40)] == [
        *((0, 0, 255), (0, 0, 255), (0, 128, 127)),
        *((0, 255, 0), (0, 255, 0)),
    ]


def test_the_video_itself_is_never_written(clip: Path, mini_models: Models, tmp_path: Path) -> None:
    for target in (clip, tmp_path / "out.gif"):
        with pytest.raises(UsageError):
            visualise(clip, target, Setup(PROTOCOLS["lipscore-1"], mini_models))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_even_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 14
    assert low - 1e-6 * span <= found[0] and found[-1] <= low + span + 1e-6 * span + 1e-9
    assert np.allclose(np.diff(found), found[1] - found[0], rtol=1e-3)


def test_a_curve_is_drawn_where_its_values_are() -> None:
    rising = draw([Chart("", "", "", [0, 1, 2, 3], [0, 1, 2, 3])])
    ink = np.abs(rising.astype(int) - (170, 90, 20)).sum(axis=2) < 60
    columns = [np.flatnonzero(ink[:, x]).mean() for x in range(100, 860, 20)]
    assert np.all(np.diff(columns) < 0)
    broken = draw([Chart("", "", "", [0, 1, 2, 3, 4], [1, 1, np.nan, 1, 1])])
    ink = np.abs(broken.astype(int) - (170, 90, 20)).sum(axis=2) < 60
    assert ink[:, 150].any() and not ink[:, 480].any() and ink[:, 800].any()
    assert png(rising).startswith(b"\x89PNG")
