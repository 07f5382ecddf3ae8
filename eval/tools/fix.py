"""`lipscore fix`: move the audio by the offset that was found, and keep the result only if it scores as mended."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from lipscore.errors import UsageError
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.trace import Trace
from lipscore.media import edit
from lipscore.metrics import lse
from lipscore.metrics.reduce import most_confident
from lipscore.types import SyncCurve, TrackScore, VideoScore

MIN_CONFIDENCE = 3.0  # LSE-C; a curve with a smaller dip may have its minimum anywhere
NOISE = 0.03  # of the LSE-C: encoding and resampling moved it by up to 1.9 % on 19 clips (model mini)
ATTEMPTS = 2  # audio that lies between two frames can be off by one more after the first
Verdict = Literal["fixed", "in_sync", "refused", "not_better", "not_scored"]


@dataclass(frozen=True, slots=True)
class Fix:
    """What was done: the verdict and a sentence that says why, the scores before and after the shift (None: no shift).

    Only "fixed" leaves a file. audio: "copied" or "encoded" where it was moved.
    """

    verdict: Verdict
    message: str
    before: VideoScore
    after: VideoScore | None = None
    audio: str = ""


def fix(
    path: Path,
    target: Path,
    setup: Setup,
    min_confidence: float = MIN_CONFIDENCE,
    on_stage: Callable[[str], None] | None = None,
) -> Fix:
    """Score, shift, score again; the target is written only where the offset is then 0 and the LSE-C no lower.

    Where one frame is left, the audio is moved by that too, and scored again.

    Args:
        min_confidence: the LSE-C from which on an offset is trusted.
        on_stage: told the name of each stage that begins.

    Raises:
        UsageError: the target is the video itself, or of another format than the video.
        MissingError, MediaError: the target cannot be written.
    """
    if target.resolve() == path.resolve():
        raise UsageError.about("out", target, "is the video itself; name another file")
    protocol = setup.protocol
    if protocol.reduce == "mean_offset":
        raise UsageError.about(
            "protocol", protocol.name, "averages the offsets of tracks; use one that does not, as wav2lip"
        )
    first = Trace()
    before = score_video(path, setup, trace=first, on_stage=on_stage)
    if before.status != "ok":
        return Fix("not_scored", f"{before.status}: {before.reason}", before)
    best = most_confident(before.tracks)
    if reason := why_not(before.tracks, min_confidence):
        return Fix("refused", reason, before)
    if best.offset == 0:
        return Fix("in_sync", f"the offset is 0 already (LSE-C {best.lse_c:.3f}); nothing was written", before)
    rate = Fraction(before.fps if protocol.direct and before.fps else protocol.frame_rate)
    same_boxes = setup.with_detector(lambda _: setup.models.detector_for(path))  # the picture stays what it was
    with tempfile.TemporaryDirectory(prefix="lipscore-") as folder:
        moved = Path(folder) / f"{path.stem}{target.suffix}"
        shift, left = 0, best.offset
        for _ in range(ATTEMPTS):
            shift += left
            shifted = edit.shift_audio(path, moved, shift / rate)
            audio = "copied" if shifted.copied else "encoded"
            second = Trace()
            after = score_video(moved, same_boxes, trace=second, on_stage=on_stage)
            left = most_confident(after.tracks).offset if after.status == "ok" else 0
            if abs(left) != 1 or shift + left == 0:
                break
        did = (
            f"moved the audio {float(abs(shift) / rate) * 1000:.0f} ms {'later' if shift > 0 else 'earlier'} ({audio})"
        )
        if shifted.left:
            did += f", left {', '.join(shifted.left)} behind"
        if after.status != "ok":
            trouble = f"the result cannot be scored ({after.status}: {after.reason})"
        elif left:
            trouble = f"the offset is then {left:+d}, not 0"
        else:
            was, now = _confidences(first, second, best, shift)
            trouble = f"the LSE-C is then {now:.3f}, below {was:.3f}" if now < was * (1 - NOISE) else ""
        if trouble:
            return Fix("not_better", f"{did}, but {trouble}; nothing was written", before, after, audio)
        edit.move(moved, target)
    return Fix("fixed", f"{did}: offset {best.offset:+d} -> 0, LSE-C {was:.3f} -> {now:.3f}", before, after, audio)


def why_not(tracks: Sequence[TrackScore], min_confidence: float) -> str:
    """Why the audio should not be moved by what these tracks say; empty where it may be."""
    best = most_confident(tracks)
    if best.lse_c < min_confidence:
        return (
            f"LSE-C {best.lse_c:.3f} is too low to trust the offset {best.offset:+d}; "
            f"--min-confidence {min_confidence:g} is the limit"
        )
    vshift = len(best.curve) // 2
    if abs(best.offset) == vshift:
        return (
            f"the best shift, {best.offset:+d}, lies at the edge of what was tried, so the true one may lie beyond; "
            f"search wider with --vshift {2 * vshift}"
        )
    others = {track.offset for track in tracks if track.lse_c >= min_confidence and abs(track.offset - best.offset) > 1}
    if others:
        offsets = ", ".join(f"{offset:+d}" for offset in sorted({best.offset, *others}))
        return f"its face tracks ask for different shifts ({offsets}); cut the video, and fix the parts"
    return ""


def _confidences(first: Trace, second: Trace, best: TrackScore, shift: int) -> tuple[float, float]:
    """The best track's LSE-C before and after, over the windows that have their sound both times.

    Shifting leaves |shift| frames without audio at one end. Only windows that have audio in both versions are compared,
    and both versions use the first one's lip and MFCC features, so that only the curve differs.
    """
    before = next(kept for kept in first.tracks if kept.score.track_id == best.track_id)
    was = before.curve
    now = next(kept.curve for kept in second.tracks if kept.score.track_id == best.track_id)
    n_was, n_now = len(was.distances), len(now.distances)
    start, stop = max(0, shift), min(n_was + min(0, shift), n_now)
    if stop <= start:
        start, stop = 0, min(n_was, n_now)
    lse_c_was, lse_c_now = (before.scores(_part(curve, start, stop))[1] for curve in (was, now))
    return lse_c_was, lse_c_now


def _part(curve: SyncCurve, start: int, stop: int) -> SyncCurve:
    """The curve of the windows start ... stop - 1."""
    distances = curve.distances[start:stop]
    return SyncCurve(distances, lse.mean_curve(distances))
