"""`lipscore fix --max-offset`: move the audio by what `detect` finds, and keep the result if it is in sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipscore.errors import UsageError
from lipscore.eval.options import DetectOptions
from lipscore.eval.setup import Setup
from lipscore.eval.tools.fix import ATTEMPTS, Verdict, moved_by
from lipscore.eval.tools.longrange.detect import detect
from lipscore.eval.tools.longrange.detection import Detection, drift_sentence
from lipscore.media import edit
from lipscore.media.files.scratch import scratch
from lipscore.syncnet.window import FRAME_RATE


@dataclass(frozen=True, slots=True)
class Mended:
    """The result: a verdict, a sentence with the reason, and the detections before and after the shift, if any.

    Only "fixed" leaves a file.
    """

    verdict: Verdict
    message: str
    before: Detection
    after: Detection | None = None


def mend(
    path: Path,
    target: Path,
    setup: Setup,
    options: DetectOptions,
    on_stage: Callable[[str], None] | None = None,
) -> Mended:
    """Detect, shift, detect again; the target is written only if the offset is then 0 and certain.

    If an offset of one frame remains, the audio is shifted once more and searched again.

    Raises:
        UsageError: the target is the video itself.
        MissingError, MediaError: the target cannot be written.
    """
    if target.resolve() == path.resolve():
        raise UsageError.about("out", target, "is the video itself; name another file")
    before = detect(path, setup, options, on_stage=on_stage)
    offset = before.offset
    if offset is None:
        verdict: Verdict = "refused" if before.status == "unknown" else "not_scored"
        return Mended(verdict, f"{before.status}: {before.reason}", before)
    if before.drift is not None and before.drift.steady:
        return Mended("refused", f"no single shift fixes it: {drift_sentence(before.drift)}", before)
    differ = {t.found.peak.offset for t in before.tracks if t.found.peak is not None and not t.found.trouble}
    if differ and max(differ) - min(differ) > 1:
        asked = ", ".join(f"{one:+d}" for one in sorted(differ))
        return Mended(
            "refused", f"its face tracks need different shifts ({asked}); cut the video, and fix the parts", before
        )
    if offset == 0:
        return Mended("in_sync", "the offset is 0 already; nothing was written", before)
    same_boxes = setup.with_detector(lambda _: setup.models.detector_for(path))  # the picture stays what it was
    with scratch() as folder:
        moved = folder / f"{path.stem}{target.suffix}"
        shift, left = 0, offset
        for _ in range(ATTEMPTS):
            shift += left
            shifted = edit.shift_audio(path, moved, Fraction(shift, FRAME_RATE))
            after = detect(moved, same_boxes, options, on_stage=on_stage)
            left = after.offset or 0
            if abs(left) != 1 or shift + left == 0:
                break
        did = moved_by(Fraction(shift, FRAME_RATE), shifted)
        if after.offset is None:
            trouble = f"the result is {after.status} ({after.reason})"
        else:
            trouble = f"the offset is then {left:+d}, not 0" if left else ""
        if trouble:
            return Mended("not_better", f"{did}, but {trouble}; nothing was written", before, after)
        edit.move(moved, target)
    return Mended("fixed", f"{did}: offset {offset:+d} -> 0", before, after)
