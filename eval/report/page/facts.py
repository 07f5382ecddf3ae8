"""The page's first part: models, counts, means with their intervals, and warnings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lipscore.eval.report.page.results import Method
from lipscore.eval.store.judged import no_offset
from lipscore.eval.store.records import Record
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import Score
from lipscore.metrics.reduce import Interval, bootstrap_mean, mean, paired
from lipscore.metrics.standards import STANDARDS
from lipscore.syncnet.window import FRAME_RATE
from lipscore.types import VideoScore

FRAME_MS = 1000 / FRAME_RATE
N_WORST = 10


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean as the page prints it: the number, its interval, and the number of values."""

    value: str
    interval: str
    n: int


def score_of(score: VideoScore, which: Score) -> float | None:
    """A video's score; None if it has none, or none that is finite."""
    value = which.of(score)
    return None if value is None or not math.isfinite(value) else float(value)


def offset_ms(record: Record) -> float | None:
    """The offset in ms: the record's offset_ms (between frames) if it has one, else its whole frames."""
    score = record.score
    if score.offset_ms is not None:
        return score.offset_ms
    return None if score.offset is None else score.offset * FRAME_MS


def values_of(method: Method, score: Score) -> list[float]:
    """The score of each video that has one; scores of silence are left out, as in every mean."""
    records = method.records if score.variant else method.heard
    return [value for record in records if (value := score_of(record.score, score)) is not None]


def scores_shown(methods: Sequence[Method]) -> list[Score]:
    """The averaged scores for which some method has a value."""
    records = [record.score for method in methods for record in method.records]
    found = catalogue.averaged(records)
    return [score for score in found if any(score_of(record, score) is not None for record in records)]


def mean_of(method: Method, score: Score) -> Cell | None:
    """The mean over rows (face tracks) or videos, as papers print it, with the 95 % interval over videos."""
    rows = [[value] for value in values_of(method, score)]
    if score.level == "track":
        heard = [[score.of(track) for track in record.score.tracks] for record in method.heard]
        rows = [[math.nan if value is None else float(value) for value in video] for video in heard]
    found = mean([value for video in rows for value in video])
    return None if not found.n else Cell(score.text(found.value), _text(bootstrap_mean(rows), score), found.n)


def offsets_of(method: Method) -> list[float]:
    """The offsets in ms of the videos that have one that means something."""
    kept = [record for record in method.heard if not no_offset(record.score)]
    return [value for record in kept if (value := offset_ms(record)) is not None]


def offsets_within(method: Method) -> list[tuple[str, str]]:
    """(a standard's title and limits, the share of the scored videos whose offset lies within them)."""
    values = offsets_of(method)
    return [
        (
            f"{one.title} ({one.early:+g} / −{one.late:g} ms)",
            f"{100 * sum(map(one.within, values)) / len(values):.1f} %",
        )
        for one in STANDARDS.values()
        if values
    ]


def failures(method: Method) -> list[tuple[str, int]]:
    """(status, number of videos), the most frequent first."""
    counted = Counter(record.score.status for record in method.records if record.score.status != "ok")
    found: list[tuple[str, int]] = [(str(status), n) for status, n in counted.most_common()]
    if silent := len(method.scored) - len(method.heard):
        found.append(("silent, not part of the means", silent))
    if (missing := method.total - len(method.records)) > 0:
        found.append(("not reached", missing))
    return found


def warnings(methods: Sequence[Method]) -> list[str]:
    """The warnings at the top of the page."""
    found: list[str] = []
    estimating = [method for method in methods if method.model in catalogue.ESTIMATING]
    if estimating:
        found.append(
            f"Estimates: model {estimating[0].model} estimates SyncNet's LSE-D and LSE-C "
            f"({_names(estimating, methods)}). They are marked ~; do not compare them with published numbers."
        )
    unverified = [method for method in methods if method not in estimating and not method.records[0].score.comparable]
    if unverified:
        found.append(f"Not comparable with published numbers: {_names(unverified, methods)}.")
    for method in methods:
        first = method.records[0].score
        if first.changed:
            changed = "; ".join(first.changed)
            found.append(f"{method.label}: settings differ from protocol {first.protocol}: {changed}.")
        if method.manifest.get("interrupted"):
            found.append(f"{method.label}: the run was interrupted; these are the videos it had reached.")
    kinds = {(m.records[0].score.protocol_hash, m.model, m.records[0].score.detector) for m in methods}
    if len(kinds) > 1:
        how = "; ".join(
            f"{m.label}: {m.records[0].score.protocol}, {m.model}, {m.records[0].score.detector}" for m in methods
        )
        found.append(f"These results were scored differently and are not comparable with each other. {how}.")
    return found


def identity(method: Method) -> list[tuple[str, str]]:
    """What decides a method's numbers, as (name, value): the signature, if any, and the settings."""
    first, manifest = method.records[0].score, method.manifest
    signature = manifest.get("signature") or first.signature
    git = manifest.get("git") or {}
    version = manifest.get("lipscore")
    rows: list[tuple[str, Any]] = [
        ("signature", signature),
        ("protocol", f"{first.protocol} ({first.protocol_hash})" if first.protocol_hash else first.protocol),
        ("model", first.model),
        ("detector", first.detector),
        ("weights", ", ".join(f"{w['name']} {w['sha256'][:12]}" for w in manifest.get("weights", []))),
        ("lipscore", f"{version} {str(git.get('revision') or '')[:9]}".strip() if version else None),
        ("FFmpeg", (manifest.get("ffmpeg") or {}).get("version")),
        ("OpenCV", (manifest.get("packages") or {}).get("opencv-python-headless")),
        ("device", (manifest.get("device") or {}).get("name")),
        ("finished", manifest.get("finished")),
    ]
    return [(name, str(value)) for name, value in rows if value]


@dataclass(frozen=True, slots=True)
class Versus:
    """Two methods, compared over the videos that both have scored, which are paired by name.

    rows: score title, mean of a, mean of b, difference b - a, its 95 % interval, n.
    """

    a: Method
    b: Method
    pairs: tuple[tuple[Record, Record], ...]
    left_out: int
    rows: tuple[tuple[str, str, str, str, str, int], ...]

    def values(self, score: Score) -> tuple[list[float], list[float]]:
        """The scores of a and of b on each video that has a score in both."""
        both = [(score_of(a.score, score), score_of(b.score, score)) for a, b in self.pairs]
        known = [(x, y) for x, y in both if x is not None and y is not None]
        return [x for x, _ in known], [y for _, y in known]

    def worst(self, score: Score) -> list[tuple[Record, Record, float]]:
        """The N_WORST videos on which b is furthest behind a, with the difference b - a."""
        found = []
        for a, b in self.pairs:
            x, y = score_of(a.score, score), score_of(b.score, score)
            if x is not None and y is not None:
                found.append((a, b, y - x))
        return sorted(found, key=lambda one: one[2], reverse=score.better == "lower")[:N_WORST]


def versus(a: Method, b: Method, scores: Sequence[Score]) -> Versus:
    """Compare b with a; a name that stands for different videos in one of them is left out."""
    by_name = [{record.score.name: record for record in method.heard} for method in (a, b)]
    files = [{(record.score.name, record.score.sha256) for record in method.heard} for method in (a, b)]
    twice = {name for found in files for name, n in Counter(name for name, _ in found).items() if n > 1}
    names = [name for name in by_name[0] if name in by_name[1] and name not in twice]
    pairs = tuple((by_name[0][name], by_name[1][name]) for name in names)
    left_out = len(set(by_name[0]) | set(by_name[1])) - len(names)
    found = Versus(a, b, pairs, left_out, ())
    rows = []
    for score in scores:
        values_a, values_b = found.values(score)
        if values_a:
            result = paired(values_a, values_b)
            numbers = (score.text(result.mean_a), score.text(result.mean_b), format(result.difference, "+.3f"))
            title = score.title_for([a.model, b.model])
            rows.append((title, *numbers, _text(result.interval, score, signed=True), result.n))
    return Versus(a, b, pairs, left_out, tuple(rows))


def source_of(record: Record, page: Path) -> str | None:
    """The video's path relative to the page; None if the file is not at the path that the record names."""
    path = Path(record.score.video)
    if not record.score.video or not path.is_file():
        return None
    beside = Path(relpath(path.resolve(), page.resolve().parent)).as_posix()
    return quote(beside.encode(errors="surrogateescape"))


def _names(some: Sequence[Method], every: Sequence[Method]) -> str:
    return "all results" if len(some) == len(every) else ", ".join(method.label for method in some)


def _text(interval: Interval, score: Score, *, signed: bool = False) -> str:
    if math.isnan(interval.low):
        return ""
    form = f"+{score.form}" if signed else score.form
    return f"{interval.low:{form}} to {interval.high:{form}}"
