"""Means with their n, intervals over videos, and two runs compared, against numpy and plain resampling."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.store.average import Report, _verdict, average, compare
from lipscore.eval.store.records import Record
from lipscore.eval.store.scores_file import lines_of
from lipscore.eval.store.summary import summarise
from lipscore.metrics import reduce
from lipscore.metrics.catalogue import LSE_D
from lipscore.types import TrackScore, VideoScore

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


def line(
    name: str,
    lse_d: float,
    lse_c: float,
    psnr: str = "nan",
    track: int = 0,
    protocol: str = "wav2lip",
    model: str = "vgg",
    folder: str = "",
) -> str:
    how = f"protocol={protocol} model={model}" + (f" folder={folder}" if folder else "")
    return f"{lse_d} {lse_c} {psnr} 0.9  # {name} track={track} offset=0 {how}\n"


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
    assert lines[-2:] == ["3 rows of 2 videos; not scored: 1 (1 no_face)", "protocol=wav2lip model=vgg"]
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


def test_methods_protocols_and_models_are_averaged_apart(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    path.write_text(
        line("a", 7, 6, folder="ours")
        + line("b", 9, 6, folder="ours")
        + line("a", 5, 6, folder="wav2lip")
        + line("a", 4, 6, folder='"two words"')
        + line("a", 3, 6, folder="ours", protocol="mochabench")
        + line("a", 2, 6, folder="ours", model="mini")
    )
    report = average(path)
    assert not report.warnings
    heads = [text for text in report.lines if text.endswith(":")]
    assert heads == [
        "folder=ours protocol=wav2lip model=vgg:",
        "folder=wav2lip protocol=wav2lip model=vgg:",
        'folder="two words" protocol=wav2lip model=vgg:',
        "folder=ours protocol=mochabench model=vgg:",
        "folder=ours protocol=wav2lip model=mini:",
    ]
    means = [text.split(": ")[1] for text in report.lines if text.startswith("avg. LSE-D")]
    assert means == ["8.000000 (n=2)", *(f"{value}.000000 (n=1)" for value in (5, 4, 3, 2))]
    assert report.lines[-1].endswith("model=mini: LSE-D and LSE-C are the built-in model's estimates")
    mixed = average(path, mixed=True)
    assert mixed.lines[0] == "avg. LSE-D~: 5.000000 (n=6)"
    assert "though not comparable" in mixed.warnings[0] and "folder=wav2lip" in mixed.warnings[0]
    with pytest.raises(UsageError, match="different kinds"):
        compare(path, path)
    assert compare(path, path, mixed=True).lines


def test_what_is_scored_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "all_scores.txt"
    once = line("a", 7, 6) + line("a", 8, 6, track=1) + line("b", 9, 6) + "# bad media_error broken\n"
    path.write_text(once * 3 + line("bad", 6, 6) + "# b media_error gone\n")
    report = average(path)
    assert report.lines[0] == "avg. LSE-D: 7.000000 (n=3)"
    assert report.lines[-2] == "3 rows of 2 videos; not scored: 1 (1 media_error)"
    assert any("more than once" in warning for warning in report.warnings)
    path.write_text(once * 3)
    assert average(path).lines == average_of(tmp_path, once).lines


def average_of(folder: Path, text: str) -> Report:
    (folder / "once.txt").write_text(text)
    return average(folder / "once.txt")


@pytest.mark.parametrize("model", ["vgg", "mini"])
def test_average_agrees_with_the_run(tmp_path: Path, model: str) -> None:
    """Of videos with several tracks, without a face, without a reference, and without anything."""
    track = TrackScore(0, 0, 99, 0, 7.0, 6.0, 95, ())
    blank = VideoScore("", "", "", "ok", "", "wav2lip", model, False, folder="some folder")
    scores = [
        replace(blank, name="a b", tracks=(track, replace(track, track_id=1, lse_d=9.5)), psnr=30.0, ssim=0.9),
        replace(blank, name="b", tracks=(track,)),
        replace(blank, name="c", status="no_face", reason="none  in 3 frames", psnr=20.0, ssim=0.5),
        replace(blank, name="d", status="media_error", reason="d: a=b"),
    ]
    found = summarise([Record(score) for score in scores], len(scores))
    report = average_of(tmp_path, "".join(f"{text}\n" for score in scores for text in lines_of(score)))
    mark = "~" if model == "mini" else ""
    for title, mean in (
        (f"LSE-D{mark}", found.rows["lse_d"]),
        (f"LSE-C{mark}", found.rows["lse_c"]),
        ("PSNR", found.videos["psnr"]),
        ("SSIM", found.videos["ssim"]),
    ):
        value, n = found_in(report.lines, title)
        assert value == pytest.approx(mean.value, abs=1e-6) and n == mean.n
    assert report.lines[-2] == "3 rows of 2 videos; not scored: 2 (1 no_face, 1 media_error)"


@pytest.mark.parametrize("text", ["1_000 6\n", "\u0667 6\n", "# total error 5\n"])
def test_what_only_python_reads_as_a_number_is_none(tmp_path: Path, text: str) -> None:
    report = average_of(tmp_path, text)
    assert found_in(report.lines, "LSE-D")[1] == 0


# Two runs that differ by nothing but chance


def rejections(n: int, trials: int, noise: Callable[[int], Any]) -> int:
    won = 0
    for _ in range(trials):
        result = reduce.paired([0.0] * n, list(noise(n)))
        won += "better" in _verdict(result, LSE_D)
    return won


def most(trials: int) -> int:
    """Rejections that a test of level 5 % exceeds once in a thousand times."""
    return int(stats.binom.ppf(0.999, trials, 0.05))


@pytest.mark.parametrize("n", [2, 3, 5, 6, 9])
def test_chance_alone_seldom_wins(n: int) -> None:
    rng = np.random.default_rng(n)
    won = rejections(n, 300, lambda n: rng.normal(size=n))
    assert won <= most(300) and (n >= reduce.LEAST_VIDEOS or won == 0)


@pytest.mark.slow
@pytest.mark.parametrize("n", [*range(2, 13), 16, 20, 30, 50])
@pytest.mark.parametrize("kind", ["normal", "laplace", "standard_t"])
def test_the_verdict_holds_its_level(n: int, kind: str) -> None:
    rng = np.random.default_rng([n, len(kind)])
    draw = {
        "normal": lambda n: rng.normal(size=n),
        "laplace": lambda n: rng.laplace(size=n),
        "standard_t": lambda n: rng.standard_t(3, size=n),
    }[kind]
    assert rejections(n, 300, draw) <= most(300)


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(1)
    assert rejections(6, 50, lambda n: rng.normal(3, 1, n)) >= 45
    assert rejections(20, 20, lambda n: rng.normal(1, 1, n)) >= 17


@settings(max_examples=20)
@given(st.lists(st.floats(-9, 9).map(lambda v: round(v, 3)), min_size=2, max_size=8))
def test_the_p_value_is_that_of_all_signs(differences: list[float]) -> None:
    values = np.array(differences)
    signs = np.array(list(itertools.product((1, -1), repeat=len(values))))
    share = np.mean(np.abs((signs * values).mean(axis=1)) >= abs(values.mean()) - 1e-9)
    assert reduce.paired([0.0] * len(values), differences).p == pytest.approx(share if values.any() else 1.0)


def test_two_runs_video_by_video(tmp_path: Path) -> None:
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text("".join(line(f"v{k}", 7 + k, 5, "30") for k in range(12)) + line("gone", 1, 1))
    b.write_text("".join(line(f"v{k}", 6.5 + k + k % 2 / 10, 5.0 + (-1) ** k, "29.5") for k in reversed(range(12))))
    report = compare(a, b)
    lines, warnings = report.lines, report.warnings
    assert "videos in both: 12" in lines
    by_title = {text.split(":")[0]: text for text in lines}
    assert "B - A -0.450000" in by_title["LSE-D"] and "B is better (p=0.000)" in by_title["LSE-D"]
    assert "no clear difference" in by_title["LSE-C"]
    assert "A is better" in by_title["PSNR"], "higher PSNR is better"
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


def test_mixed_folders_are_paired_within_each_folder(tmp_path: Path) -> None:
    """Both folders hold the same names; B is worse by 0.5 on each of the six, and lists them in another order."""
    files = tmp_path / "a.txt", tmp_path / "b.txt"
    for path, step, folders in zip(files, (0.0, 0.5), ("xy", "yx"), strict=True):
        path.write_text(
            "".join(
                f"{7 + i + step + 10 * (folder == 'y'):.6f} 5.0 nan nan  # v{i} track=0 model=vgg folder={folder}\n"
                for folder in folders
                for i in range(3)
            )
        )
    result = compare(*files, mixed=True)
    assert result.lines[2] == "videos in both: 6" and not result.warnings
    assert result.objects[0]["difference"] == pytest.approx(0.5) and result.objects[0]["n"] == 6


def test_json_of_nothing_is_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.touch()
    result = CliRunner().invoke(app, ["average", str(empty), "--json"])
    assert (result.exit_code, result.stdout) == (0, "")


def test_json_has_the_printed_numbers(tmp_path: Path) -> None:
    """Means by numpy, the pair's difference by hand, and nothing for what has no value."""
    paths = [tmp_path / name for name in ("a.txt", "b.txt")]
    for path, step in zip(paths, (0.0, 0.5), strict=True):
        lines = [
            f"{7 + 0.1 * i + step:.6f} 5.0 nan nan  # v{i} track=0 offset=0 protocol=wav2lip model=mini"
            for i in range(12)
        ]
        path.write_text("\n".join([*lines, "# gone no_face nothing  # protocol=wav2lip model=mini"]) + "\n")
    result = CliRunner().invoke(app, ["average", str(paths[0]), "--json"])
    assert result.exit_code == 0, result.output
    (group,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (group["protocol"], group["model"], group["estimates"]) == ("wav2lip", "mini", True)
    assert (group["rows"], group["videos"], group["not_scored"]) == (12, 12, {"no_face": 1})
    assert group["means"]["lse_d"]["mean"] == pytest.approx(np.mean(7 + 0.1 * np.arange(12)))
    low, high = group["means"]["lse_d"]["interval"]
    assert low < group["means"]["lse_d"]["mean"] < high
    assert group["means"]["psnr"] == {"mean": None, "n": 0, "interval": None}
    result = CliRunner().invoke(app, ["average", *map(str, paths), "--json"])
    pairs = {pair["score"]: pair for pair in map(json.loads, result.stdout.splitlines())}
    assert pairs["lse_d"]["difference"] == pytest.approx(0.5) and pairs["lse_d"]["n"] == 12
    assert pairs["lse_d"]["verdict"].startswith("A is better") and pairs["lse_d"]["p"] < 0.05
    assert pairs["lse_c"]["difference"] == 0 and "psnr" not in pairs
