"""The summary of a run: means over rows and over videos, and counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lipscore.eval.store.records import Record
from lipscore.eval.store.scores_file import one_line, quote_name
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import Score
from lipscore.metrics.reduce import Mean, mean
from lipscore.types import TrackScore, VideoScore


@dataclass(frozen=True, slots=True)
class Summary:
    """The means and counts of a run.

    rows: the means over face tracks of the scores that a track has, by name; papers print these. videos: the means over
    videos of every averaged score, each video reduced by its protocol's rule. total: the number of all videos of the
    run, whether or not it reached them. models: the models that scored, which decide whether a mean is one of
    estimates. silent: the number of scored videos without audible speech; their LSE and offset are part of no mean.
    """

    rows: dict[str, Mean]
    videos: dict[str, Mean]
    scored: int
    total: int
    not_scored: tuple[Record, ...]
    models: frozenset[str] = frozenset()
    silent: int = 0


def summarise(records: Sequence[Record], total: int) -> Summary:
    """The summary of a run's records."""
    scored = [record.score for record in records if record.score.status == "ok"]
    tracks = [track for score in scored if not score.silent for track in score.tracks]
    everyone = [record.score for record in records]
    scores = catalogue.averaged(everyone)
    return Summary(
        rows={score.name: _mean_of(score, tracks) for score in scores if score.level == "track"},
        videos={
            score.name: _mean_of(score, [one for one in everyone if score.variant or not one.silent])
            for score in scores
        },
        scored=len(scored),
        total=total,
        not_scored=tuple(record for record in records if record.score.status != "ok"),
        models=frozenset(score.model for score in scored),
        silent=sum(score.silent for score in scored),
    )


def _same(a: Mean, b: Mean) -> bool:
    return a.n == b.n and (a.n == 0 or math.isclose(a.value, b.value, rel_tol=1e-12))


def _mean_of(score: Score, found: Sequence[VideoScore] | Sequence[TrackScore]) -> Mean:
    values = [score.of(one) for one in found]
    return mean([math.nan if value is None else value for value in values])


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary for run.json."""

    def means(found: dict[str, Mean]) -> dict[str, Any]:
        return {name: {"mean": value.value if value.n else None, "n": value.n} for name, value in found.items()}

    reached = summary.scored + len(summary.not_scored)
    return {
        "videos": summary.total,
        "scored": summary.scored,
        "silent": summary.silent,
        "not_reached": summary.total - reached,
        "not_scored": [
            {"name": record.score.name, "status": record.score.status, "reason": record.score.reason}
            for record in summary.not_scored
        ],
        "means_over_rows": means(summary.rows),
        "means_over_videos": means(summary.videos),
    }


def lines(summary: Summary, to_report: str = "") -> list[str]:
    """The summary as text: the means over rows and over videos, on one line where they are the same, and the counts.

    Args:
        to_report: "rows" or "videos": the mean of LSE to report, which is marked if the two differ.
    """
    titles = {score.name: score.title_for(summary.models) for score in catalogue.SCORES}
    same = all(_same(value, summary.videos[name]) for name, value in summary.rows.items())
    found = []
    both = [("rows and videos", summary.videos)] if same else [("rows", summary.rows), ("videos", summary.videos)]
    for what, means in both:
        parts = [f"{titles[name]} {value.value:.6f} (n={value.n})" for name, value in means.items() if value.n]
        if parts:
            mark = "  <- report this one" if what == to_report else ""
            found.append(f"mean over {what}: {'  '.join(parts)}{mark}")
    apart = f" ({summary.silent} silent: no audible speech, not part of the means)" if summary.silent else ""
    return [*found, f"{summary.scored} scored{apart} / {summary.total} total"]


def reason_of(record: Record) -> str:
    """`name: status: reason` on one line."""
    score = record.score
    return f"{quote_name(score.name)}: {score.status}: {one_line(score.reason)}"


def offsets_of(record: Record) -> str:
    """The video's offset, or its tracks' offsets if they differ."""
    offsets = [track.offset for track in record.score.tracks]
    several = len(set(offsets)) > 1
    return ", ".join(map(str, offsets)) if several else catalogue.OFFSET.cell(record.score.offset)
