"""The catalogue of scores: name, title, unit, level, direction, format and weight files of each.

The summary, the table, the progress line, scores.csv, all_scores.txt, `lipscore average` and run.json read SCORES. To
add a score against a reference, write a function of a pair of frames (`lipscore.metrics.image.measure`) and add an
entry here:

    Score("lpips", "LPIPS", "video", "lower", variant=Variant("lpips-alex", partial(Mean, lpips_of)))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from lipscore.metrics.image import variants
from lipscore.metrics.image.measure import Variant
from lipscore.types import TrackScore, VideoScore
from lipscore.weights.catalogue import S3FD, SYNCNET

ESTIMATING = ("mini",)  # the models that estimate SyncNet's scores
ESTIMATE_MARK = "~"  # appended to the title if the numbers are estimates


@dataclass(frozen=True, slots=True)
class Score:
    """A score.

    name: the name in records, files and run.json: a field of VideoScore (and of TrackScore for level "track"), or else
        a key of VideoScore.scores.
    title: the name in tables.
    level: "track" if each face track has a value, from which the protocol's rule computes the video's; "video" if there
        is one value per video.
    better: "lower", "higher", or "zero" if the sign only gives the direction of the error.
    unit: the unit of the numbers, or "". form: the format specification for tables.
    averaged: whether the mean over rows and videos is meaningful.
    shown: whether tables, files and means include the score; False if only a record's `reference` does.
    variant: for a score against a reference, its exact definition.
    weights: the weight files that the score needs, by their names in weights/catalogue.py.
    estimated: whether models in ESTIMATING only estimate the score.
    """

    name: str
    title: str
    level: Literal["track", "video"]
    better: Literal["lower", "higher", "zero"]
    unit: str = ""
    form: str = ".3f"
    averaged: bool = True
    shown: bool = True
    variant: Variant | None = None
    weights: tuple[str, ...] = ()
    estimated: bool = False

    @property
    def has_field(self) -> bool:
        """Whether every record has a field for the score; every table then has a column for it."""
        return self.name in VideoScore.__dataclass_fields__

    def of(self, score: VideoScore | TrackScore) -> float | None:
        """The score's value in a record or a track, or None."""
        if self.has_field:
            value: float | None = getattr(score, self.name, None)
            return value
        return score.scores.get(self.name) if isinstance(score, VideoScore) else None

    def title_for(self, models: Iterable[str | None]) -> str:
        """The title, marked if one of these models only estimates the score.

        >>> LSE_D.title_for(["mini"]), LSE_D.title_for(["vgg"]), PSNR.title_for(["mini"])
        ('LSE-D~', 'LSE-D', 'PSNR')
        """
        return self.title + ESTIMATE_MARK * (self.estimated and any(model in ESTIMATING for model in models))

    def text(self, value: float) -> str:
        """A value, formatted as in tables."""
        return format(value, self.form)

    def cell(self, value: float | None) -> str:
        """A value formatted as in tables, or "-" for None."""
        return "-" if value is None or math.isnan(value) else self.text(value)

    @property
    def arrow(self) -> str:
        """An arrow in the direction of better values; empty if zero is best."""
        return {"lower": "↓", "higher": "↑", "zero": ""}[self.better]


_LSE_WEIGHTS = (SYNCNET, S3FD)
LSE_D = Score("lse_d", "LSE-D", "track", "lower", weights=_LSE_WEIGHTS, estimated=True)
LSE_C = Score("lse_c", "LSE-C", "track", "higher", weights=_LSE_WEIGHTS, estimated=True)
OFFSET = Score("offset", "offset", "track", "zero", "frames", "d", averaged=False, weights=_LSE_WEIGHTS)
OFFSET_MS = Score("offset_ms", "offset", "track", "zero", "ms", "+.0f", averaged=False, weights=_LSE_WEIGHTS)
PSNR = Score("psnr", "PSNR", "video", "higher", "dB", variant=variants.PSNR_RGB)
SSIM = Score("ssim", "SSIM", "video", "higher", variant=variants.SSIM_WANG_LUMA)
PSNR_POOLED = Score(
    "psnr_pooled", "pooled PSNR", "video", "higher", "dB", shown=False, variant=variants.PSNR_RGB_POOLED
)

SCORES: tuple[Score, ...] = (LSE_D, LSE_C, OFFSET, PSNR, SSIM, PSNR_POOLED, OFFSET_MS)


def shown(records: Iterable[VideoScore] = ()) -> tuple[Score, ...]:
    """The scores for the columns of a table: every score with its own field, and further ones that a record has."""
    held = {name for record in records for name in record.scores}
    return tuple(score for score in SCORES if score.shown and (score.has_field or score.name in held))


def averaged(records: Iterable[VideoScore] = ()) -> tuple[Score, ...]:
    """The scores in `shown` whose mean is meaningful."""
    return tuple(score for score in shown(records) if score.averaged)


def further() -> tuple[Score, ...]:
    """The shown scores without their own field, which records hold in `scores`."""
    return tuple(score for score in SCORES if score.shown and not score.has_field)


def image_variants(every: bool = False) -> tuple[Variant, ...]:
    """The image variants to compute for each pair of frames, in the order of a record's `reference.values`.

    Args:
        every: include the variants that are computed only on request.
    """
    own = [score.variant for score in SCORES if score.variant is not None]
    known = {variant.name: variant for variant in (*variants.VARIANTS, *own)}
    return tuple(variant for variant in known.values() if every or not variant.asked)


def variant_of(name: str) -> str:
    """The name of a score's image variant, or ""."""
    return next((score.variant.name for score in SCORES if score.name == name and score.variant is not None), "")


def unit_of(variant: str) -> str:
    """The unit of an image variant's numbers, by the variant's name, or ""."""
    return next((known.unit for known in image_variants(every=True) if known.name == variant), "")


def against_reference(values: Mapping[str, float]) -> dict[str, float]:
    """Map image variants' values to score names; scores whose variant was not computed are left out."""
    return {
        score.name: values[score.variant.name]
        for score in SCORES
        if score.variant is not None and score.variant.name in values
    }


def without_field(values: Mapping[str, float]) -> dict[str, float]:
    """The part of image variants' values that goes into VideoScore.scores."""
    named = against_reference(values)
    return {score.name: named[score.name] for score in further() if score.name in named}


def lse_text(track: TrackScore, model: str) -> str:
    """A track's LSE-D and LSE-C as text, marked if the model estimates them: "LSE-D 7.123, LSE-C 6.012"."""
    return ", ".join(f"{score.title_for([model])} {score.text(getattr(track, score.name))}" for score in (LSE_D, LSE_C))
