"""`lipscore average`: the means of a scores file, and two scores files compared video by video.

LSE-D and LSE-C are means over rows (face tracks), as in the older scripts. PSNR and SSIM belong to a video: they count
once for each video, however many tracks it has, and even if its LSE could not be scored. `lipscore score` counts in the
same way. A video that was scored again counts with its last scores. Videos of different folders, protocols or models
are averaged separately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lipscore.errors import UsageError
from lipscore.eval.store.scores_file import COLUMNS, NotScored, Row, Scores, by_video, quote_name, read_scores
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import ESTIMATING, Score
from lipscore.metrics.reduce import LEAST_VIDEOS, Interval, Paired, bootstrap_mean, mean, paired

LEAST_BOOTSTRAP = 10  # videos: the percentile bootstrap of fewer is too narrow (90 % for 95 % at 10)
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Report:
    """The lines of the result, the warnings, and whether malformed lines were left out.

    objects: the result for programs: from `average` one per group, if requested; from `compare` one per score.
    """

    lines: list[str]
    warnings: list[str]
    incomplete: bool
    objects: list[dict[str, Any]]


class How(NamedTuple):
    """The folder, protocol and model that the videos of one mean share; "" if the file does not say."""

    folder: str
    protocol: str
    model: str

    def __str__(self) -> str:
        named = (f"{name}={quote_name(value)}" for name, value in self._asdict().items() if value)
        return " ".join(named) or "no folder, protocol or model is given"


@dataclass(slots=True)
class _Group:
    """The videos of one mean: the rows of each scored video, and the videos that were not scored."""

    scored: list[list[Row]] = field(default_factory=list)
    not_scored: list[NotScored] = field(default_factory=list)

    def values(self, score: Score) -> list[list[float]]:
        """Each video's values: one per row, or the single value of the video."""
        if score.level == "track":
            return [[row.value(score) for row in rows] for rows in self.scored]
        videos: list[Row | NotScored] = [*(rows[0] for rows in self.scored), *self.not_scored]
        return [[video.value(score)] for video in videos]

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return [row for rows in self.scored for row in rows]


def average(path: Path, bootstrap: bool = False, mixed: bool = False, *, objects: bool = False) -> Report:
    """The means of one scores file: a block of lines for each folder, protocol and model.

    Args:
        bootstrap: add intervals.
        mixed: one mean over everything.
        objects: fill the report's `objects`, which needs a bootstrap of each score.

    Raises:
        MissingError: the file cannot be read.
    """
    scores = read_scores(path)
    groups, repeated = _grouped(scores)
    warnings = _malformed(path, scores)
    if repeated:
        warnings.append(
            f"{path}: {_many(len(repeated), 'video')} scored more than once, as {quote_name(repeated[0])}; "
            "the last scores count"
        )
    if mixed and len(groups) > 1:
        warnings.append(f"{path}: averaged together, though not comparable: {'; '.join(map(str, groups))}")
        groups = {_shared(groups): _together(groups.values())}
    lines: list[str] = []
    for how, group in groups.items():
        if len(groups) > 1:
            lines += [*([""] if lines else []), f"{how}:"]
        lines += _means(group, bootstrap)
        lines += [_counts(group), *_said(how, group)]
    if not groups:
        lines = [*_means(_Group(), bootstrap), _counts(_Group())]
    made = [_object(how, group) for how, group in groups.items()] if objects else []
    return Report(lines, warnings, bool(scores.malformed), made)


def compare(path_a: Path, path_b: Path, mixed: bool = False) -> Report:
    """Compare B with A, over the videos that both have.

    Videos are paired by name; files without names are paired line by line where they have the same number of rows.
    Where `mixed` leaves a name twice in a file, folder, protocol and model have to be the same too.

    Args:
        mixed: treat a file with several folders, protocols or models as one group.

    Raises:
        MissingError: a file cannot be read.
        UsageError: a file holds several folders, protocols or models.
    """
    scores = [read_scores(path) for path in (path_a, path_b)]
    warnings = [
        warning for path, found in zip((path_a, path_b), scores, strict=True) for warning in _malformed(path, found)
    ]
    sides = []
    for path, found in zip((path_a, path_b), scores, strict=True):
        groups, _ = _grouped(found)
        if len(groups) > 1 and not mixed:
            raise UsageError(
                f"{path}: holds scores of different kinds: {'; '.join(map(str, groups))}; "
                "compare files of one kind, or give --mixed"
            )
        sides.append(_together(groups.values()))
    pairs, unpaired = _pair(sides[0].scored, sides[1].scored)
    warnings += unpaired
    if (how_a := _settings(sides[0].rows)) != (how_b := _settings(sides[1].rows)):
        warnings.append(f"the two were scored differently and are not comparable: A {_list(how_a)}; B {_list(how_b)}")
    lines = [f"A: {path_a}", f"B: {path_b}", f"videos in both: {len(pairs)}"]
    objects: list[dict[str, Any]] = []
    rows = [row for side in sides for row in side.rows]
    for score in _scores(rows):
        a, b = ([mean(_Group([video]).values(score)[0]).value for video in side] for side in _sides(pairs))
        result = paired(a, b)
        if result.n:
            lines.append(
                f"{_title(score, rows)}: A {result.mean_a:.6f}, B {result.mean_b:.6f}, B - A {result.difference:+.6f}"
                f"{_interval(result)}, n={result.n}: {_verdict(result, score)}"
            )
            interval = _ends(result.interval) if result.n >= LEAST_VIDEOS else None
            objects.append(
                {"score": score.name, "a": result.mean_a, "b": result.mean_b, "difference": result.difference}
                | {"interval": interval, "n": result.n, "p": result.p, "verdict": _verdict(result, score)}
            )
    return Report(lines, warnings, any(found.malformed for found in scores), objects)


def _grouped(scores: Scores) -> tuple[dict[How, _Group], list[str]]:
    """(the groups of videos, each video with its last lines in the file; the names that occur more than once).

    A comment line of an older file gives only a name; it goes to the group of the lines around it.
    """
    events: list[tuple[int, How | None, str | None, list[Row] | NotScored]] = []
    for rows in by_video(scores.rows):
        events.append((rows[0].line, _how(rows[0]), rows[0].name, rows))
    for video in scores.not_scored:
        said = video.folder or video.protocol or video.model
        events.append((video.line, _how(video) if said else None, video.name, video))
    events.sort(key=lambda event: event[0])
    last: dict[tuple[How, str], list[Row] | NotScored] = {}
    repeated: dict[str, None] = {}
    before = next((how for _, how, _, _ in events if how is not None), How("", "", ""))
    for line, how, name, event in events:
        before = how = before if how is None else how
        key = (how, name if name is not None else f"\0{line}")
        if isinstance(last.get(key), list) and isinstance(event, list):
            repeated[name or ""] = None
        last.pop(key, None)
        last[key] = event
    groups: dict[How, _Group] = {}
    for (how, _), found in last.items():
        group = groups.setdefault(how, _Group())
        if isinstance(found, list):
            group.scored.append(found)
        else:
            group.not_scored.append(found)
    return groups, list(repeated)


def _how(line: Row | NotScored) -> How:
    return How(line.folder or "", line.protocol or "", line.model or "")


def _shared(groups: Iterable[How]) -> How:
    """The folder, protocol and model that all groups share; "" for those that differ."""
    return How(*(values[0] if len(set(values)) == 1 else "" for values in zip(*groups, strict=True)))


def _together(groups: Iterable[_Group]) -> _Group:
    whole = _Group()
    for group in groups:
        whole.scored += group.scored
        whole.not_scored += group.not_scored
    return whole


def _means(group: _Group, bootstrap: bool) -> list[str]:
    lines = []
    for score in _scores([*group.rows, *group.not_scored]):
        values = group.values(score)
        found = mean([value for rows in values for value in rows])
        text = f"avg. {_title(score, group.rows)}: {found.value:.6f} (n={found.n})"
        if bootstrap and found.n:
            text += f" {_bootstrap(values)}"
        lines.append(text)
    return lines


def _object(how: How, group: _Group) -> dict[str, Any]:
    """A group's means with their intervals; null where there is no value, or too few videos."""
    means: dict[str, Any] = {}
    for score in _scores([*group.rows, *group.not_scored]):
        values = group.values(score)
        found, interval = mean([value for rows in values for value in rows]), _bootstrapped(values)
        ends = None if interval is None else _ends(interval)
        means[score.name] = {"mean": found.value if found.n else None, "n": found.n, "interval": ends}
    return {
        **how._asdict(),
        "estimates": any(row.model in ESTIMATING for row in group.rows),
        "rows": len(group.rows),
        "videos": len(group.scored),
        "not_scored": dict(Counter(video.status for video in group.not_scored)),
        "means": means,
    }


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _bootstrapped(values: Sequence[Sequence[float]]) -> Interval | None:
    """The interval over the videos that have a value; None if there are too few."""
    videos = [rows for rows in values if mean(rows).n]
    return bootstrap_mean(videos) if len(videos) >= LEAST_BOOTSTRAP else None


def _bootstrap(values: Sequence[Sequence[float]]) -> str:
    interval = _bootstrapped(values)
    if interval is None:
        return f"[no interval from fewer than {LEAST_BOOTSTRAP} videos]"
    return f"[95 %: {interval.low:.6f} to {interval.high:.6f}]"


def _said(how: How, group: _Group) -> list[str]:
    """The line to paste with the numbers: what was averaged, and whether the numbers are estimates."""
    if not group.rows or not (how.protocol or how.model):
        return []
    models = {row.model for row in group.rows}
    estimates = ": LSE-D and LSE-C are the built-in model's estimates" if models & set(ESTIMATING) else ""
    return [f"{how}{estimates}"]


def _sides(pairs: Sequence[tuple[list[Row], list[Row]]]) -> tuple[list[list[Row]], list[list[Row]]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def _scores(lines: Sequence[Row | NotScored]) -> list[Score]:
    """The scores with a column, and the further scores of the lines."""
    held: list[Mapping[str, float]] = [line.further if isinstance(line, Row) else line.values for line in lines]
    return [*COLUMNS, *(score for score in catalogue.further() if any(score.name in has for has in held))]


def _title(score: Score, rows: Sequence[Row]) -> str:
    return score.title_for({row.model for row in rows})


def _pair(a: list[list[Row]], b: list[list[Row]]) -> tuple[list[tuple[list[Row], list[Row]]], list[str]]:
    named = _named(a, b)
    if not named[0] and not named[1]:
        if len(a) == len(b):
            return list(zip(a, b, strict=True)), ["no names in the files: paired line by line"]
        return [], [f"no names in the files, and {len(a)} rows against {len(b)}: nothing can be paired"]
    warnings = []
    for side, (own, other) in zip("AB", (named, named[::-1]), strict=True):
        alone = [quote_name(own[key][0].name or "") for key in own if key not in other]
        if alone:
            warnings.append(f"only in {side} ({len(alone)}): {', '.join(alone[:5])}{', ...' if alone[5:] else ''}")
    return [(rows, named[1][key]) for key, rows in named[0].items() if key in named[1]], warnings


def _named(a: list[list[Row]], b: list[list[Row]]) -> list[dict[tuple[str | None, ...], list[Row]]]:
    """Each side's videos by name; where --mixed has a name twice on a side, by folder, protocol and model as well."""
    for full in (False, True):
        sides = [[rows for rows in side if rows[0].name is not None] for side in (a, b)]
        found = [{(rows[0].name, *(_how(rows[0]) if full else ())): rows for rows in side} for side in sides]
        if all(len(keys) == len(side) for keys, side in zip(found, sides, strict=True)):
            break
    return found


def _verdict(result: Paired, score: Score) -> str:
    if result.n < LEAST_VIDEOS:
        return f"no verdict from fewer than {LEAST_VIDEOS} videos"
    if result.p > LEVEL:
        return f"no clear difference (p={result.p:.3f})"
    b_wins = (result.difference < 0) == (score.better == "lower")
    return f"{'B' if b_wins else 'A'} is better (p={result.p:.3f})"


def _interval(result: Paired) -> str:
    return f" [95 %: {result.interval.low:.6f} to {result.interval.high:.6f}]" if result.n >= LEAST_VIDEOS else ""


def _counts(group: _Group) -> str:
    text = f"{_many(len(group.rows), 'row')} of {_many(len(group.scored), 'video')}"
    if group.not_scored:
        why = Counter(video.status for video in group.not_scored)
        text += f"; not scored: {len(group.not_scored)} ({', '.join(f'{n} {status}' for status, n in why.items())})"
    return text


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _settings(rows: Sequence[Row]) -> set[tuple[str, str]]:
    return {(row.protocol or "unknown", row.model or "unknown") for row in rows}


def _list(settings: set[tuple[str, str]]) -> str:
    return ", ".join(f"protocol={protocol} model={model}" for protocol, model in sorted(settings))


def _malformed(path: Path, scores: Scores) -> list[str]:
    return [f"{path}, line {line}: {problem}; left out" for line, problem in scores.malformed]
