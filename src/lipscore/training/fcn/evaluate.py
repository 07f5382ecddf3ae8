"""How often a wide search is right on files of known offset, compared with a constant and with SyncNet's search.

The files are made by `streams.files`: real stretches of clips, both streams equally long, offsets uniform in the range.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch

from lipscore.metrics import longrange, lse
from lipscore.metrics.longrange import cosine_map, sums_of
from lipscore.metrics.reduce import bootstrap_mean
from lipscore.syncnet.models.fcn import OffsetHead, features, reading
from lipscore.syncnet.window import FRAME_RATE, N_FRAMES, VSHIFT
from lipscore.training.fcn.streams import File, Shape, Stream, files
from lipscore.types import Floats

SECOND = FRAME_RATE  # frames
BANDS = (15, 50, 75, 100, math.inf)  # of |offset|, upper ends
OVERLAPS = (25, 50, 75, 100, 130, 200, math.inf)  # of windows, upper ends


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method says of a file: an offset in frames, and how sure it is of it (any scale that rises)."""

    offset: float
    sure: float = 0.0


Method = Callable[[File, Floats, int], Answer]  # the file, its map of cosines, the range


def by_root_n(file: File, cosines: Floats, reach: int) -> Answer:  # noqa: ARG001
    """The statistic of `lipscore.metrics.longrange`."""
    peak = longrange.find_peak(sums_of(cosines))
    return Answer(0) if peak is None else Answer(peak.offset, longrange.confidence(peak))


def by_mean(file: File, cosines: Floats, reach: int) -> Answer:  # noqa: ARG001
    """SyncNet's rule over the whole range: the smallest mean distance, of however few windows."""
    sync = lse.sync_of(lse.mean_curve(_distances(cosines)))
    return Answer(sync.offset, sync.lse_c)


def by_syncnet(file: File, cosines: Floats, reach: int) -> Answer:  # noqa: ARG001
    """SyncNet's rule and SyncNet's range."""
    narrow = cosines[:, max(0, reach - VSHIFT) : reach + VSHIFT + 1]
    sync = lse.sync_of(lse.mean_curve(_distances(narrow)))
    return Answer(sync.offset, sync.lse_c)


def by_nothing(file: File, cosines: Floats, reach: int) -> Answer:  # noqa: ARG001
    """Always 0."""
    return Answer(0)


def by_head(head: OffsetHead) -> Method:
    """A head as a method."""

    @torch.inference_mode()
    def answer(file: File, cosines: Floats, reach: int) -> Answer:  # noqa: ARG001
        found = reading(head(torch.from_numpy(features(cosines))[None])[0])
        return Answer(found.offset, found.probability)

    return answer


def by_guess(file: File, cosines: Floats, reach: int) -> Answer:  # noqa: ARG001
    """A guess, uniform in the range; the same for the same file."""
    rng = np.random.default_rng(crc32(" ".join(file.names).encode()))
    return Answer(int(rng.integers(-reach, reach + 1)))


METHODS: dict[str, Method] = {
    "root-n": by_root_n,
    "mean": by_mean,
    "syncnet-15": by_syncnet,
    "constant 0": by_nothing,
    "guess": by_guess,
}


def _distances(cosines: Floats) -> Floats:
    """The distances of unit vectors with these cosines."""
    distances: Floats = np.sqrt(np.maximum(0, 2 - 2 * cosines))
    return distances


@dataclass(frozen=True, slots=True)
class Item:
    """One file's truth (None: another's sound), its overlap in windows at that, and each method's answer."""

    offset: int | None
    overlap: int
    source: str
    answers: Mapping[str, Answer]
    seconds: Mapping[str, float]


def measure(
    streams: Sequence[Stream],
    shape: Shape,
    methods: Mapping[str, Method],
    samples: int,
    seed: int,
    strangers: float = 0,
) -> list[Item]:
    """`samples` files, each answered by every method.

    Raises:
        UsageError: the clips are too few.
    """
    items = []
    for file in itertools.islice(files(streams, shape, np.random.default_rng(seed), strangers), samples):
        cosines = cosine_map(file.lip, file.audio, file.first, shape.reach)
        answers, seconds = {}, {}
        for name, method in methods.items():
            begun = time.perf_counter()
            answers[name] = method(file, cosines, shape.reach)
            seconds[name] = time.perf_counter() - begun
        at = shape.reach if file.offset is None else shape.reach - file.offset
        overlap = int((~np.isnan(cosines[:, at])).sum())
        items.append(Item(file.offset, overlap, file.names[0], answers, seconds))
    return items


def figures(items: Sequence[Item], method: str, reach: int) -> dict[str, Any]:
    """The published metrics of one method, over the files with their own sound, and what they leave out.

    Errors are |answer - truth| in frames, std_frames is their deviation; accuracies in percent, each with a 95 %
    interval over the files' first clips (`lipscore.metrics.reduce.bootstrap_mean`). coverage_95, coverage_99: the
    largest share that can be answered, surest first, with so many right to a frame.
    """
    own = [item for item in items if item.offset is not None]
    errors = np.array([abs(item.answers[method].offset - (item.offset or 0)) for item in own], np.float64)
    sure = np.array([item.answers[method].sure for item in own])
    found: dict[str, Any] = {
        "num_samples": len(own),
        "mae_frames": _rounded(errors.mean()),
        "mae_seconds": _rounded(errors.mean() / FRAME_RATE),
        "rmse_frames": _rounded(np.sqrt(np.square(errors).mean())),
        "std_frames": _rounded(errors.std()),
        "median_error_frames": _rounded(np.median(errors)),
        "max_error_frames": _rounded(errors.max()),
    }
    for title, limit in (("accuracy_1_frame", 1), ("accuracy_3_frames", 3), ("accuracy_1_second", SECOND)):
        hits = errors <= limit
        by_clip: dict[str, list[float]] = {}
        for item, hit in zip(own, hits, strict=True):
            by_clip.setdefault(item.source, []).append(100.0 * hit)
        interval = bootstrap_mean(list(by_clip.values()))
        found[title] = _rounded(100 * hits.mean())
        found[f"{title}_interval"] = [_rounded(interval.low), _rounded(interval.high)]
    found["coverage_95"] = coverage(errors <= 1, sure, 0.95)
    found["coverage_99"] = coverage(errors <= 1, sure, 0.99)
    found["avg_inference_time_ms"] = _rounded(1000 * float(np.mean([item.seconds[method] for item in own])))
    found["max_offset_range"] = f"+-{reach} frames (+-{reach / FRAME_RATE:g} s)"
    found["by_offset"] = _by([abs(item.offset or 0) for item in own], errors, BANDS)
    found["by_overlap"] = _by([item.overlap for item in own], errors, OVERLAPS)
    return found


def accepted(items: Sequence[Item], method: str, limit: float) -> dict[str, Any]:
    """Of files with another's sound and with their own, which percentage gets an answer at this limit of sureness."""
    strangers = [item.answers[method].sure >= limit for item in items if item.offset is None]
    own = [item for item in items if item.offset is not None and item.answers[method].sure >= limit]
    right = [abs(item.answers[method].offset - (item.offset or 0)) <= 1 for item in own]
    n_own = sum(item.offset is not None for item in items)
    return {
        "strangers": len(strangers),
        "strangers_answered": _rounded(100 * float(np.mean(strangers))) if strangers else None,
        "own_answered": _rounded(100 * len(own) / n_own) if n_own else None,
        "of_these_right": _rounded(100 * float(np.mean(right))) if right else None,
    }


def coverage(hits: Any, sure: Any, wanted: float) -> float:
    """In percent: how many of the answers, surest first, can be given so that this share of them is right."""
    order = np.argsort(-np.asarray(sure), kind="stable")
    right = np.cumsum(np.asarray(hits)[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= wanted)
    return _rounded(100 * (enough[-1] + 1) / len(order)) if len(enough) else 0.0


def paired_difference(items: Sequence[Item], a: str, b: str) -> dict[str, Any]:
    """How much more often b is right to a frame than a, in percent, on the same files, with its interval."""
    by_clip: dict[str, list[float]] = {}
    for item in items:
        if item.offset is not None:
            hit_a, hit_b = (abs(item.answers[name].offset - item.offset) <= 1 for name in (a, b))
            by_clip.setdefault(item.source, []).append(100.0 * (int(hit_b) - int(hit_a)))
    values = [value for rows in by_clip.values() for value in rows]
    interval = bootstrap_mean(list(by_clip.values()))
    return {
        "difference": _rounded(float(np.mean(values))),
        "interval": [_rounded(interval.low), _rounded(interval.high)],
    }


def windows_in(seconds: float) -> tuple[int, int]:
    """Of lips, in a file of so many seconds: from ... to, as `Shape` has it."""
    count = max(1, round(seconds * FRAME_RATE) - N_FRAMES + 1)
    return count, count


def _by(values: Sequence[int], errors: Any, ends: Sequence[float]) -> list[dict[str, Any]]:
    """Accuracy within 1 and 3 frames by band of a value; bands without files are left out."""
    rows, lower = [], 0
    for end in ends:
        inside = [lower <= value and (value <= end) for value in values]
        if any(inside):
            part = errors[np.array(inside)]
            rows.append(
                {
                    "from": lower,
                    "to": None if math.isinf(end) else int(end),
                    "n": len(part),
                    "accuracy_1_frame": _rounded(100 * float((part <= 1).mean())),
                    "accuracy_3_frames": _rounded(100 * float((part <= 3).mean())),
                }
            )
        lower = int(end) + 1 if not math.isinf(end) else 0
    return rows


def _rounded(value: float) -> float:
    return round(float(value), 3)
