"""Milliseconds, standards and gates: the parabola finds what a parabola hides, and a gate fails what it must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lipscore.demo.clips import render_clip
from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.gate import Gate, failures
from lipscore.eval.report.verdict import get_standard, judged
from lipscore.eval.store.records import Record, as_csv, as_json, from_json
from lipscore.metrics import lse
from lipscore.metrics.standards import STANDARDS, words
from lipscore.metrics.subframe import MS_PER_SHIFT, offset_ms, reduce_ms
from lipscore.types import Floats, TrackScore, VideoScore

OK = VideoScore("in/a.mp4", "a", "", "ok", "", "wav2lip", "vgg", True, lse_d=7.0, lse_c=5.0, offset=2, offset_ms=70.0)


def dip(at: float, vshift: int = 15) -> Floats:
    """A parabola over the shifts whose lowest point is at `at`."""
    return (6 + 0.1 * (np.arange(-vshift, vshift + 1) - at) ** 2).astype(np.float32)


@given(st.floats(-14, 14))
def test_a_parabolas_lowest_point_is_found_between_the_frames(at: float) -> None:
    assert offset_ms(dip(at)) == pytest.approx(-at * MS_PER_SHIFT, abs=0.5)


@given(st.lists(st.floats(1, 20, width=32), min_size=1, max_size=31).filter(lambda values: len(values) % 2 == 1))
def test_it_is_within_half_a_frame_of_the_offset_in_frames(values: list[float]) -> None:
    curve = np.array(values, np.float32)
    assert abs(offset_ms(curve) - lse.sync_of(curve).offset * MS_PER_SHIFT) <= MS_PER_SHIFT / 2 + 1e-3


def test_at_an_edge_it_is_the_best_shifts_own() -> None:
    assert offset_ms(dip(-20)) == 15 * MS_PER_SHIFT
    beside_nothing = dip(3)
    beside_nothing[:18] = np.nan
    assert offset_ms(beside_nothing) == -3 * MS_PER_SHIFT
    with pytest.raises(ValueError, match="no offset"):
        offset_ms(np.full(31, np.nan, np.float32))


def test_a_video_takes_the_most_confident_tracks_or_the_mean() -> None:
    tracks = [TrackScore(k, 0, 99, 0, 7.0, 5.0 + k, 95, (), ms) for k, ms in enumerate((10.0, 40.0))]
    assert reduce_ms(tracks, tracks[1], "mean") == 40
    assert reduce_ms(tracks, tracks[1], "mean_offset") == 25
    assert reduce_ms([replace(tracks[0], offset_ms=None), tracks[1]], tracks[1], "mean_offset") is None


@pytest.mark.parametrize(
    ("name", "early", "late"),
    [("itu-detectable", 45, 125), ("itu-acceptable", 90, 185), ("ebu-r37", 40, 60), ("atsc-is191", 15, 45)],
)
def test_the_limits_are_asymmetric_and_included(name: str, early: float, late: float) -> None:
    standard = STANDARDS[name]
    assert standard.within(early) and standard.within(-late)
    assert not standard.within(early + 0.1) and not standard.within(-late - 0.1)


def test_an_offset_is_judged_and_said_in_words() -> None:
    late = replace(OK, name="late", offset_ms=-70.0)
    old = replace(OK, name="old", offset_ms=None)
    failed = replace(OK, name="failed", status="no_face", offset_ms=None)
    line, outside = judged([OK, late, old, failed, replace(OK, offset_ms=1.0)], get_standard("itu-detectable"))
    assert line.endswith("2 of 4 within")
    assert outside[0] == "a: outside ITU-R BT.1359-1, detectable: audio early by 70 ms" and "old: cannot" in outside[1]
    assert words(-70) == "audio late by 70 ms"
    with pytest.raises(UsageError, match="ebu-r37"):
        get_standard("r37")


def test_the_record_carries_milliseconds_and_verdicts_behind_what_was_there() -> None:
    data = as_json(Record(OK))
    assert data["offset_ms"] == 70.0
    assert data["within"] == {
        "itu-detectable": False,
        "itu-acceptable": True,
        "ebu-r37": False,
        "atsc-is191": False,
    }
    assert from_json(data).score == OK
    assert as_csv([Record(OK)]).decode().splitlines()[0].endswith(",seconds,signature,offset_ms,audio")


def test_an_offset_that_means_nothing_is_not_judged() -> None:
    """Silence, and a mouth that does not move, give any offset: 1 ms is inside every limit by chance."""
    silent = replace(OK, name="silent", offset_ms=1.0, silent=True)
    track = TrackScore(0, 0, 99, 0, 7.0, 5.0, 95, (), 1.0, 0.01)
    still = replace(OK, name="still", offset_ms=1.0, tracks=(track,))
    moving = replace(still, name="moving", tracks=(replace(track, mouth_motion=0.2), replace(track, lse_c=4.0)))
    crops = [
        replace(OK, name=f"{fps:g}", offset_ms=1.0, detector="none", fps=fps, duration_s=5.0) for fps in (25.0, 30.0)
    ]
    line, outside = judged([silent, still, moving, *crops], get_standard("itu-detectable"))
    assert line.endswith("2 of 5 within")
    assert [text.partition(":")[0] for text in outside] == ["silent", "still", "30"]
    assert all("cannot be judged" in text for text in outside)
    assert ["within" in as_json(Record(one)) for one in (silent, still, moving)] == [False, False, True]
    gates = [Gate.parse("abs(offset_ms) > 60"), Gate.parse("lse_c < 4")]
    found = failures([silent, still, moving], gates)
    assert [text.partition(":")[0] for text in found] == ["silent", "silent", "still"]
    assert "has no offset_ms (no audible speech)" in found[0] and "has no lse_c" in found[1]


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("abs(offset_ms)>60", True),
        ("abs(offset_ms) > 60 and lse_c < 4", False),
        ("lse_c<4 or lse_d >= 7", True),
        ("not lse_c < 4", True),
        ("4 < lse_c <= 5", True),
        ("4 < lse_c < 5", False),
        ("-offset * 2 + 1 < -2.5", True),
        ("lse_c / (lse_d - 7) > 1", True),  # division by 0 cannot be judged, which is no pass
        ("psnr < 20", True),  # no psnr: neither
    ],
)
def test_a_gate_holds_as_arithmetic_says(text: str, fails: bool) -> None:
    assert bool(failures([OK], [Gate.parse(text)])) is fails


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lse_c",
        "lse_c <",
        "1 < 2",
        "lse_x < 2",
        "lse_c.real < 2",
        "__import__('os').system('true') == 0",
        "exec('1') < lse_c",
        "lse_c ** 2 < 4",
        "(lambda: lse_c)() < 2",
        "[lse_c][0] < 2",
        "lse_c < 'a'",
        "lse_c < True",
        "lse_c is 4",
        "abs(lse_c, 2) < 1",
        "lse_c < " + "9" * 400,
        "lse_c < 1 " + "or lse_c < 1 " * 50,
        "lse_c < 2; lse_d < 2",
    ],
)
def test_what_is_no_condition_on_scores_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="fail_on"):
        Gate.parse(text)


def test_a_gate_says_why_and_ends_the_run_with_1(tmp_path: Path) -> None:
    render_clip(tmp_path / "clip.mp4", seed=3, seconds=1.6, size=(224, 224))
    command = ["score", str(tmp_path / "clip.mp4"), "--protocol", "wav2lip-lrs", "--model", "mini"]
    command += ["--out", str(tmp_path / "out"), "--scores-file", str(tmp_path / "all_scores.txt")]
    passed = CliRunner().invoke(app, [*command, "--fail-on", "lse_d > 100", "--standard", "itu-acceptable"])
    record = json.loads((tmp_path / "out" / "scores.jsonl").read_text())
    within = record["within"]["itu-acceptable"]
    assert passed.exit_code == (0 if within else 1)
    assert f"{int(within)} of 1 within" in passed.stdout
    failed = CliRunner().invoke(app, [*command, "--fail-on", "lse_d > 0"])
    assert failed.exit_code == 1 and f"clip: fails 'lse_d > 0': lse_d = {record['lse_d']:g}" in failed.stderr
    assert CliRunner().invoke(app, [*command, "--fail-on", "nonsense"]).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--standard", "nonsense"]).exit_code == 2
