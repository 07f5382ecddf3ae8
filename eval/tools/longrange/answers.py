"""Turn sums of cosines into answers: for a file, for its pieces (drift), and for every second (trace)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lipscore.eval.tools.longrange.detection import MS_PER_FRAME, Drift, Found, Window
from lipscore.metrics import longrange
from lipscore.metrics.longrange import ShiftSums
from lipscore.metrics.standards import STANDARDS
from lipscore.syncnet.models.fcn import Reading

DETECTABLE = STANDARDS["itu-detectable"]
PIECE_S = 10  # seconds searched at a time for the drift: files of that length get the right offset 98 times in 100
LEAST_PIECES = 3
TRACE_S = 5  # seconds around each second of the trace


def answer_of(sums: ShiftSums, min_confidence: float, read_off: Reading | None = None) -> Found:
    """The best offset, and the reason if it is not good enough for an answer.

    Args:
        read_off: a head's reading, which replaces the statistic's; its probability is the confidence.
    """
    peak = longrange.find_peak(sums, offset=None if read_off is None else read_off.offset)
    if peak is None:
        return Found(None, 0.0, "no shift stands out: the sound or the picture does not change, or they never overlap")
    if read_off is None:
        sure = longrange.confidence(peak)
    else:
        peak, sure = replace(peak, subframe=read_off.subframe), read_off.probability
    trouble = ""
    if peak.windows < longrange.ENOUGH:
        trouble = (
            f"the best offset, {peak.offset:+d}, rests on only {peak.windows} windows; "
            f"an answer needs {longrange.ENOUGH} (a second)"
        )
    elif sure < min_confidence:
        trouble = (
            f"the best offset, {peak.offset:+d}, is right with a probability of {sure:.2f}; "
            f"an answer needs {min_confidence:g} (--min-confidence)"
        )
    elif peak.at_edge:
        trouble = (
            f"the best offset, {peak.offset:+d}, lies at the edge of the search, and the true one may lie beyond it; "
            f"search wider with --max-offset {2 * sums.reach}"
        )
    return Found(peak, sure, trouble)


def drift_of(seconds: Mapping[int, ShiftSums], min_confidence: float) -> Drift | None:
    """The drift of the offset over pieces of PIECE_S seconds; None if fewer than LEAST_PIECES have an answer."""
    pieces: dict[int, ShiftSums] = {}
    for at, sums in seconds.items():
        piece = at // PIECE_S
        pieces[piece] = pieces[piece] + sums if piece in pieces else sums
    times, offsets = [], []
    for piece, sums in sorted(pieces.items()):
        found = answer_of(sums, min_confidence)
        if found.peak is not None and not found.trouble:
            times.append((piece + 0.5) * PIECE_S)
            offsets.append(found.peak.subframe * MS_PER_FRAME)
    if len(times) < LEAST_PIECES:
        return None
    from scipy.stats import theilslopes  # here, because it takes half a second

    line = theilslopes(offsets, times)
    begin, end = 0.0, float(max(seconds) + 1)
    at_start, at_end = (float(line.intercept + line.slope * t) for t in (begin, end))
    travelled = abs(line.slope) * (times[-1] - times[0])
    steady = not (line.low_slope <= 0 <= line.high_slope) and travelled >= MS_PER_FRAME
    return Drift(
        pieces=len(times),
        per_minute=float(line.slope) * 60,
        low=float(line.low_slope) * 60,
        high=float(line.high_slope) * 60,
        at_start=at_start,
        at_end=at_end,
        detectable_at=_detectable(at_start, float(line.slope), end) if steady else None,
        steady=steady,
    )


def _detectable(at_start: float, slope: float, end: float) -> float | None:
    """Seconds until an offset that starts at `at_start` ms and moves by `slope` ms per second leaves the limits."""
    if not DETECTABLE.within(at_start):
        return 0.0
    limit = DETECTABLE.early if slope > 0 else -DETECTABLE.late
    at = (limit - at_start) / slope if slope else math.inf
    return at if at <= end else None


def without_drift(seconds: Mapping[int, ShiftSums], drift: Drift, reach: int) -> ShiftSums:
    """The sums with every second's offset moved to the offset in the middle of the video."""
    middle = (max(seconds) + 1) / 2
    frames_a_second = drift.per_minute / 60 / MS_PER_FRAME
    moved = (sums.moved(round(frames_a_second * (at + 0.5 - middle))) for at, sums in seconds.items())
    return sum(moved, ShiftSums.none(reach))


def trace_of(seconds: Mapping[int, ShiftSums], min_confidence: float) -> tuple[Window, ...]:
    """The offset around every second that has a face, from the TRACE_S seconds around it."""
    around = range(-(TRACE_S // 2), TRACE_S // 2 + 1)

    def near(at: int) -> Sequence[ShiftSums]:
        return [seconds[at + step] for step in around if at + step in seconds]

    found = []
    for at, sums in sorted(seconds.items()):
        found.append(Window(at + 0.5, answer_of(sum(near(at), ShiftSums.none(sums.reach)), min_confidence)))
    return tuple(found)
