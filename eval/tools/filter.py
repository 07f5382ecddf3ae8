"""`lipscore filter`: sort videos into good and poor by the confidence and offset of their most confident face track."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lipscore.errors import UsageError
from lipscore.eval.options import Request
from lipscore.eval.run.batch import Ran, run_batch
from lipscore.eval.run.inputs.fetch import url_of
from lipscore.eval.run.jobs import Reporter
from lipscore.eval.store.judged import no_offset
from lipscore.eval.store.records import track_as_json
from lipscore.media.files.aside import replace_whole, unwritable
from lipscore.metrics.reduce import most_confident
from lipscore.types import VideoScore

SCHEMA = 1
RESULTS = "sync_filter_results.json"
GOOD, POOR = "good_quality", "poor_quality"
Decision = Literal["good", "poor", "no_face", "failed"]
DECISIONS: tuple[Decision, ...] = ("good", "poor", "no_face", "failed")


@dataclass(frozen=True, slots=True)
class Limits:
    """A good video has an LSE-C of at least min_confidence and an absolute offset of at most max_abs_offset frames."""

    min_confidence: float
    max_abs_offset: int


PRESETS = {
    "strict": Limits(8.0, 2),
    "high": Limits(6.0, 3),
    "medium": Limits(4.0, 5),
    "relaxed": Limits(2.0, 8),
}


def limits(preset: str, min_confidence: float | None, max_abs_offset: int | None) -> Limits:
    """A preset's limits, with the given values in place of its own.

    Raises:
        UsageError: the preset is unknown, or max_abs_offset is negative.
    """
    if preset not in PRESETS:
        raise UsageError.about("preset", preset, f"unknown preset; use one of {', '.join(PRESETS)}")
    if max_abs_offset is not None and max_abs_offset < 0:
        raise UsageError.about("max_abs_offset", max_abs_offset, "must be 0 or more")
    found = PRESETS[preset]
    return Limits(
        found.min_confidence if min_confidence is None else min_confidence,
        found.max_abs_offset if max_abs_offset is None else max_abs_offset,
    )


def decide(score: VideoScore, limit: Limits) -> tuple[Decision, list[str]]:
    """(the decision on a video by its most confident face track, the reasons); a good video has no reasons."""
    if score.status in ("no_face", "no_track"):
        return "no_face", [score.reason]
    if score.status != "ok":
        return "failed", [f"{score.status}: {score.reason}"]
    best = most_confident(score.tracks)
    reasons = []
    if why := no_offset(score):
        reasons.append(why)
    if not best.lse_c >= limit.min_confidence:
        reasons.append(f"confidence {best.lse_c:.3f} is below {limit.min_confidence:g}")
    if abs(best.offset) > limit.max_abs_offset:
        reasons.append(f"offset {best.offset:+d} is more than {limit.max_abs_offset} frames away from 0")
    return ("poor" if reasons else "good"), reasons


def filter_videos(
    request: Request,
    limit: Limits,
    settings: dict[str, Any],
    reporter: Reporter,
    command: Sequence[str] = (),
    *,
    place: str = "link",
) -> tuple[Ran, Counter[str]]:
    """Score the inputs, decide on each, and sort them into the output folder.

    The output folder also holds the scores, in the files of `lipscore score`, so another preset on the same videos does
    not score them again. Input files are never changed.

    Args:
        settings: further settings for the results file, in addition to the limits.
        command: the command line, for run.json.
        place: "link" (symbolic), "copy", or "none" for the results file only.

    Returns:
        The run, and the number of videos per decision.

    Raises:
        UsageError: the output folder lies in an input folder, or an input is a URL and is to be placed.
        LipscoreError: as `run_batch`.
    """
    out = request.output.out
    assert out is not None
    _check(out, request.inputs.inputs, place)
    ran = run_batch(request, reporter, command)
    videos = []
    decided = [(record.score, *decide(record.score, limit)) for record in ran.outcome.records]
    names = _places([Path(score.video) for score, _, _ in decided])
    if place != "none":
        _clear(out)
    for (score, decision, reasons), name in zip(decided, names, strict=True):
        target = out / (GOOD if decision == "good" else POOR) / name
        placed = place != "none" and decision in ("good", "poor")
        if placed:
            _put(Path(score.video), target, place)
        videos.append(_as_json(score, decision, reasons, str(target.relative_to(out)) if placed else None))
    counts: Counter[str] = Counter(decision for _, decision, _ in decided)
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": {
            "min_confidence": limit.min_confidence,
            "max_abs_offset": limit.max_abs_offset,
            **settings,
            "protocol": ran.made.blank.protocol,
            "protocol_hash": ran.made.blank.protocol_hash,
            "changed": list(ran.made.blank.changed),
            "model": ran.made.blank.model,
            "comparable": ran.made.blank.comparable,
        },
        "counts": {"total": ran.counts.total, **{decision: counts[decision] for decision in DECISIONS}},
        "videos": videos,
    }
    replace_whole(out / RESULTS, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return ran, counts


def _check(out: Path, inputs: Sequence[Path], place: str) -> None:
    where = out.resolve()
    for given in inputs:
        if place != "none" and (url := url_of(given)):
            raise UsageError(f"{url}: there is no file to link or copy; fetch it first, or give --keep-all")
        if given.is_dir() and (where == given.resolve() or given.resolve() in where.parents):
            raise UsageError.about(
                "output_dir",
                out,
                f"lies in the input folder {given}, where the next run would find the sorted videos as inputs; "
                "name a folder outside it",
            )


def _places(videos: Sequence[Path]) -> list[Path]:
    """Each video's path below good_quality or poor_quality: its path below the folder that contains all videos."""
    if not videos:
        return []
    whole = [Path(os.path.normpath(video.absolute())) for video in videos]
    shared = Path(os.path.commonpath([video.parent for video in whole]))
    return [video.relative_to(shared) for video in whole]


def _clear(out: Path) -> None:
    """Remove the files that an earlier run placed, so that no video is in both folders; its results file lists them."""
    try:
        before = json.loads((out / RESULTS).read_bytes())
        placed = [video["placed"] for video in before["videos"] if video["placed"]]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in placed:
        target = out / name
        if Path(name).parts[0] in (GOOD, POOR) and ".." not in Path(name).parts:
            target.unlink(missing_ok=True)


def _put(video: Path, target: Path, place: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if place == "copy":
            shutil.copy2(video, target)
        else:
            target.symlink_to(video.resolve())
    except OSError as error:
        raise unwritable(target, error) from error


def _as_json(score: VideoScore, decision: Decision, reasons: list[str], placed: str | None) -> dict[str, Any]:
    tracks = [
        {name: value for name, value in track_as_json(track).items() if name != "curve"} | {"confidence": track.lse_c}
        for track in score.tracks
    ]
    return {
        "video": score.video,
        "name": score.name,
        "status": score.status,
        "decision": decision,
        "reasons": reasons,
        "placed": placed,
        "tracks": tracks,
    }
