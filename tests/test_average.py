"""Means with their n, intervals over videos, and two runs compared, against numpy and plain resampling."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipscore.eval.store.average import average, compare
from lipscore.metrics import reduce

rows_of_videos = st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=4), min_size=2, max_size=8)


def found_in(lines: list[str], title: str) -> tuple[float, int]:
    match = next(match for line in lines if (match := re.match(rf"avg\. {title}: (\S+) \(n=(\d+)\)", line)))
    return float(match[1]), int(match[2])


def test_mean_leaves_out_what_is_no_number() -> None:
    assert reduce.mean([1.0, math.nan, 4.0, math.inf]) == reduce.Mean(2.5, 2)
    nothing = reduce.mean([math.nan])
    assert math.isnan(nothing.value) and nothing.n == 0


@settings(max_examples=25)
@given(rows_of_videos)
def test_interval_lies_between_the_extreme_videos_and_repeats(videos: list[list[float]]) -> None:
    interval = reduce.bootstrap_mean(videos, seed=3)
    assert interval == reduce.bootstrap_mean(videos, seed=3)
    means = [np.mean(rows) for rows in videos]
    assert min(means) - 1e-9 <= interval.low <= interval.high <= max(means) + 1e-9


def test_interval_resamples_whole_videos() -> None:
    """Ten copies of a video's row are one video still; a loop over resamples says the same."""
    rng = np.random.default_rng(5)
    videos = [list(np.full(10, value)) for value in rng.normal(6, 2, 12)] + [[4.0, math.nan]]
    drawn = []
    for _ in range(4000):
        chosen = [videos[k] for k in rng.integers(0, len(videos), len(videos))]
        drawn.append(np.mean([value for rows in chosen for value in rows if not math.isnan(value)]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    interval = reduce.bootstrap_mean(videos)
    assert interval.low == pytest.approx(low, abs=0.12) and interval.high == pytest.approx(high, abs=0.12)


def test_paired_difference_is_that_of_the_pairs() -> None:
    a = list(np.random.default_rng(0).normal(7, 3, 40))
    b = [value - 0.2 + 0.01 * math.sin(k) for k, value in enumerate(a)]
    result = reduce.paired([*a, math.nan], [*b, 3.0])
    assert result.n == 40 and result.difference == pytest.approx(np.mean(b) - np.mean(a))
    assert -0.21 < result.interval.low < result.difference < result.interval.high < -0.19
    with pytest.raises(ValueError, match="come in pairs"):
        reduce.paired([1.0], [])


def test_one_video_has_no_interval() -> None:
    assert math.isnan(reduce.bootstrap_mean([[1.0, 2.0]]).low)


def line(name: str, lse_d: float, lse_c: float, psnr: str = "nan", track: int = 0, protocol: str = "wav2lip") -> str:
    return f"{lse_d} {lse_c} {psnr} 0.9  # {name} track={track} offset=0 protocol={protocol} model=vgg\n"


def test_the_means_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    path.write_text(
        line("a", 7, 6, "30") + line("a", 9, 4, "30", 1) + line("b", 6, 8, "36") + "# c no_face none seen\n"
    )
    report = average(path)
    lines, warnings = report.lines, report.warnings
    assert lines[0] == "avg. LSE-D: 7.333333 (n=3)"
    assert found_in(lines, "LSE-C") == (6.0, 3)
    assert found_in(lines, "PSNR") == (33.0, 2), "a video's PSNR counts once, not once for each of its tracks"
    assert lines[-1] == "3 rows of 2 videos; not scored: 1 (1 no_face)"
    assert not warnings


def test_bootstrap_adds_the_interval_and_changes_no_mean(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    path.write_text("".join(line(f"v{k}", 6 + k % 3, 6) for k in range(30)))
    plain = average(path).lines
    lines = average(path, bootstrap=True).lines
    assert lines[0].startswith(plain[0])
    low, high = map(float, re.findall(r"95 %: (\S+) to ([\d.]+)", lines[0])[0])
    # 1.96 standard errors of values 6, 7, 8 in equal parts
    assert low == pytest.approx(7 - 0.29, abs=0.04) and high == pytest.approx(7 + 0.29, abs=0.04)
    assert "PSNR: nan (n=0)" in lines[2]


def test_older_files_and_malformed_lines(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_text("7 6\nbroken\n8 5\n")
    report = average(path)
    lines, warnings = report.lines, report.warnings
    assert lines[0] == "avg. LSE-D: 7.500000 (n=2)" and "line 2" in warnings[0]
    assert report.incomplete


def test_averaging_incomparable_rows_warns(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    path.write_text(line("a", 7, 6) + line("a", 7, 6) + line("b", 7, 6, protocol="joonson"))
    warnings = average(path).warnings
    assert any("protocol=joonson" in warning for warning in warnings)
    assert any("more than once" in warning for warning in warnings)


def test_two_runs_video_by_video(tmp_path: Path) -> None:
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text("".join(line(f"v{k}", 7 + k, 5, "30") for k in range(12)) + line("gone", 1, 1))
    b.write_text("".join(line(f"v{k}", 6.5 + k + k % 2 / 10, 5.0 + (-1) ** k, "29.5") for k in reversed(range(12))))
    report = compare(a, b)
    lines, warnings = report.lines, report.warnings
    assert "videos in both: 12" in lines
    by_title = {text.split(":")[0]: text for text in lines}
    assert "B - A -0.450000" in by_title["LSE-D"] and by_title["LSE-D"].endswith("B is better")
    assert by_title["LSE-C"].endswith("no clear difference")
    assert by_title["PSNR"].endswith("A is better"), "higher PSNR is better"
    assert warnings == ["only in A (1): gone"]


def test_files_without_names_are_paired_line_by_line(tmp_path: Path) -> None:
    a, b, short = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "short.txt"
    a.write_text("7 6\n8 5\n")
    b.write_text("6 6\n7 5\n")
    short.write_text("6 6\n")
    report = compare(a, b)
    lines, warnings = report.lines, report.warnings
    assert "B - A -1.000000" in lines[3] and "line by line" in warnings[0]
    report = compare(a, short)
    lines, warnings = report.lines, report.warnings
    assert "videos in both: 0" in lines and "nothing can be paired" in warnings[0]


def test_runs_of_different_protocols_are_called_not_comparable(tmp_path: Path) -> None:
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text(line("v", 7, 6))
    b.write_text(line("v", 7, 6, protocol="mochabench"))
    warnings = compare(a, b).warnings
    assert any("not comparable" in warning and "mochabench" in warning for warning in warnings)
