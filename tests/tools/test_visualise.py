"""`lipscore visualise`: the boxes and numbers that are drawn, the audio that is kept, the charts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lipscore.errors import UsageError
from lipscore.eval.report.chart import Chart, figure, png
from lipscore.eval.score import score_video as score_setup
from lipscore.eval.setup import Models, Setup
from lipscore.eval.tools.visualise import _label, charts, colour, visualise
from lipscore.eval.trace import SCALES, Trace, TracedTrack
from lipscore.media import ffmpeg, read
from lipscore.metrics import lse
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import Floats, Frame, SyncCurve, TrackScore, VideoScore


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
    face = np.s_[(y1 + y2) // 2 : y2 - 20, x1 + 20 : x2 - 20]  # below the label, which OpenCV 4 draws larger
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
    assert image is not None
    curve_image, confidence_image = np.split(np.asarray(image, np.uint8), 2)
    assert_dip_at_mark(curve_image)
    assert inked(confidence_image, blue_not_red=True).sum() > 500  # pixels


def inked(image: Frame, blue_not_red: bool) -> NDArray[np.bool_]:
    """Where the curve is (blue) or the mark (red); grid, frame and letters are grey."""
    redness = image[:, :, 2].astype(int) - image[:, :, 0]
    return -redness > 60 if blue_not_red else redness > 60


def assert_dip_at_mark(image: Frame) -> None:
    """The curve's lowest pixel is at the upright line that marks the offset."""
    rows, columns = inked(image, blue_not_red=True).nonzero()
    marked = (inked(image, blue_not_red=False).sum(axis=0) > 50).nonzero()[0]
    assert 1 <= len(marked) <= 3
    assert abs(columns[rows == rows.max()].mean() - marked.mean()) < 6  # a shift is 27 pixels wide


def curve_of(distances: Floats) -> SyncCurve:
    return SyncCurve(distances, lse.mean_curve(distances))


def test_confidence_of_each_frame() -> None:
    rng = np.random.default_rng(3)
    distances = rng.uniform(5, 12, (40, 31)).astype(np.float32)
    distances[:, 17] -= 4
    mean = distances.mean(axis=0)
    median = np.sort(mean)[15]
    kept = TracedTrack(
        None, TrackScore(0, 10, 54, -2, 0, float(median - mean[17]), 40, ()), curve_of(distances), lambda _: (0.0, 0.0)
    )
    raw = [0.0] * 4 + [float(median - row[17]) for row in distances] + [0.0] * 4
    by_window = [sorted(raw[k : k + 9])[4] for k in range(40)]
    want = [by_window[min(max(frame - 2, 0), 39)] for frame in range(45)]
    assert np.allclose(kept.confidence, want, atol=1e-4)
    estimated = replace(kept, score=replace(kept.score, lse_c=3 * kept.score.lse_c), model="mini")
    assert np.allclose(estimated.confidence, SCALES["mini"] * kept.confidence), "one factor, whatever the track's LSE-C"


@pytest.mark.parametrize(("lse_c", "pale"), [(1.5, True), (7.0, False)])
def test_a_track_without_sync_is_pale(lse_c: float, pale: bool) -> None:
    distances = np.random.default_rng(5).uniform(5, 12, (40, 31)).astype(np.float32)
    score = TrackScore(0, 0, 44, 0, 7, lse_c, 40, ())
    kept = TracedTrack(None, score, curve_of(distances), lambda _: (0.0, 0.0), "mini")
    label = _label(kept, 64, 64)
    assert label.pale == pale
    drawn = colour(5.1, pale)
    assert (min(drawn) > 180) == pale


def test_windows_without_a_partner_take_the_nearest_confidence() -> None:
    distances = np.random.default_rng(4).uniform(5, 12, (40, 31)).astype(np.float32)
    distances[:, 17] -= 4
    distances[-2:, 17] = np.nan
    score = TrackScore(0, 0, 44, -2, 0, 1, 40, ())
    found = TracedTrack(None, score, curve_of(distances), lambda _: (0.0, 0.0)).confidence
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


def test_the_charts_axes_hold_what_was_given() -> None:
    above, below = figure(
        [
            Chart("rising", "x", "y", [0, 1, 2, 3], [0.5, 1, np.nan, 3], mark=2, from_zero=True),
            Chart("a $1 \\frac title", "seconds", "frames", [4, 5], [-7, 8], dots=True),
        ]
    ).axes
    mark, curve = above.lines
    np.testing.assert_array_equal(curve.get_xydata(), [[0, 0.5], [1, 1], [2, np.nan], [3, 3]])
    assert np.asarray(mark.get_xdata()).tolist() == [2, 2]
    assert above.get_ylim()[0] == 0 and above.get_ylim()[1] > 3
    assert (above.get_title("left"), above.get_xlabel(), above.get_ylabel()) == ("rising", "x", "y")
    (curve,) = below.lines
    np.testing.assert_array_equal(curve.get_xydata(), [[4, -7], [5, 8]])
    assert curve.get_marker() == "o" and below.get_ylim()[0] < -7
    assert not above.xaxis_inverted() and not below.yaxis_inverted()


@pytest.mark.parametrize("offset", [-11, -4, 3, 12])
def test_the_curve_dips_on_the_offsets_own_side(offset: int) -> None:
    """A positive offset, the audio before the video, lies to the right of 0."""
    distances = np.random.default_rng(5).uniform(9, 9.5, (60, 31)).astype(np.float32)
    distances[:, 15 - offset] = 5  # column k is the shift k - 15; the offset is minus the best shift
    curve = curve_of(distances)
    sync = lse.sync_of(curve.mean)
    score = TrackScore(2, 0, 63, sync.offset, sync.lse_d, sync.lse_c, 60, tuple(map(float, curve.mean)))
    above, below = figure(charts(TracedTrack(None, score, curve, lambda _: (0.0, 0.0)), 25.0, "mini")).axes
    mark, line = above.lines
    x, y = (np.asarray(values) for values in line.get_data())
    assert list(x) == list(range(-15, 16))
    assert x[int(np.argmin(y))] == np.asarray(mark.get_xdata())[0] == offset == sync.offset
    assert above.get_title("left") == f"track 2: LSE-D~ 5.000, LSE-C~ {sync.lse_c:.3f}, offset {offset:+d}"
    assert np.asarray(below.lines[0].get_xdata())[-1] == 63 / 25


def test_a_png_is_900_by_300_a_chart_and_pyplot_is_left_alone() -> None:
    one = Chart("t", "x", "y", [0, 1], [0, 1])
    code = (
        "import sys\nfrom lipscore.eval.report.chart import Chart, png\n"
        "assert 'matplotlib' not in sys.modules\npng([Chart('t', 'x', 'y', [0, 1], [0, 1])])\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    image = cv2.imdecode(np.frombuffer(png([one, one, one]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (900, 900, 3)
    blue = image[..., 0].astype(int) - image[..., 2] > 60
    assert all(part.sum() > 500 for part in np.split(blue, 3))
