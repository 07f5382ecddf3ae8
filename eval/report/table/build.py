"""The numbers of a table: means with intervals over the videos that all methods share, and paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from lipscore.errors import UsageError
from lipscore.eval.report.table.read import Band, Results
from lipscore.eval.store.judged import no_offset
from lipscore.metrics import catalogue
from lipscore.metrics.compare import holm, interval_of_mean, randomisation_p
from lipscore.metrics.reduce import Interval
from lipscore.metrics.standards import Standard
from lipscore.types import VideoScore

Kind = Literal["method", "real", "floor"]
ABS_OFFSET = "abs_offset_ms"
SURE = 0.05


@dataclass(frozen=True, slots=True)
class Column:
    """A metric of the table: a score of the catalogue, or |offset|. sync: whether a sync model computes it."""

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"]
    form: str
    of: Callable[[VideoScore], float | None]
    sync: bool = False

    @property
    def sign(self) -> int:
        """1 if more is better, else -1."""
        return 1 if self.better == "higher" else -1


@dataclass(frozen=True, slots=True)
class Comparison:
    """A method compared with the base over the n videos that both have: method - base, its interval and p-values.

    better: the share of videos in which the method has the better value. in_noise: whether the difference lies within
    the noise band.
    """

    difference: float
    interval: Interval
    p: float
    n: int
    better: float
    p_holm: float = math.nan
    in_noise: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean with its interval over n videos; rank: 1 for the best method, 2 for the second, else 0.

    like_best: whether the difference from the best method lies within the noise band.
    """

    mean: float
    interval: Interval
    n: int
    rank: int = 0
    like_best: bool = False
    against: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A method. failed: status -> number of its videos. within: the share of videos within the standard's limits.

    above_floor: score name -> by how much its videos are better than their floor, on average.
    """

    name: str
    kind: Kind
    cells: Mapping[str, Cell]
    scored: int
    failed: Mapping[str, int] = field(default_factory=dict)
    within: float | None = None
    above_floor: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A table over `videos` videos. left_out: those that some method did not score. base: the row to compare with."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    videos: int
    left_out: int
    base: str
    real: bool
    each_its_own: bool
    standard: Standard | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of a table.

    real: the name of the results of real video. each_its_own: whether means are over each method's own videos. noise:
    the band of each score. seed: of all random draws.
    """

    real: str | None = None
    each_its_own: bool = False
    standard: Standard | None = None
    noise: Mapping[str, Band] = field(default_factory=dict)
    seed: int = 0


def columns_of(results: Sequence[Results]) -> tuple[Column, ...]:
    """The metrics for which some method has values."""
    every = [score for one in results for score in one.scored.values()]
    models = {score.model for score in every}
    found = [
        Column(
            score.name,
            score.title_for(models),
            score.unit,
            "higher" if score.better == "higher" else "lower",
            score.form,
            score.of,
            score.level == "track",
        )
        for score in catalogue.averaged(every)
    ]
    found.append(Column(ABS_OFFSET, "|offset|", "ms", "lower", ".0f", _abs_offset, True))
    return tuple(column for column in found if any(_finite(column.of(score)) for score in every))


def build(results: Sequence[Results], wanted: Wanted, title: str = "", columns: Sequence[Column] = ()) -> Table:
    """The table of these results.

    Raises:
        UsageError: two results have the same name, none is called `real`, or they share no scored video.
    """
    names = [one.name for one in results]
    if len(set(names)) < len(names):
        raise UsageError(f"two results have the same name ({', '.join(names)}); give each a name of its own")
    if wanted.real is not None and wanted.real not in names:
        raise UsageError.about("real", wanted.real, f"no results have this name; they are {', '.join(names)}")
    shared = set.intersection(*(set(one.scored) for one in results))
    every = set().union(*(set(one.scores) for one in results))
    if not shared and not wanted.each_its_own:
        raise UsageError(
            f"no video has a score of all of {', '.join(names)} (videos are paired by name); "
            "name results over the same videos, or give --each-its-own"
        )
    columns = tuple(columns) or columns_of(results)
    base = next(one for one in results if one.name == (wanted.real or names[0]))
    having = {column.name: _having(results, shared, column) for column in columns}
    rows = [_row(one, having, shared, base, columns, wanted) for one in results]
    rows = _with_holm(_ranked(rows, columns, wanted), columns)
    floors = [_floor_row(one, set(one.scored) if wanted.each_its_own else shared, columns, wanted) for one in results]
    rows += [row for row in floors if row is not None]
    return Table(
        title,
        columns,
        tuple(rows),
        len(shared),
        len(every - shared),
        base.name,
        wanted.real is not None,
        wanted.each_its_own,
        wanted.standard,
        (
            *([] if wanted.each_its_own else _fewer(having, shared, columns)),
            *_notes(rows, columns, base.name, {score.model for one in results for score in one.scored.values()}),
        ),
    )


def _having(results: Sequence[Results], shared: set[str], column: Column) -> set[str]:
    """The shared videos whose value of a metric counts: those that have one in every result that has any."""
    of_each = [{name for name in shared if _finite(column.of(one.scored[name])) is not None} for one in results]
    return set.intersection(*filter(None, of_each), shared)


def _row(
    one: Results,
    having: Mapping[str, set[str]],
    shared: set[str],
    base: Results,
    columns: Sequence[Column],
    wanted: Wanted,
) -> Row:
    counted = one.scored if wanted.each_its_own else {name: one.scored[name] for name in sorted(shared)}
    cells = {}
    for column in columns:
        values = [
            value
            for name, score in counted.items()
            if (wanted.each_its_own or name in having[column.name]) and (value := _finite(column.of(score))) is not None
        ]
        mean = math.fsum(values) / len(values) if values else math.nan
        compared = None if one is base else compare(counted, base.scored, column, wanted)
        cells[column.name] = Cell(mean, interval_of_mean(values, wanted.seed), len(values), against=compared)
    offsets = [score.offset_ms for score in counted.values() if score.offset_ms is not None and not no_offset(score)]
    inside = None
    if wanted.standard is not None and offsets:
        inside = sum(map(wanted.standard.within, offsets)) / len(offsets)
    kind: Kind = "real" if one.name == wanted.real else "method"
    return Row(one.name, kind, cells, len(one.scored), one.failed, inside, _above_floor(one, counted, columns))


def compare(
    method: Mapping[str, VideoScore],
    base: Mapping[str, VideoScore],
    column: Column,
    wanted: Wanted,
) -> Comparison | None:
    """Compare a method with the base, video by video; None if they share no value."""
    both = sorted(method.keys() & base.keys())
    pairs = [(_finite(column.of(method[name])), _finite(column.of(base[name]))) for name in both]
    differences = np.array([a - b for a, b in pairs if a is not None and b is not None])
    if not len(differences):
        return None
    difference = float(differences.mean())
    band = wanted.noise.get(column.name)
    return Comparison(
        difference,
        interval_of_mean(differences.tolist(), wanted.seed),
        randomisation_p(differences.tolist(), wanted.seed),
        len(differences),
        float((column.sign * differences > 0).mean()),
        in_noise=band is not None and abs(difference) <= band.mean,
    )


def _ranked(rows: Sequence[Row], columns: Sequence[Column], wanted: Wanted) -> list[Row]:
    """The rows with the best and the second best method of each column marked; equal means share a rank."""
    ranked = list(rows)
    for column in columns:
        means = [row.cells[column.name].mean for row in rows if row.kind == "method"]
        order = sorted({mean for mean in means if not math.isnan(mean)}, reverse=column.better == "higher")
        band = wanted.noise.get(column.name)
        for place, row in enumerate(ranked):
            cell = row.cells[column.name]
            if row.kind != "method" or math.isnan(cell.mean) or len(means) < 2:
                continue
            rank = order.index(cell.mean) + 1
            near = band is not None and rank > 1 and abs(cell.mean - order[0]) <= band.mean
            marked = replace(cell, rank=rank if rank <= 2 else 0, like_best=near)
            ranked[place] = replace(row, cells={**row.cells, column.name: marked})
    return ranked


def _with_holm(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """The rows with p-values corrected over all comparisons of the table."""
    keys = [(place, column.name) for place in range(len(rows)) for column in columns]
    found = [(key, cell.against) for key in keys if (cell := rows[key[0]].cells[key[1]]).against is not None]
    corrected = holm([against.p for _, against in found if against is not None])
    done = list(rows)
    for ((place, name), against), p in zip(found, corrected, strict=True):
        assert against is not None
        cell = replace(done[place].cells[name], against=replace(against, p_holm=p))
        done[place] = replace(done[place], cells={**done[place].cells, name: cell})
    return done


def _floor_row(one: Results, names: set[str], columns: Sequence[Column], wanted: Wanted) -> Row | None:
    found = [one.floors[name] for name in sorted(names) if name in one.floors]
    if not found:
        return None
    cells = {}
    for column in columns:
        values = [floor[column.name] for floor in found if column.name in floor]
        mean = math.fsum(values) / len(values) if values else math.nan
        cells[column.name] = Cell(mean, interval_of_mean(values, wanted.seed), len(values))
    return Row(f"{one.name}, others' sound", "floor", cells, len(found))


def _above_floor(one: Results, counted: Mapping[str, VideoScore], columns: Sequence[Column]) -> dict[str, float]:
    above = {}
    for column in columns:
        gains = [
            column.sign * (value - one.floors[name][column.name])
            for name, score in counted.items()
            if (value := _finite(column.of(score))) is not None and column.name in one.floors.get(name, {})
        ]
        if gains:
            above[column.name] = math.fsum(gains) / len(gains)
    return above


def _fewer(having: Mapping[str, set[str]], shared: set[str], columns: Sequence[Column]) -> list[str]:
    """A note for each metric that is averaged over fewer videos than the table's."""
    return [
        f"{column.title}: means over {len(having[column.name])} of these videos, those with a value from every method "
        "that has any"
        for column in columns
        if len(having[column.name]) < len(shared)
    ]


def _notes(rows: Sequence[Row], columns: Sequence[Column], base: str, models: set[str]) -> list[str]:
    notes = []
    if models & set(catalogue.ESTIMATING):
        notes.append("LSE-D~ and LSE-C~ are the built-in model's estimates, not comparable with published numbers")
    if any(row.kind == "real" for row in rows):
        notes += [
            f"warning: {row.name} has a better mean {column.title} than {base}, which is real video: "
            "a score beyond real speech is no better sync"
            for row in rows
            for column in columns
            if column.sync and (against := row.cells[column.name].against) and column.sign * against.difference > 0
        ]
    return notes


def _abs_offset(score: VideoScore) -> float | None:
    return None if score.offset_ms is None or no_offset(score) else abs(score.offset_ms)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
