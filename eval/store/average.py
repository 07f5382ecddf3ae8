"""`lipscore average`: the means of a scores file, and two scores files compared video by video.

LSE-D and LSE-C are means over rows (face tracks), as the older scripts print them; PSNR and SSIM belong to a video and
count once for it, however many tracks it has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipscore.eval.store.scores_file import COLUMNS, Row, Scores, by_video, quote_name, read_scores
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import Score
from lipscore.metrics.reduce import Interval, Paired, bootstrap_mean, mean, paired


@dataclass(frozen=True, slots=True)
class Report:
    """The lines of the result, the warnings, and whether malformed lines were left out."""

    lines: list[str]
    warnings: list[str]
    incomplete: bool


def average(path: Path, bootstrap: bool = False) -> Report:
    """The means of one scores file.

    Raises:
        MissingError: the file cannot be read.
    """
    scores = read_scores(path)
    videos = by_video(scores.rows)
    lines = []
    for score in _scores(scores.rows):
        values = _values(videos, score)
        found = mean([value for rows in values for value in rows])
        text = f"avg. {_title(score, scores.rows)}: {found.value:.6f} (n={found.n})"
        if bootstrap and found.n:
            text += f" {_interval_text(bootstrap_mean(values))}"
        lines.append(text)
    lines.append(_counts(videos, scores))
    return Report(lines, _warnings(path, scores), bool(scores.malformed))


def compare(path_a: Path, path_b: Path) -> Report:
    """B against A, over the videos that both have.

    Videos are paired by name, the last time each was scored; files without names are paired line by line where
    they have the same number of rows.

    Raises:
        MissingError: a file cannot be read.
    """
    scores = [read_scores(path) for path in (path_a, path_b)]
    warnings = [
        warning for path, found in zip((path_a, path_b), scores, strict=True) for warning in _warnings(path, found)
    ]
    pairs, unpaired = _pair(*(by_video(found.rows) for found in scores))
    warnings += unpaired
    if (how_a := _settings(scores[0].rows)) != (how_b := _settings(scores[1].rows)):
        warnings.append(f"the two were scored differently and are not comparable: A {_list(how_a)}; B {_list(how_b)}")
    lines = [f"A: {path_a}", f"B: {path_b}", f"videos in both: {len(pairs)}"]
    rows = [row for found in scores for row in found.rows]
    for score in _scores(rows):
        a, b = ([mean(_values([video], score)[0]).value for video in side] for side in _sides(pairs))
        result = paired(a, b)
        if result.n:
            lines.append(
                f"{_title(score, rows)}: A {result.mean_a:.6f}, B {result.mean_b:.6f}, B - A {result.difference:+.6f} "
                f"{_interval_text(result.interval)}, n={result.n}: {_verdict(result, score)}"
            )
    return Report(lines, warnings, any(found.malformed for found in scores))


def _sides(pairs: Sequence[tuple[list[Row], list[Row]]]) -> tuple[list[list[Row]], list[list[Row]]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def _scores(rows: Sequence[Row]) -> list[Score]:
    """The columns, and further scores that a row has."""
    return [*COLUMNS, *(score for score in catalogue.further() if any(score.name in row.further for row in rows))]


def _title(score: Score, rows: Sequence[Row]) -> str:
    return score.title_for({row.model for row in rows})


def _values(videos: Sequence[Sequence[Row]], score: Score) -> list[list[float]]:
    """Each video's values of a score: one per row, or the video's one."""
    return [[row.value(score) for row in (rows if score.level == "track" else rows[:1])] for rows in videos]


def _pair(a: list[list[Row]], b: list[list[Row]]) -> tuple[list[tuple[list[Row], list[Row]]], list[str]]:
    named = [{rows[0].name: rows for rows in side if rows[0].name is not None} for side in (a, b)]
    if not named[0] and not named[1]:
        if len(a) == len(b):
            return list(zip(a, b, strict=True)), ["no names in the files: paired line by line"]
        return [], [f"no names in the files, and {len(a)} rows against {len(b)}: nothing can be paired"]
    warnings = []
    for side, (own, other) in zip("AB", (named, named[::-1]), strict=True):
        alone = [quote_name(name or "") for name in own if name not in other]
        if alone:
            warnings.append(f"only in {side} ({len(alone)}): {', '.join(alone[:5])}{', ...' if alone[5:] else ''}")
    return [(rows, named[1][name]) for name, rows in named[0].items() if name in named[1]], warnings


def _verdict(result: Paired, score: Score) -> str:
    low, high = result.interval.low, result.interval.high
    if math.isnan(low) or low <= 0 <= high:
        return "no clear difference"
    return "B is better" if (result.difference < 0) == (score.better == "lower") else "A is better"


def _interval_text(interval: Interval) -> str:
    if math.isnan(interval.low):
        return "[no interval from fewer than two videos]"
    return f"[95 %: {interval.low:.6f} to {interval.high:.6f}]"


def _counts(videos: Sequence[Sequence[Row]], scores: Scores) -> str:
    text = f"{len(scores.rows)} rows of {len(videos)} videos"
    if scores.not_scored:
        why = Counter(video.status for video in scores.not_scored)
        text += f"; not scored: {len(scores.not_scored)} ({', '.join(f'{n} {status}' for status, n in why.items())})"
    return text


def _settings(rows: Sequence[Row]) -> set[tuple[str, str]]:
    return {(row.protocol or "unknown", row.model or "unknown") for row in rows}


def _list(settings: set[tuple[str, str]]) -> str:
    return ", ".join(f"protocol={protocol} model={model}" for protocol, model in sorted(settings))


def _warnings(path: Path, scores: Scores) -> list[str]:
    warnings = [f"{path}, line {line}: {problem}; left out" for line, problem in scores.malformed]
    if len(how := _settings(scores.rows)) > 1:
        warnings.append(f"{path}: rows that are not comparable are averaged together: {_list(how)}")
    names = Counter(rows[0].name for rows in by_video(scores.rows) if rows[0].name is not None)
    if again := [name for name, times in names.items() if times > 1]:
        warnings.append(
            f"{path}: {len(again)} videos were scored more than once and count each time, as {quote_name(again[0])}"
        )
    return warnings
