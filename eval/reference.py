"""PSNR and SSIM of one video against its reference: read both as streams, and report how they were compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import torch

from lipscore.device import on_device
from lipscore.errors import MediaError, NotScoredError
from lipscore.eval.options import ReferenceOptions
from lipscore.eval.regions import Regions, face_tracks
from lipscore.media import notes, read
from lipscore.media.limits import Limits, Watch
from lipscore.metrics import catalogue
from lipscore.metrics.image.align import (
    HINT_REACH,
    Pair,
    Pairs,
    ShiftErrors,
    best_shift,
    fit,
    length_warning,
    shift_hint,
)
from lipscore.metrics.image.luma import luma
from lipscore.metrics.image.measure import Images, Measure, Variant
from lipscore.metrics.image.variants import LEAST_SIDE
from lipscore.pool import Pool
from lipscore.syncnet.window import FRAME_RATE
from lipscore.types import Alignment, Frame, MediaInfo, ReferenceScore, Region, Resize, Track

HINT_ROWS = 4  # every fourth row of a frame is compared at other shifts, for a hint
SHIFT_SIDE = 320  # pixels of the longer side when a shift is searched for


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One pair's values by variant name, as in ReferenceScore.values."""

    generated_frame: int
    reference_frame: int
    identical: bool
    values: dict[str, float]


def missing_reference(video: Path, folder: Path, region: Region = "frame") -> ReferenceScore:
    """The record's entry for a video without a reference."""
    return _failed(
        "no_reference",
        f"{folder}: no reference for {video.name}, neither by its path nor by its stem",
        None,
        region,
    )


def score_reference(
    generated: Path,
    reference: Path,
    fps: Fraction | int | None = FRAME_RATE,
    tracks: Sequence[Track] | None = None,
    options: ReferenceOptions | None = None,
    *,
    device: torch.device | str = "cpu",
    pool: Pool | None = None,
    per_frame: Callable[[FrameScore], object] | None = None,
    limits: Limits | None = None,
) -> ReferenceScore:
    """Compare two videos frame by frame, in memory that does not grow with their length.

    Args:
        generated, reference: the two video files.
        fps: the protocol's frame rate, at which the two are aligned; None: the reference's own.
        tracks: the reference's face tracks at 25 fps, for the regions face and mouth; None: they are searched here.
        options: alignment, region, resizing and variants; None: the defaults.
        device: the torch device that computes the numbers.
        pool: the threads that compute them.
        per_frame: called with each pair's values, in order.
        limits: the limits of each of the two videos.

    Returns:
        PSNR and SSIM; if the two cannot be compared, a score without numbers, whose status and reason say why. A file
        that cannot be read raises no error.
    """
    options = options or ReferenceOptions()
    try:
        found = (limits or Limits(), per_frame, str(device), pool or Pool())
        return _score(generated, reference, fps, tracks, options, *found)
    except NotScoredError as error:
        return _failed(error.status, error.reason, reference, options.region)
    except MediaError as error:
        status = "media_error" if reference.exists() else "no_reference"
        return _failed(status, str(error), reference, options.region)


def _score(
    generated: Path,
    reference: Path,
    fps: Fraction | int | None,
    tracks: Sequence[Track] | None,
    options: ReferenceOptions,
    limits: Limits,
    per_frame: Callable[[FrameScore], object] | None,
    device: str,
    pool: Pool,
) -> ReferenceScore:
    theirs, ours = read.probe(reference), read.probe(generated)
    square = ours.sar != theirs.sar or ours.turned != theirs.turned
    by_index = options.align == "index"
    rate = None if by_index else fps or theirs.fps
    warnings: list[str] = []
    if by_index and ours.fps != theirs.fps:
        warnings.append(f"frame rates differ: {float(ours.fps):g} generated, {float(theirs.fps):g} in the reference")
    (width, height), (their_width, their_height) = ours.display_size, theirs.display_size
    if abs(width * their_height / (height * their_width) - 1) > 0.01:
        sizes = f"{width}x{height} generated, {their_width}x{their_height} in the reference"
        warnings.append(f"aspect ratios differ: {sizes}")
    if ours.transfer != theirs.transfer:
        kinds = f"{ours.transfer.upper()} generated, {theirs.transfer.upper()} in the reference"
        warnings.append(f"transfer functions differ, so brightness is not comparable: {kinds}")
    if options.region != "frame" and not tracks:
        tracks = face_tracks(theirs, pool, square=square) if tracks is None else tracks
        if not tracks:
            return _failed(
                "no_face", f"--region {options.region}: no face track in the reference", reference, options.region
            )
    regions = Regions(options.region, tracks or (), FRAME_RATE, float(rate or theirs.fps))
    shift = 0
    if options.align == "shift":
        size = _small_size(*theirs.display_size)
        shift = best_shift(_small(ours, rate, size), _small(theirs, rate, size), options.max_shift)
        if options.max_shift and abs(shift) == options.max_shift:
            warnings.append(f"the best shift lies at the edge of the range; try --max-shift {2 * options.max_shift}")
    counts = read.Decoded(), read.Decoded()
    pairs = Pairs(
        _watched(ours, limits).frames(read.frames_at(ours, rate, square=square, counts=counts[0])),
        _watched(theirs, limits).frames(read.frames_at(theirs, rate, square=square, counts=counts[1])),
        shift,
    )
    errors = ShiftErrors(HINT_REACH if options.align != "shift" else 0)
    tally = _Tally(catalogue.image_variants(options.all_variants), per_frame)
    for work in pool.spread(tally.look, _jobs(pairs, regions, options, tally, errors, device)):
        tally.add(*work)
    for info, found, side in zip((ours, theirs), counts, ("generated", "reference"), strict=True):
        if missing := notes.shortfall(info, found):
            warnings.append(f"{side}: {missing}")
    said = length_warning(pairs.n_generated, pairs.n_reference), shift_hint(errors)
    warnings += [warning for warning in said if warning]
    warnings += tally.left_out(options.region)
    alignment = Alignment(
        method=options.align,
        n_generated=pairs.n_generated,
        n_reference=pairs.n_reference,
        n_compared=tally.n,
        shift=shift,
        resized=options.resize if tally.resized else None,
        warning="; ".join(warnings) or None,
    )
    return tally.score(reference, options.region, alignment)


def _watched(video: MediaInfo, limits: Limits) -> Watch:
    watch = Watch(limits, video.path.stat().st_size, FRAME_RATE)
    watch.lasting(video.duration_s)
    return watch


@dataclass(frozen=True, slots=True)
class _Job:
    """A pair's frame numbers, its two regions of one size, uint8[H, W, 3], and the device that measures them."""

    pair: tuple[int, int]
    generated: Frame
    reference: Frame
    device: str


def _jobs(
    pairs: Pairs, regions: Regions, options: ReferenceOptions, tally: _Tally, errors: ShiftErrors, device: str
) -> Iterator[_Job]:
    for pair in pairs:
        generated = _fitted(pair, options.resize, tally)
        errors.add(generated[::HINT_ROWS], pair.reference[::HINT_ROWS])
        cut = regions.cut(pair.reference_index, generated, pair.reference)
        if cut is None:
            tally.without_face += 1
        elif min(cut[0].shape[:2]) < LEAST_SIDE:
            tally.too_small += 1
        else:
            yield _Job((pair.generated_index, pair.reference_index), *cut, device)


def _fitted(pair: Pair, resize: Resize, tally: _Tally) -> Frame:
    generated = fit(pair.generated, pair.reference, resize)
    tally.resized |= generated is not pair.generated
    return generated


class _Tally:
    """The measures of a video, and the number of pairs that they cover."""

    def __init__(self, variants: Sequence[Variant], per_frame: Callable[[FrameScore], object] | None) -> None:
        self.n = self.n_identical = self.without_face = self.too_small = 0
        self.resized = False
        self._per_frame = per_frame
        self._variants = variants
        self._measures: dict[str, Measure] = {variant.name: variant.measure() for variant in variants}
        self._counts: Counter[str] = Counter()

    def look(self, job: _Job) -> tuple[_Job, bool, dict[str, Any]]:
        """(the job, whether its two frames are identical, what each measure saw); on any thread."""
        with on_device(torch.device(job.device)):
            images = Images(job.generated, job.reference, job.device)
            fitting = [variant.name for variant in self._variants if images.least_side >= variant.least_side]
            seen = {name: self._measures[name].look(images) for name in fitting}
            return job, images.squared_error("rgb") == 0, seen

    def add(self, job: _Job, identical: bool, seen: dict[str, Any]) -> None:
        """Add the next pair, in order."""
        found = {name: self._measures[name].add(saw) for name, saw in seen.items()}
        self._counts.update(seen.keys())
        self.n += 1
        self.n_identical += identical
        if self._per_frame is not None:
            values = {name: value for name, value in found.items() if value is not None}
            self._per_frame(FrameScore(*job.pair, identical, values))

    def left_out(self, region: Region) -> list[str]:
        """The warnings about pairs that were not compared."""
        said = [f"{self.without_face} frames without a face left out"] if self.without_face else []
        if self.too_small:
            said.append(f"{self.too_small} frames left out: the {region} is smaller than {LEAST_SIDE} px")
        return said

    def score(self, reference: Path, region: Region, alignment: Alignment) -> ReferenceScore:
        """The record."""
        if not self.n:
            status = "too_small" if self.too_small else "no_face" if self.without_face else "no_overlap"
            reason = "no pair of frames could be compared"
            return _failed(status, f"{reason}: {alignment.warning or 'the two do not overlap'}", reference, region)
        # a measure is left out if some pair was too small for it
        values = {name: measure.result() for name, measure in self._measures.items() if self._counts[name] == self.n}
        named = catalogue.against_reference(values)
        return ReferenceScore(
            status="ok",
            reason="",
            reference=str(reference),
            region=region,
            psnr=named["psnr"],
            ssim=named["ssim"],
            values=values,
            n_identical=self.n_identical,
            alignment=alignment,
            psnr_pooled=named["psnr_pooled"],
            psnr_variant=catalogue.variant_of("psnr"),
            ssim_variant=catalogue.variant_of("ssim"),
        )


def _small_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, SHIFT_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _small(video: MediaInfo, fps: Fraction | int | None, size: tuple[int, int]) -> Iterator[Frame]:
    """The video's luma, uint8[h, w], at the given (w, h)."""
    for frame in read.frames_at(video, fps):
        yield luma(torch.from_numpy(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))).numpy()


def _failed(status: str, reason: str, reference: Path | None, region: Region) -> ReferenceScore:
    where = None if reference is None else str(reference)
    return ReferenceScore(status, reason, where, region, None, None, {}, 0, None)
