"""`lipscore filter`: the decision by the issue's table, and the folders and the results file of a real run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.tools.filter import PRESETS, Limits, decide, limits
from lipscore.types import Status, TrackScore, VideoScore


def scored(*tracks: tuple[float, int], status: Status = "ok") -> VideoScore:
    found = tuple(TrackScore(k, 0, 99, offset, 7.0, lse_c, 95, ()) for k, (lse_c, offset) in enumerate(tracks))
    return VideoScore("v.mp4", "v", "", status, "why", "wav2lip", "vgg", True, tracks=found)


@pytest.mark.parametrize(
    ("preset", "confidence", "offset"), [("strict", 8, 2), ("high", 6, 3), ("medium", 4, 5), ("relaxed", 2, 8)]
)
def test_presets_are_inclusive(preset: str, confidence: float, offset: int) -> None:
    limit = PRESETS[preset]
    for sign in (1, -1):
        assert decide(scored((confidence, sign * offset)), limit) == ("good", [])
        decision, reasons = decide(scored((confidence - 0.001, sign * (offset + 1))), limit)
        assert (decision, len(reasons)) == ("poor", 2)


def test_the_most_confident_track_decides() -> None:
    assert decide(scored((1.0, 14), (6.5, 1)), PRESETS["high"])[0] == "good"
    assert decide(scored((5.0, 0), (6.5, 9)), PRESETS["high"])[0] == "poor"


@pytest.mark.parametrize(
    ("status", "decision"),
    [("no_face", "no_face"), ("no_track", "no_face"), ("too_short", "failed"), ("media_error", "failed")],
)
def test_without_a_score(status: Status, decision: str) -> None:
    found, reasons = decide(scored(status=status), PRESETS["medium"])
    assert found == decision
    assert "why" in reasons[0]


@given(st.floats(0, 12), st.integers(-15, 15))
def test_a_good_video_stays_good_under_a_laxer_preset(confidence: float, offset: int) -> None:
    order = [decide(scored((confidence, offset)), PRESETS[name])[0] for name in ("strict", "high", "medium", "relaxed")]
    assert order == sorted(order, reverse=True)  # poor before good


def test_limits_given_replace_the_presets() -> None:
    assert limits("high", None, None) == Limits(6.0, 3)
    assert limits("high", 1.5, None) == Limits(1.5, 3)
    assert limits("high", None, 0) == Limits(6.0, 0)
    for wrong in (("best", None, None), ("high", None, -1)):
        with pytest.raises(UsageError):
            limits(*wrong)


@pytest.fixture(scope="module")
def videos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of one name in two folders, one video without a face, and a text file named .mp4."""
    folder = tmp_path_factory.mktemp("in")
    clips = shared / "clips/talking/1p_closeup_facingcamera"
    for place in ("one", "the 'other'"):
        (folder / place).mkdir()
        shutil.copy(clips / "10_woman_doctor.mp4", folder / place / "talk.mp4")
    (folder / "text.mp4").write_text("no video")
    return folder


def run(videos: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["filter", str(videos), "-o", str(out), "--model", "mini", *more])


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "sync_filter_results.json").read_text())
    return found


def placed(out: Path) -> list[str]:
    return sorted(str(p.relative_to(out)) for p in out.glob("*_quality/**/*") if not p.is_dir())


def test_a_folder_is_sorted_and_sorted_again(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(videos, out, "--preset", "relaxed")
    assert first.exit_code == 1, first.output  # the text file could not be scored
    assert placed(out) == ["good_quality/one/talk.mp4", "good_quality/the 'other'/talk.mp4"]
    link = out / "good_quality/one/talk.mp4"
    assert link.is_symlink() and link.samefile(videos / "one/talk.mp4")
    found = results(out)
    assert found["counts"] == {"total": 3, "good": 2, "poor": 0, "no_face": 0, "failed": 1}
    assert found["settings"] | {"preset": "relaxed", "min_confidence": 2.0, "max_abs_offset": 8} == found["settings"]
    by_name = {video["name"]: video for video in found["videos"]}
    assert by_name["one/talk.mp4"]["tracks"][0]["offset"] == 0
    assert by_name["text"]["decision"] == "failed"
    assert "media_error" in by_name["text"]["reasons"][0]

    second = run(videos, out, "--min-confidence", "9", "--copy")
    assert second.stderr.count("scored before") == 2
    assert placed(out) == ["poor_quality/one/talk.mp4", "poor_quality/the 'other'/talk.mp4"]
    assert not (out / "poor_quality/one/talk.mp4").is_symlink()
    assert results(out)["videos"][0]["reasons"][0].endswith("is below 9")
    assert (videos / "one/talk.mp4").stat().st_size > 1e5

    third = run(videos, out, "--keep-all")
    assert third.exit_code == 1
    assert placed(out) == ["poor_quality/one/talk.mp4", "poor_quality/the 'other'/talk.mp4"]
    assert {video["placed"] for video in results(out)["videos"]} == {None}


@pytest.mark.slow
def test_workers_give_what_one_gives(videos: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(videos, one).exit_code == run(videos, two, "--workers", "2").exit_code == 1
    assert results(one)["videos"] == results(two)["videos"]
    assert not list(two.glob("run-*"))


def test_a_url_is_nothing_to_link(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["filter", "https://127.0.0.1:1/a.mp4", "-o", str(tmp_path / "out"), "--copy"])
    assert result.exit_code == 2 and "https://127.0.0.1:1/a.mp4: there is no file to link or copy" in result.stderr


def test_wrong_options(videos: Path, tmp_path: Path) -> None:
    assert run(videos, videos / "out").exit_code == 2
    assert run(videos, tmp_path / "out", "--copy", "--keep-all").exit_code == 2
    assert run(videos, tmp_path / "out", "--preset", "best").exit_code == 2
    assert run(tmp_path / "none", tmp_path / "out").exit_code == 3
