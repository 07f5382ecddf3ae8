"""`lipscore noise`: how far scores move under changes that no viewer sees.

Each video of a sample is scored unchanged and under every change. The result is a band: a difference within it says
nothing about sync.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lipscore.errors import MediaError, UsageError
from lipscore.eval.report.table.build import ABS_OFFSET
from lipscore.eval.run.inputs.paths import Found
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.media import edit, read
from lipscore.media.files.aside import replace_whole
from lipscore.media.files.scratch import scratch
from lipscore.types import VideoScore

FILE = "noise.json"
SAMPLE = 20
QUANTILE = 0.95  # of single videos' differences lie inside the band
SAME_PICTURE, SAME_SOUND = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast"), ("-c:a", "pcm_s16le")  # no loss


@dataclass(frozen=True, slots=True)
class Change:
    """A change: FFmpeg's options for the file, or a factor on the protocol's crop_scale; neither: frame removed.

    suffix: of the changed file. Compressed sound goes into MP4, which records the encoder's delay.
    """

    name: str
    about: str
    options: tuple[str, ...] = ()
    crop: float = 1.0
    suffix: str = ".mkv"


CHANGES = (
    Change("h264", "H.264, CRF 18", ("-c:v", "libx264", "-crf", "18", *SAME_SOUND)),
    Change("h265", "H.265, CRF 20", ("-c:v", "libx265", "-crf", "20", "-x265-params", "log-level=none", *SAME_SOUND)),
    Change("aac", "AAC, 128 kbit/s", (*SAME_PICTURE, "-c:a", "aac", "-b:a", "128k"), suffix=".mp4"),
    Change("mp3", "MP3, 128 kbit/s", (*SAME_PICTURE, "-c:a", "libmp3lame", "-b:a", "128k"), suffix=".mp4"),
    Change(
        "smaller", "0.9 times the size", ("-vf", "scale=trunc(iw*0.45)*2:trunc(ih*0.45)*2", *SAME_PICTURE, *SAME_SOUND)
    ),
    Change("frame_off", "first frame removed, with its sound"),
    Change("crop_wider", "crops 4 % wider around the face box", crop=1.04),
    Change("crop_tighter", "crops 4 % tighter around the face box", crop=0.96),
)
SCORES: dict[str, Callable[[VideoScore], float | None]] = {
    "lse_d": lambda score: score.lse_d,
    "lse_c": lambda score: score.lse_c,
    ABS_OFFSET: lambda score: score.offset_ms,
}


@dataclass(frozen=True, slots=True)
class Moved:
    """The effect of a change: each score's differences (changed - original), one per video. failed: names, reasons."""

    change: Change
    differences: dict[str, list[float]]
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """The sample's size, the effect of each change, and the videos that could not be scored unchanged."""

    n: int
    moved: tuple[Moved, ...]
    not_scored: tuple[VideoScore, ...]

    @property
    def bands(self) -> dict[str, dict[str, float]]:
        """Score name -> "video": the QUANTILE of |difference|; "mean": the largest |mean difference| of a change."""
        bands = {}
        for name in SCORES:
            of_changes = [moved.differences[name] for moved in self.moved if moved.differences[name]]
            if of_changes:
                single = np.abs(np.concatenate(of_changes))
                largest = max(abs(float(np.mean(found))) for found in of_changes)
                bands[name] = {"video": float(np.quantile(single, QUANTILE)), "mean": largest}
        return bands


def sample(found: Sequence[Found], size: int, seed: int) -> list[Found]:
    """A random sample of `size` videos, drawn by the seed, in their order."""
    if size >= len(found):
        return list(found)
    drawn = np.random.default_rng(seed).choice(len(found), size, replace=False)
    return [found[place] for place in sorted(drawn)]


def measure(
    videos: Sequence[Found], setup: Setup, say: Callable[[str], object], tell: Callable[[str], object] | None = None
) -> Noise:
    """Score each video unchanged and under every change.

    Args:
        say: called with a line for each video that could not be scored.
        tell: called with a line for each other video; default: say.

    Raises:
        UsageError: no video can be scored unchanged.
    """
    changes = [change for change in CHANGES if change.crop == 1 or not setup.protocol.direct]
    differences: dict[str, dict[str, list[float]]] = {change.name: {key: [] for key in SCORES} for change in changes}
    failed: dict[str, list[tuple[str, str]]] = {change.name: [] for change in changes}
    not_scored = []
    for place, video in enumerate(videos, start=1):
        if video.problem:
            lacking = f"{video.url or video.path}: {video.problem}"
            original = replace(setup.blank(str(video.path), video.name), reason=lacking)
        else:
            original = score_video(video.path, setup, name=video.name)
        if original.silent:  # what it scores is part of no mean either
            original = replace(original, status="no_audio", reason="no audible speech")
        if original.status != "ok":
            not_scored.append(original)
            say(f"[{place}/{len(videos)}] {video.name}: {original.status}: {original.reason}")
            continue
        for change in changes:
            changed = scored_under(video, change, setup)
            if changed.status != "ok":
                failed[change.name].append((video.name, f"{changed.status}: {changed.reason}"))
                continue
            for key, of in SCORES.items():
                before, after = of(original), of(changed)
                if before is not None and after is not None:
                    differences[change.name][key].append(after - before)
        (tell or say)(f"[{place}/{len(videos)}] {video.name}: scored unchanged and under {len(changes)} changes")
    if len(not_scored) == len(videos):
        raise UsageError(f"none of {len(videos)} videos can be scored, the last: {not_scored[-1].reason}")
    moved = tuple(Moved(change, differences[change.name], tuple(failed[change.name])) for change in changes)
    return Noise(len(videos) - len(not_scored), moved, tuple(not_scored))


def scored_under(video: Found, change: Change, setup: Setup) -> VideoScore:
    """Score the video under a change."""
    if change.crop != 1:
        scale = setup.protocol.crop_scale * change.crop
        return score_video(video.path, replace(setup, protocol=replace(setup.protocol, crop_scale=scale)))
    boxes = setup.with_detector(lambda _: setup.models.detector_for(video.path))
    with scratch() as folder:
        target = folder / f"changed{change.suffix}"
        try:
            if change.options:
                edit.altered(video.path, target, change.options)
            else:
                info = read.probe(video.path)
                edit.cut(info, target, 1 / info.fps, (info.n_frames - 1) / info.fps)
        except MediaError as error:
            return replace(setup.blank(str(video.path), video.name), reason=str(error))
        return score_video(target, boxes)


def lines(noise: Noise, models: Sequence[str]) -> list[str]:
    """The result as lines of text."""
    from lipscore.metrics.catalogue import LSE_C, LSE_D

    titles = {"lse_d": LSE_D.title_for(models), "lse_c": LSE_C.title_for(models), ABS_OFFSET: "offset ms"}
    found = [f"{noise.n} videos; mean difference (largest) under each change:"]
    for moved in noise.moved:
        parts = [
            f"{titles[key]} {np.mean(values):+.3f} ({max(values, key=abs):+.3f})"
            for key, values in moved.differences.items()
            if values
        ]
        lacking = f"; {len(moved.failed)} not scored" if moved.failed else ""
        found.append(f"{moved.change.about}: {', '.join(parts) or 'no video scored'}{lacking}")
    for key, band in noise.bands.items():
        found.append(f"band of {titles[key]}: {band['video']:.3f} for a video, {band['mean']:.3f} for a mean")
    return found


def write(noise: Noise, out: Path, setup: Setup, seed: int) -> Path:
    """Write OUT/noise.json.

    Raises:
        MissingError: it cannot be written.
    """
    changes: list[dict[str, Any]] = [
        {
            "name": moved.change.name,
            "about": moved.change.about,
            "differences": moved.differences,
            "not_scored": [{"name": name, "reason": reason} for name, reason in moved.failed],
        }
        for moved in noise.moved
    ]
    content = {
        "schema": 1,
        "signature": str(setup.signature),
        "seed": seed,
        "n": noise.n,
        "bands": noise.bands,
        "changes": changes,
        "not_scored": [{"name": one.name, "status": one.status, "reason": one.reason} for one in noise.not_scored],
    }
    path = out / FILE
    replace_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
    return path
