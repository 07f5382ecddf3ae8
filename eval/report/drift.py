"""Drift of the offset over a long video that was scored in pieces: a line fitted to the pieces' offsets."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipscore.eval.report.chart import Chart, png
from lipscore.eval.store.judged import no_offset
from lipscore.media.files.aside import replace_whole
from lipscore.types import VideoScore

TRUSTED = 2.0  # the minimum LSE-C at which a piece's offset counts
LEAST = 3  # the minimum number of pieces for a drift


@dataclass(frozen=True, slots=True)
class Drift:
    """A video's drift. seconds, offsets: the middle of each piece that counts, and its offset in frames.

    per_minute, low, high: the Theil-Sen slope in frames per minute and its 95 % interval; None for fewer than LEAST
    pieces.
    """

    video: str
    seconds: tuple[float, ...]
    offsets: tuple[int, ...]
    per_minute: float | None = None
    low: float | None = None
    high: float | None = None


def drifts(records: Sequence[VideoScore]) -> list[Drift]:
    """The drift of each video that was scored in pieces; pieces with an LSE-C below TRUSTED do not count.

    The slope is the Theil-Sen slope, the median of the slopes between all pairs of pieces: it tolerates single pieces
    with an arbitrary offset, such as silent ones.
    """
    from scipy.stats import theilslopes  # imported here: it takes half a second, and most runs do not need it

    by_video: dict[tuple[str, str], list[VideoScore]] = defaultdict(list)
    for record in records:
        if record.piece is not None:
            by_video[record.video, record.audio.path if record.audio else ""].append(record)
    results = []
    for (video, _), pieces in by_video.items():
        counted = [
            p
            for p in pieces
            if p.offset is not None and p.lse_c is not None and p.lse_c >= TRUSTED and not no_offset(p)
        ]
        seconds = tuple(sum(p.piece) / 2 for p in counted if p.piece is not None)
        offsets = tuple(p.offset for p in counted if p.offset is not None)
        slope = theilslopes(offsets, np.array(seconds) / 60) if len(counted) >= LEAST else None
        numbers = (float(slope.slope), float(slope.low_slope), float(slope.high_slope)) if slope is not None else ()
        results.append(Drift(video, seconds, offsets, *numbers))
    return results


def sentence(drift: Drift) -> str:
    """The drift in words."""
    name = Path(drift.video).name
    if drift.per_minute is None or drift.low is None or drift.high is None:
        return f"{name}: {len(drift.offsets)} pieces with an LSE-C of {TRUSTED:g} or more: too few to measure drift"
    ends = (
        f"offset {drift.offsets[0]:+d} at {clock(drift.seconds[0])}, "
        f"{drift.offsets[-1]:+d} at {clock(drift.seconds[-1])}, {len(drift.offsets)} pieces"
    )
    travelled = abs(drift.per_minute) * (drift.seconds[-1] - drift.seconds[0]) / 60
    if drift.low <= 0 <= drift.high or travelled < 1:
        return f"{name}: no steady drift of a frame or more ({ends})"
    return f"{name}: drifts by {drift.per_minute:+.2f} frames a minute ({drift.low:+.2f} to {drift.high:+.2f}; {ends})"


def write_charts(drifting: Sequence[Drift], folder: Path) -> list[Path]:
    """Write one PNG per video with the offset over time, drift-NAME.png in folder; equal names are numbered.

    Raises:
        MissingError: a file cannot be written.
    """
    written: list[Path] = []
    for drift in drifting:
        if len(drift.offsets) < 2:
            continue
        stem = re.sub(r"[^\w.-]+", "_", Path(drift.video).stem)
        target = folder / f"drift-{stem}.png"
        if target in written:
            target = folder / f"drift-{stem}-{len(written)}.png"
        minutes = [seconds / 60 for seconds in drift.seconds]
        title = "offset over time (positive: the audio comes before the video)"
        replace_whole(target, png([Chart(title, "minutes", "frames", minutes, drift.offsets, dots=True)]))
        written.append(target)
    return written


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour.

    >>> clock(3725.4), clock(65)
    ('1:02:05', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
