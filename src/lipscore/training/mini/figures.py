"""Measure a model on clips in sync: offsets, shifted audio, other clips' audio, estimates against published scores.

The ground truth is offset 0: a clip that is decoded directly is in sync.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lipscore.metrics import lse
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.models.mini import MOUTH, Calibration, MiniEmbedder, MiniSyncNet, features
from lipscore.syncnet.window import FRAME_RATE, SAMPLES_PER_FRAME, VSHIFT
from lipscore.training.batches import Clip, later
from lipscore.training.generators import generator_of
from lipscore.training.mini.calibrate import fit_calibration
from lipscore.training.split import numbered
from lipscore.types import Floats, SyncCurve

SHIFTS = range(-12, 13)  # frames
OTHERS = slice(0, 8, 2)  # which of the following clips with another recording supply mismatched audio
NO_CALIBRATION = Calibration((0.0,) * 4, (0.0,) * 6, (0.0,) * 6)


def raw_embedder(net: MiniSyncNet) -> MiniEmbedder:
    """An uncalibrated CPU embedder with a copy of the net's weights."""
    copy = MiniSyncNet()
    copy.load_state_dict({key: value.cpu() for key, value in net.state_dict().items()})
    return MiniEmbedder(copy, NO_CALIBRATION, torch.device("cpu"))


def lip_of(embedder: MiniEmbedder, frames: NDArray[np.uint8], fps: float) -> Floats:
    """Lip embeddings at 25 frames a second of grey crops uint8[T, 84, 84] at fps."""
    count = int(len(frames) / fps * FRAME_RATE)
    source = np.rint(np.arange(count) / FRAME_RATE * fps).astype(np.int64).clip(0, len(frames) - 1)
    return embedder.lip_of_mouths(frames[source][:, MOUTH[0], MOUTH[1]])


def curve(lip: Floats, audio: Floats) -> SyncCurve:
    """The curve over the windows that lips and audio share, computed as for a track."""
    count = min(len(lip), len(audio))
    padded = np.pad(audio[:count], ((VSHIFT, VSHIFT), (0, 0)), constant_values=np.nan)
    distances = lse.shifted_distances(lip[:count], padded, VSHIFT)
    return SyncCurve(distances, lse.mean_curve(distances))


def shifted(pcm: NDArray[np.int16], frames: int) -> NDArray[np.int16]:
    """Move the audio earlier by a number of video frames (later if negative), and pad with silence."""
    return later(pcm, -frames * SAMPLES_PER_FRAME)


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The area under the ROC curve: how often a positive exceeds a negative, a tie counting half."""
    above = np.subtract.outer(np.array(positive), np.array(negative))
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


@dataclass(frozen=True, slots=True)
class Pairing:
    """A clip's lips with some audio.

    offset: in frames; between: the same with its fraction; raw: the curve's median minus its minimum; features:
    float64[6], `mini.features`.
    """

    offset: int
    between: float
    raw: float
    features: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A model's results on a clip that it was not trained on.

    own, others: with the clip's own audio, and with other clips' audio; moved: shift -> the measured offset;
    through_codecs: the offset of the crops that went through a protocol's crop file, if the clip has them.
    """

    name: str
    own: Pairing
    others: tuple[Pairing, ...]
    moved: dict[int, int]
    through_codecs: int | None


@dataclass(frozen=True, slots=True)
class MeasuredFold:
    """A training's results on the clips of its fold, and on those of the generators that it left out."""

    held_out: list[HeldOut]
    left_out: list[HeldOut]


@dataclass(frozen=True, slots=True)
class Measured:
    """All folds, and the clips with known boxes under a training that met none of them (empty without one)."""

    folds: list[MeasuredFold]
    unmet: list[HeldOut]


def measure(
    embedder: MiniEmbedder,
    clips: Sequence[Clip],
    recordings: Sequence[Sequence[str]],
    strangers: Sequence[Clip] | None = None,
) -> list[HeldOut]:
    """Measure each clip with its own audio, with that audio shifted, and with the audio of OTHERS.

    Args:
        recordings: groups of names of clips with the same speech; every clip is in one group.
        strangers: the clips whose audio serves as other audio; default: `clips`.
    """

    def sound(pcm: NDArray[np.int16]) -> tuple[Floats, Floats]:
        rows = mfcc(pcm)
        return embedder.audio(rows), rows

    spoken = numbered(recordings)
    lenders = clips if strangers is None else strangers
    lent = [sound(clip.pcm) for clip in lenders]
    held = []
    for i, clip in enumerate(clips):
        own = sound(clip.pcm)
        lip = lip_of(embedder, clip.frames, clip.fps)
        moved = {shift: _pairing(lip, *sound(shifted(clip.pcm, shift))).offset for shift in SHIFTS if shift != 0}
        later = [(i + 1 + k) % len(lenders) for k in range(len(lenders))]
        foreign = [k for k in later if spoken[lenders[k].name] != spoken[clip.name]]
        others = tuple(_pairing(lip, *lent[k]) for k in foreign[OTHERS])
        through = None
        if clip.lossy is not None:
            through = _pairing(lip_of(embedder, clip.lossy, FRAME_RATE), *own).offset
        held.append(HeldOut(clip.name, _pairing(lip, *own), others, moved, through))
    return held


def _pairing(lip: Floats, audio: Floats, rows: Floats) -> Pairing:
    measured = curve(lip, audio)
    sync = lse.sync_of(measured.mean)
    between = lse.between_frames(measured.mean)
    return Pairing(sync.offset, between, sync.lse_c, features(measured, lip[: len(measured.distances)].mean(0), rows))


def summary(folds: Sequence[Sequence[HeldOut]], published: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """All figures, and each clip's offset.

    within_1, within_3: the share of clips whose offset is at most that far from 0.
    auc: estimated LSE-C with the clip's own audio against other clips' audio, all folds together.
    auc_median: the same for the raw curve's median minus its minimum.
    shifted: over all clips and SHIFTS, how often the measured offset is within one frame of the clip's own offset plus
        the shift.
    mae, spearman: estimates against published scores; each clip's calibration comes from the other folds.
    """
    clips = [held for fold in folds for held in fold]
    offsets = {held.name: held.own.offset for held in clips}
    distances = np.abs(list(offsets.values()))
    through = np.abs([held.through_codecs for held in clips if held.through_codecs is not None])
    moved = [abs(offset - shift - offsets[held.name]) <= 1 for held in clips for shift, offset in held.moved.items()]
    calibrations = calibrated(folds, published)
    own = [c.of(held.own.features) for c, fold in zip(calibrations, folds, strict=True) for held in fold]
    others = [
        c.of(x.features)[1] for c, fold in zip(calibrations, folds, strict=True) for held in fold for x in held.others
    ]
    scored = [(one, published[held.name]) for one, held in zip(own, clips, strict=True) if held.name in published]
    estimates, truth = (np.array(numbers) for numbers in zip(*scored, strict=True))
    raw = [held.own.raw for held in clips], [x.raw for held in clips for x in held.others]
    return {
        "clips": len(clips),
        "folds": len(folds),
        "within_1": _share(distances <= 1),
        "within_3": _share(distances <= 3),
        "through_codecs_within_1": _share(through <= 1) if len(through) else None,
        "auc": round(auc([lse_c for _, lse_c in own], others), 4),
        "auc_median": round(auc(*raw), 4),
        "shifted": _share(np.array(moved)),
        **_agreement("lse_d", estimates[:, 0], truth[:, 0]),
        **_agreement("lse_c", estimates[:, 1], truth[:, 1]),
        "offsets": offsets,
    }


def by_generator(
    folds: Sequence[MeasuredFold], published: Mapping[str, tuple[float, float]]
) -> dict[str, dict[str, Any]]:
    """Generator -> figures of its clips under the training that left it out.

    constant: the median offset between frames, in frames: the generator's own.
    within_1: the share of clips whose offset, less the constant and rounded, is at most one frame.
    within_1_exact: the same without rounding.
    lse_c, lse_c_others: the mean estimate, with the clips' own sound and with other sound.
    auc: of the estimated LSE-C, own sound against other sound.
    """
    rows: dict[str, list[tuple[HeldOut, Calibration]]] = {}
    calibrations = calibrated([fold.held_out for fold in folds], published)
    for fold, calibration in zip(folds, calibrations, strict=True):
        for held in fold.left_out:
            rows.setdefault(generator_of(held.name), []).append((held, calibration))
    return {generator: _of_generator(found) for generator, found in sorted(rows.items())}


def without_the_known(
    clips: Sequence[HeldOut], folds: Sequence[MeasuredFold], published: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Figures of the clips with known boxes under a training without them, as for any generator that was left out.

    The calibration is that of the folds: it was fitted to the same clips and scores, but with other towers. The mean
    published LSE-C (lse_c_published) next to the mean estimate therefore shows what new towers change.
    """
    calibration = calibration_of([fold.held_out for fold in folds], published)
    scored = [
        (calibration.of(held.own.features)[1], published[held.name][1]) for held in clips if held.name in published
    ]
    estimates, truth = (np.array(numbers) for numbers in zip(*scored, strict=True))
    return {
        **_of_generator([(held, calibration) for held in clips]),
        "lse_c_scored": round(float(estimates.mean()), 2),
        "lse_c_published": round(float(truth.mean()), 2),
        **_agreement("lse_c", estimates, truth),
    }


def _of_generator(rows: Sequence[tuple[HeldOut, Calibration]]) -> dict[str, Any]:
    offsets = np.array([held.own.between for held, _ in rows])
    constant = float(np.median(offsets))
    own = [c.of(held.own.features)[1] for held, c in rows]
    others = [c.of(x.features)[1] for held, c in rows for x in held.others]
    return {
        "clips": len(rows),
        "constant": round(constant, 2),
        "within_1": _share(np.abs(np.rint(offsets - constant)) <= 1),
        "within_1_exact": _share(np.abs(offsets - constant) <= 1),
        "lse_c": round(float(np.mean(own)), 2),
        "lse_c_others": round(float(np.mean(others)), 2) if others else None,
        "auc": round(auc(own, others), 4) if others else None,
        "offsets": {held.name: round(held.own.between, 2) for held, _ in rows},
    }


def calibrated(folds: Sequence[Sequence[HeldOut]], published: Mapping[str, tuple[float, float]]) -> list[Calibration]:
    """A calibration for each fold, fitted on the other folds."""
    return [calibration_of([*folds[:number], *folds[number + 1 :]], published) for number in range(len(folds))]


def calibration_of(folds: Sequence[Sequence[HeldOut]], published: Mapping[str, tuple[float, float]]) -> Calibration:
    """Fit a calibration on these clips with their own audio, and on their lips with other clips' audio."""
    clips = [held for fold in folds for held in fold]
    scored = [held for held in clips if held.name in published]
    return fit_calibration(
        np.stack([held.own.features for held in scored]),
        [published[held.name] for held in scored],
        np.stack([x.features for held in clips for x in held.others]),
    )


def _agreement(name: str, estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    return {
        f"{name}_spearman": round(float(spearmanr(estimate, truth).statistic), 4),
        f"{name}_mae": round(float(np.abs(estimate - truth).mean()), 3),
    }


def _share(hits: NDArray[Any]) -> float:
    return round(float(np.mean(hits)), 4)
