"""How good a model is on clips in sync: offsets, shifted audio, others' audio, estimates beside published scores.

The truth: a clip decoded directly is in sync, offset 0.
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
from lipscore.syncnet.mini import MOUTH, Calibration, MiniEmbedder, MiniSyncNet, features
from lipscore.syncnet.window import FRAME_RATE, SAMPLE_RATE, VSHIFT
from lipscore.training.batches import Clip
from lipscore.training.mini.calibrate import fit_calibration
from lipscore.training.split import numbered
from lipscore.types import Floats, SyncCurve

SHIFTS = range(-12, 13)  # frames
OTHERS = slice(0, 8, 2)  # which of the later clips with another recording lend their audio
NO_CALIBRATION = Calibration((0.0,) * 4, (0.0,) * 6, (0.0,) * 6)


def raw_embedder(net: MiniSyncNet) -> MiniEmbedder:
    """A net in training as an embedder on the CPU, not yet calibrated; the net itself stays as it is."""
    copy = MiniSyncNet()
    copy.load_state_dict({key: value.cpu() for key, value in net.state_dict().items()})
    return MiniEmbedder(copy, NO_CALIBRATION, torch.device("cpu"))


def lip_of(embedder: MiniEmbedder, frames: NDArray[np.uint8], fps: float) -> Floats:
    """Lip embeddings at 25 frames a second of grey crops uint8[T, 84, 84] at fps."""
    count = int(len(frames) / fps * FRAME_RATE)
    source = np.rint(np.arange(count) / FRAME_RATE * fps).astype(np.int64).clip(0, len(frames) - 1)
    return embedder.lip_of_mouths(frames[source][:, MOUTH[0], MOUTH[1]])


def curve(lip: Floats, audio: Floats) -> SyncCurve:
    """The curve of the windows that both have, as a track's is made."""
    count = min(len(lip), len(audio))
    padded = np.pad(audio[:count], ((VSHIFT, VSHIFT), (0, 0)), constant_values=np.nan)
    distances = lse.shifted_distances(lip[:count], padded, VSHIFT)
    return SyncCurve(distances, lse.mean_curve(distances))


def shifted(pcm: NDArray[np.int16], frames: int) -> NDArray[np.int16]:
    """The audio earlier by so many video frames (later where negative), silence for what is missing: the new offset."""
    samples = abs(frames) * SAMPLE_RATE // FRAME_RATE
    if frames >= 0:
        return np.pad(pcm[samples:], (0, samples))
    return np.pad(pcm[: len(pcm) - samples], (samples, 0))


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive is above a negative, a tie counting half."""
    above = np.subtract.outer(np.array(positive), np.array(negative))
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


@dataclass(frozen=True, slots=True)
class Seen:
    """A clip's lips beside an audio: the offset, the raw curve's median minus its minimum, `features` float64[6]."""

    offset: int
    raw: float
    features: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a model that never saw a clip makes of it.

    own, others: with its own audio, and with that of other clips; moved: shift -> the offset found; through_codecs:
    the offset of the crops that went through a protocol's crop file, if the clip has them.
    """

    name: str
    own: Seen
    others: tuple[Seen, ...]
    moved: dict[int, int]
    through_codecs: int | None


def measure(embedder: MiniEmbedder, clips: Sequence[Clip], recordings: Sequence[Sequence[str]]) -> list[HeldOut]:
    """Each clip with its own audio, with that audio shifted, and with the audio of OTHERS.

    Args:
        recordings: names of clips that speak the same; every clip is in one of these groups.
    """

    def sound(pcm: NDArray[np.int16]) -> tuple[Floats, Floats]:
        rows = mfcc(pcm)
        return embedder.audio(rows), rows

    spoken = numbered(recordings)
    sounds = [sound(clip.pcm) for clip in clips]
    held = []
    for i, clip in enumerate(clips):
        lip = lip_of(embedder, clip.frames, clip.fps)
        moved = {shift: _seen(lip, *sound(shifted(clip.pcm, shift))).offset for shift in SHIFTS if shift != 0}
        later = [*range(i + 1, len(clips)), *range(i)]
        strangers = [k for k in later if spoken[clips[k].name] != spoken[clip.name]]
        others = tuple(_seen(lip, *sounds[k]) for k in strangers[OTHERS])
        through = None
        if clip.lossy is not None:
            through = _seen(lip_of(embedder, clip.lossy, FRAME_RATE), *sounds[i]).offset
        held.append(HeldOut(clip.name, _seen(lip, *sounds[i]), others, moved, through))
    return held


def _seen(lip: Floats, audio: Floats, rows: Floats) -> Seen:
    found = curve(lip, audio)
    sync = lse.sync_of(found.mean)
    return Seen(sync.offset, sync.lse_c, features(found, lip[: len(found.distances)].mean(0), rows))


def summary(folds: Sequence[Sequence[HeldOut]], published: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Every figure, and each clip's offset.

    within_1, within_3: the share of clips whose offset is that near to 0; auc: the estimated LSE-C, which is the
    confidence that a user sees, with the own audio against that with others', all folds together; auc_median: the same
    of the raw curve's median minus its minimum; shifted: of all clips and SHIFTS, how often the found offset is
    within one frame of where the clip's own offset plus the shift is; mae and spearman: estimates, each clip's
    calibrated on the other folds, against published scores.
    """
    clips = [held for fold in folds for held in fold]
    found = {held.name: held.own.offset for held in clips}
    distances = np.abs(list(found.values()))
    through = np.abs([held.through_codecs for held in clips if held.through_codecs is not None])
    moved = [abs(at - shift - found[held.name]) <= 1 for held in clips for shift, at in held.moved.items()]
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
        "offsets": found,
    }


def calibrated(folds: Sequence[Sequence[HeldOut]], published: Mapping[str, tuple[float, float]]) -> list[Calibration]:
    """A calibration for each fold, fitted on the others."""
    found = []
    for number in range(len(folds)):
        found.append(calibration_of([*folds[:number], *folds[number + 1 :]], published))
    return found


def calibration_of(folds: Sequence[Sequence[HeldOut]], published: Mapping[str, tuple[float, float]]) -> Calibration:
    """Fitted on all of these clips, and on what their lips look like beside other clips' audio."""
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
