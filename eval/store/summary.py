"""The summary of a run: means over rows and over videos, counts, and the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from lipscore.eval.store.records import Record
from lipscore.eval.store.scores_file import one_line, quote_name
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import Score
from lipscore.metrics.reduce import Mean, mean
from lipscore.types import TrackScore, VideoScore

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Summary:
    """The means and counts of a run.

    rows: by name, the scores that a face track has, over face tracks: what papers print. videos: every averaged score
    over videos, each reduced by its protocol's rule. total counts every video of the run, reached or not. models: those
    that scored, which decide whether a mean is of estimates. silent counts scored videos without audible speech:
    what is measured of their lips and speech is part of no mean.
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


def lines(summary: Summary) -> list[str]:
    """The summary as text: a line for the rows, one for the videos, one with the counts."""
    titles = {score.name: score.title_for(summary.models) for score in catalogue.SCORES}
    found = []
    for what, means in (("rows", summary.rows), ("videos", summary.videos)):
        parts = [f"{titles[name]} {value.value:.6f} (n={value.n})" for name, value in means.items() if value.n]
        if parts:
            found.append(f"mean over {what}: {'  '.join(parts)}")
    apart = f" ({summary.silent} silent: no audible speech, not part of the means)" if summary.silent else ""
    return [*found, f"{summary.scored} scored{apart} / {summary.total} total"]


def print_table(records: Sequence[Record], file: IO[str], colour: bool, width: int | None) -> None:
    """A row per video: video, tracks, offset, the averaged scores, status.

    Args:
        width: the terminal's width; None if the output is not a terminal, and then no line is folded.
    """
    from rich.console import Console

    # force_terminal: with NO_COLOR alone, rich would still write escape codes for bold
    console = Console(file=file, force_terminal=colour, highlight=False, width=width or 1000, soft_wrap=width is None)
    console.print(_table(records, folded=width is not None))


def reason_of(record: Record) -> str:
    """`name: status: reason` on one line."""
    score = record.score
    return f"{quote_name(score.name)}: {score.status}: {one_line(score.reason)}"


def offsets_of(record: Record) -> str:
    """The video's offset, or its tracks' offsets if they differ."""
    offsets = [track.offset for track in record.score.tracks]
    return ", ".join(map(str, offsets)) if len(set(offsets)) > 1 else _number(catalogue.OFFSET, record.score.offset)


def _table(records: Sequence[Record], folded: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if folded else None, pad_edge=False)
    table.add_column("video", overflow="fold", no_wrap=not folded)
    scores = catalogue.averaged(record.score for record in records)
    models = {record.score.model for record in records if record.score.status == "ok"}
    between = any(record.score.offset_ms is not None for record in records)
    offset = (catalogue.OFFSET.title, *([catalogue.OFFSET_MS.unit] if between else []))
    for title in ("tracks", *offset, *(score.title_for(models) for score in scores)):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for record in records:
        score = record.score
        table.add_row(
            Text(quote_name(score.name)),
            str(len(score.tracks)),
            offsets_of(record),
            *([_number(catalogue.OFFSET_MS, score.offset_ms)] if between else []),
            *(_number(one, one.of(score)) for one in scores),
            Text(score.status, style="green" if score.status == "ok" else "red"),
        )
    return table


def _number(score: Score, value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else score.text(value)
