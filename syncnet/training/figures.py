"""How good a model is on clips in sync: offsets, shifted audio, others' audio, estimates beside published scores.

The truth: a clip decoded directly is in sync, offset 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lipscore.metrics import lse
from lipscore.syncnet.audio import SAMPLE_RATE, mfcc
from lipscore.syncnet.mini import MOUTH, Calibration, MiniEmbedder, MiniSyncNet
from lipscore.syncnet.training.batches import FPS, Clip
from lipscore.types import Floats, SyncCurve

VSHIFT = 15
SHIFTS = (-12, -9, -6, -3, 3, 6, 9, 12)  # frames
OTHERS = (1, 3, 5)  # which later clips lend their audio
NO_CALIBRATION = Calibration((0.0,) * 4, (0.0,) * 4)


def raw_embedder(net: MiniSyncNet) -> MiniEmbedder:
    """A net in training as an embedder on the CPU, not yet calibrated; the net itself stays as it is."""
    copy = MiniSyncNet()
    copy.load_state_dict({key: value.cpu() for key, value in net.state_dict().items()})
    return MiniEmbedder(copy, NO_CALIBRATION, torch.device("cpu"))


def lip_of(embedder: MiniEmbedder, clip: Clip) -> Floats:
    """The clip's lip embeddings at 25 frames a second."""
    count = int(len(clip.frames) / clip.fps * FPS)
    source = np.rint(np.arange(count) / FPS * clip.fps).astype(np.int64).clip(0, len(clip.frames) - 1)
    return embedder.lip_of_mouths(clip.frames[source][:, MOUTH[0], MOUTH[1]])


def curve(lip: Floats, audio: Floats) -> SyncCurve:
    """The curve of the windows that both have, as a track's is made."""
    count = min(len(lip), len(audio))
    padded = np.pad(audio[:count], ((VSHIFT, VSHIFT), (0, 0)), constant_values=np.nan)
    distances = lse.shifted_distances(lip[:count], padded, VSHIFT)
    return SyncCurve(distances, lse.mean_curve(distances))


def curve_of(embedder: MiniEmbedder, clip: Clip) -> SyncCurve:
    """The curve of a clip with its own audio."""
    return curve(lip_of(embedder, clip), embedder.audio(mfcc(clip.pcm)))


def shifted(pcm: NDArray[np.int16], frames: int) -> NDArray[np.int16]:
    """The audio earlier by so many video frames (later where negative), silence for what is missing: the new offset."""
    samples = abs(frames) * SAMPLE_RATE // FPS
    if frames >= 0:
        return np.pad(pcm[samples:], (0, samples))
    return np.pad(pcm[: len(pcm) - samples], (samples, 0))


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive is above a negative, a tie counting half."""
    above = np.subtract.outer(np.array(positive), np.array(negative))
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def offsets_and_confidences(embedder: MiniEmbedder, clips: Sequence[Clip]) -> dict[str, float]:
    """within_1 and within_3 (shares of clips whose offset is that near to 0) and auc (own audio against others')."""
    lips = [lip_of(embedder, clip) for clip in clips]
    audios = [embedder.audio(mfcc(clip.pcm)) for clip in clips]
    own = [lse.sync_of(curve(lip, audio).mean) for lip, audio in zip(lips, audios, strict=True)]
    others = [
        lse.sync_of(curve(lip, audios[(i + k) % len(audios)]).mean).lse_c for i, lip in enumerate(lips) for k in OTHERS
    ]
    found = np.abs([sync.offset for sync in own])
    return {
        "within_1": _share(found <= 1),
        "within_3": _share(found <= 3),
        "auc": round(auc([sync.lse_c for sync in own], others), 4),
    }


def summary(
    embedder: MiniEmbedder, clips: Sequence[Clip], published: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Every figure, and each clip's own numbers.

    `shifted`: of all clips and SHIFTS, how often the found offset is within one frame of where the clip's own offset
    plus the shift is; mae and spearman: estimates against published scores.
    """
    scored = [clip for clip in clips if clip.name in published]
    curves = {clip.name: curve_of(embedder, clip) for clip in clips}
    offsets = {name: lse.sync_of(value.mean).offset for name, value in curves.items()}
    estimates = np.array([embedder.estimate(curves[clip.name]) for clip in scored])
    truth = np.array([published[clip.name] for clip in scored])
    moved = []
    for clip in clips:
        lip = lip_of(embedder, clip)
        for shift in SHIFTS:
            found = lse.sync_of(curve(lip, embedder.audio(mfcc(shifted(clip.pcm, shift)))).mean).offset
            moved.append(abs(found - shift - offsets[clip.name]) <= 1)
    return {
        "clips": len(clips),
        **offsets_and_confidences(embedder, clips),
        "shifted": _share(np.array(moved)),
        "lse_c_spearman": round(float(spearmanr(estimates[:, 1], truth[:, 1]).statistic), 4),
        "lse_c_mae": round(float(np.abs(estimates - truth)[:, 1].mean()), 3),
        "lse_d_spearman": round(float(spearmanr(estimates[:, 0], truth[:, 0]).statistic), 4),
        "lse_d_mae": round(float(np.abs(estimates - truth)[:, 0].mean()), 3),
        "offsets": offsets,
    }


def _share(hits: NDArray[Any]) -> float:
    return round(float(np.mean(hits)), 4)
