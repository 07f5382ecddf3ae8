"""PCM to MFCCs with python_speech_features' defaults: 13 coefficients, windows of 25 ms, 100 per second.

The numbers equal those of joonson/syncnet_python SyncNetInstance.py (mfcc(audio, sample_rate)). They are computed in
blocks, so that an hour of speech needs no more working memory than a minute.
"""

from __future__ import annotations

import numpy as np
import python_speech_features
from numpy.typing import NDArray

from lipscore.syncnet.window import SAMPLE_RATE
from lipscore.types import Floats

HOP, WINDOW = 160, 400  # samples: 10 ms and 25 ms
PREEMPHASIS = 0.97
BLOCK = 6000  # MFCC frames per block: one minute


def mfcc(pcm: NDArray[np.int16]) -> Floats:
    """The MFCCs of int16[N] at 16 kHz: float32[M, 13], M = 1 + ceil((N - 400) / 160); zeros pad the last window."""
    total = 1 + max(0, -(-(len(pcm) - WINDOW) // HOP))
    blocks = []
    for first in range(0, total, BLOCK):
        last = min(total, first + BLOCK)
        start = max(0, first * HOP - 1)  # pre-emphasis needs the sample before the block's first
        samples = pcm[start : (last - 1) * HOP + WINDOW].astype(np.float64)
        emphasised = np.append(samples[:1], samples[1:] - PREEMPHASIS * samples[:-1])
        block = emphasised[first * HOP - start :]
        blocks.append(python_speech_features.mfcc(block, SAMPLE_RATE, preemph=0).astype(np.float32))
    return np.concatenate(blocks)
