"""LSE-D, LSE-C and the audio-video offset from SyncNet's embeddings.

Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016), section 4; the arithmetic is that of
joonson/syncnet_python SyncNetInstance.py (calc_pdist, evaluate). Prajwal et al., "A lip sync expert is all you need"
(2020), section 4.2, named the smallest mean distance LSE-D and the confidence LSE-C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from lipscore.types import Floats

EPS = 1e-6  # torch.nn.functional.pairwise_distance adds it to every difference


def shifted_distances(lip: Floats, audio: Floats, vshift: int) -> Floats:
    """The distance of each lip embedding to the audio embeddings around it.

    Args:
        lip: float32[W, D].
        audio: float32[W + 2 * vshift, D]; row j belongs to window j - vshift.

    Returns:
        float32[W, 2 * vshift + 1]; column k is the distance to window i + k - vshift.
    """
    columns = [
        np.sqrt(np.square(lip - audio[k : k + len(lip)] + np.float32(EPS)).sum(axis=1)) for k in range(2 * vshift + 1)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def mean_curve(distances: Floats) -> Floats:
    """float32[W, K] -> float32[K]: the mean over windows that have a partner at that shift; NaN if no window has."""
    known = ~np.isnan(distances)
    count = known.sum(axis=0)
    total = np.where(known, distances, 0).sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        curve: Floats = (total / count).astype(np.float32)
    return curve


@dataclass(frozen=True, slots=True)
class Sync:
    """offset: in frames, positive if the audio comes before the video. lse_d, lse_c: in units of embedding distance."""

    offset: int
    lse_d: float
    lse_c: float


def sync_of(curve: Floats) -> Sync:
    """Offset, LSE-D and LSE-C of a curve float32[2 * vshift + 1]; NaN values are ignored.

    LSE-D is the smallest mean distance, LSE-C the median minus it. The number of known shifts is odd: 2 * vshift + 1,
    or 2 n - 1 for n windows if this is less and the model does not pad.

    Raises:
        ValueError: all values are NaN.
    """
    known = np.sort(curve[~np.isnan(curve)])
    if not len(known):
        raise ValueError("a curve without any distance has no offset")
    best = int(np.nanargmin(curve))
    median = known[(len(known) - 1) // 2]
    return Sync(len(curve) // 2 - best, float(curve[best]), float(median - curve[best]))


def between_frames(curve: Floats) -> float:
    """The offset of a curve float32[2 * vshift + 1] in frames, with its fraction.

    It is the lowest point of the parabola through the smallest distance and its two neighbours, or the whole offset if
    a neighbour is unknown.
    """
    best = int(np.nanargmin(curve))
    around = curve[max(0, best - 1) : best + 2].astype(np.float64)
    whole = len(curve) // 2 - best
    bend = around[0] - 2 * around[1] + around[2] if len(around) == 3 else np.nan
    return float(whole - (around[0] - around[2]) / (2 * bend)) if bend > 0 else float(whole)


def framewise_confidence(distances: Floats, curve: Floats) -> Floats:
    """float32[W]: the curve's median minus each window's distance at the best shift, smoothed over 9 windows.

    The formula is SyncNetInstance.py's (evaluate, fconfm). Windows without a partner at that shift give NaN.
    """
    known = np.sort(curve[~np.isnan(curve)])
    median = known[(len(known) - 1) // 2]
    confidence: Floats = median - distances[:, int(np.nanargmin(curve))]
    partnered = ~np.isnan(confidence)
    confidence[partnered] = median_filter(confidence[partnered], 9, mode="constant")
    return confidence
