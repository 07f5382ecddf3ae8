"""What a run's offsets come to against a standard's limits, in lines for the reader."""

from __future__ import annotations

from collections.abc import Sequence

from lipscore.errors import UsageError
from lipscore.metrics.standards import STANDARDS, Standard, words
from lipscore.types import VideoScore


def get_standard(name: str) -> Standard:
    """A standard by name.

    Raises:
        UsageError: there is no such standard.
    """
    if name not in STANDARDS:
        raise UsageError.about("standard", name, f"no such standard; use one of {', '.join(STANDARDS)}")
    return STANDARDS[name]


def judged(records: Sequence[VideoScore], standard: Standard) -> tuple[str, list[str]]:
    """(how many scored videos are within the limits, a line for each that is not or cannot be judged)."""
    scored = [score for score in records if score.status == "ok"]
    outside = []
    for score in scored:
        if score.offset_ms is None:
            outside.append(f"{score.name}: cannot be judged by {standard.title}: its record has no offset_ms")
        elif not standard.within(score.offset_ms):
            outside.append(f"{score.name}: outside {standard.title}: {words(score.offset_ms)}")
    limits = f"audio early by at most {standard.early:g} ms, late by at most {standard.late:g} ms"
    return f"{standard.title} ({limits}): {len(scored) - len(outside)} of {len(scored)} within", outside
