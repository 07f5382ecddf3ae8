"""`lipscore fix`: move the audio by the measured offset, and keep the result only if its score confirms the fix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from lipscore.errors import UsageError
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.store.judged import no_offset
from lipscore.eval.trace import Trace
from lipscore.media import edit
from lipscore.media.files.scratch import scratch
from lipscore.metrics import lse
from lipscore.metrics.reduce import most_confident
from lipscore.syncnet.motion import is_still
from lipscore.types import SyncCurve, TrackScore, VideoScore

MIN_CONFIDENCE = 3.0  # LSE-C; below this, the position of the curve's minimum is unreliable
NOISE = 0.03  # tolerated relative loss of LSE-C; encoding and resampling changed it by up to 1.9 % on 19 clips (mini)
# Frames by which a model's offset may be off on a video in sync. SyncNet's is a whole number; the built-in model's were
# within a frame on all of 23 recordings with a known offset
ERRORS = {"vgg": 0.5, "mini": 1.0}
ATTEMPTS = 2  # audio between two frames may be off by one frame after the first shift
Verdict = Literal["fixed", "in_sync", "refused", "not_better", "not_scored"]


@dataclass(frozen=True, slots=True)
class Fix:
    """The result: a verdict, a message with the reason, and the scores before and after the shift (None without one).

    Only "fixed" leaves a file. audio: "copied" or "encoded" if it was moved.
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
    """Score, shift, score again; the target is written only if the offset is then 0 and the LSE-C is not lower.

    If an offset of one frame remains, the audio is shifted once more and scored again.

    Args:
        min_confidence: the minimum LSE-C at which an offset is trusted.
        on_stage: called with the name of each stage that begins.

    Raises:
        UsageError: the target is the video itself, or has another format than the video.
        MissingError, MediaError: the target cannot be written.
    """
    if target.resolve() == path.resolve():
        raise UsageError.about("out", target, "is the video itself; name another file")
    protocol = setup.protocol
    if protocol.reduce == "mean_offset":
        raise UsageError.about(
            "protocol", protocol.name, "averages the offsets of tracks; use a protocol that does not, such as wav2lip"
        )
    first = Trace()
    before = score_video(path, setup, trace=first, on_stage=on_stage)
    if before.status != "ok":
        return Fix("not_scored", f"{before.status}: {before.reason}", before)
    best = most_confident(before.tracks)
    if nothing := no_offset(before):
        return Fix("refused", f"{nothing}, so that the offset {best.offset:+d} means nothing", before)
    if reason := why_not(before.tracks, min_confidence):
        return Fix("refused", reason, before)
    if best.offset == 0:
        return Fix("in_sync", f"the offset is 0 already (LSE-C {best.lse_c:.3f}); nothing was written", before)
    model = setup.models.sync.name
    exact = lse.between_frames(_curve_of(first, best).mean)
    if abs(exact) <= ERRORS.get(model, 0.0):
        reason = f"the offset, {best.offset:+d} ({exact:+.2f} between frames), is within the error of model {model}"
        return Fix("in_sync", f"{reason}, {ERRORS[model]:g} frames; nothing was written", before)
    rate = Fraction(before.fps if protocol.direct and before.fps else protocol.frame_rate)
    same_boxes = setup.with_detector(lambda _: setup.models.detector_for(path))  # boxes from files belong to `path`
    with scratch() as folder:
        moved = folder / f"{path.stem}{target.suffix}"
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
        did = moved_by(shift / rate, shifted)
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


def moved_by(delay: Fraction, shifted: edit.Shifted) -> str:
    """What was done to the audio, in words; delay: in seconds, positive where it is later now."""
    said = f"moved the audio {float(abs(delay)) * 1000:.0f} ms {'later' if delay > 0 else 'earlier'}"
    said += f" ({'copied' if shifted.copied else 'encoded'})"
    return f"{said}, left {', '.join(shifted.left)} behind" if shifted.left else said


def why_not(tracks: Sequence[TrackScore], min_confidence: float) -> str:
    """The reason why these tracks do not justify moving the audio, or ""."""
    best = most_confident(tracks)
    if best.lse_c < min_confidence:
        return (
            f"LSE-C {best.lse_c:.3f} is too low to trust the offset {best.offset:+d}; "
            f"--min-confidence {min_confidence:g} is the limit"
        )
    vshift = len(best.curve) // 2
    if abs(best.offset) == vshift:
        return (
            f"the best shift, {best.offset:+d}, lies at the edge of the range, and the true one may lie beyond it; "
            f"search wider with --vshift {2 * vshift}"
        )
    sure = [track for track in tracks if track.lse_c >= min_confidence and not is_still(track.mouth_motion)]
    others = {track.offset for track in sure if abs(track.offset - best.offset) > 1}
    if others:
        offsets = ", ".join(f"{offset:+d}" for offset in sorted({best.offset, *others}))
        return f"its face tracks need different shifts ({offsets}); cut the video, and fix the parts"
    return ""


def _confidences(first: Trace, second: Trace, best: TrackScore, shift: int) -> tuple[float, float]:
    """The best track's LSE-C before and after the shift, over the windows that have audio in both versions.

    Shifting leaves |shift| frames without audio at one end. Only windows with audio in both versions are compared. Both
    versions use the lip and MFCC features of the first one, so that only the curve differs.
    """
    before = next(kept for kept in first.tracks if kept.score.track_id == best.track_id)
    was, now = before.curve, _curve_of(second, best)
    n_was, n_now = len(was.distances), len(now.distances)
    start, stop = max(0, shift), min(n_was + min(0, shift), n_now)
    if stop <= start:
        start, stop = 0, min(n_was, n_now)
    lse_c_was, lse_c_now = (before.scores(_part(curve, start, stop))[1] for curve in (was, now))
    return lse_c_was, lse_c_now


def _curve_of(trace: Trace, track: TrackScore) -> SyncCurve:
    return next(kept.curve for kept in trace.tracks if kept.score.track_id == track.track_id)


def _part(curve: SyncCurve, start: int, stop: int) -> SyncCurve:
    """The curve of the windows start ... stop - 1."""
    distances = curve.distances[start:stop]
    return SyncCurve(distances, lse.mean_curve(distances))
