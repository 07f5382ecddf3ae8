"""Resample frames and samples in arrays to the rates of a protocol."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import gcd
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import UsageError
from lipscore.media.decode.passes import FrameSource
from lipscore.types import Frame

RATE = 16000  # Hz


def source_of(
    frames: NDArray[np.uint8],
    fps: float | Fraction,
    pcm: NDArray[np.int16] | NDArray[np.floating[Any]],
    sample_rate: int,
    frame_rate: int,
) -> tuple[FrameSource, NDArray[np.int16]]:
    """(frames at frame_rate, int16[N] samples at 16 kHz) of arrays at other rates.

    Args:
        frames: uint8[T, H, W, 3], RGB, at fps.
        pcm: int16 or float in -1 ... 1, [N] or [N, channels]; channels are averaged.

    Raises:
        UsageError: an array has another shape or dtype, or a rate is not above 0.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise UsageError.about("frames", f"{frames.dtype}{list(frames.shape)}", "must be uint8[T, H, W, 3], RGB")
    if not fps > 0:
        raise UsageError.about("fps", fps, "must be above 0")
    if sample_rate <= 0:
        raise UsageError.about("sample_rate", sample_rate, "must be above 0")
    numbers = nearest_frames(len(frames), Fraction(fps).limit_denominator(1001), frame_rate)

    def stream() -> Iterator[Frame]:
        for number in numbers:
            yield cv2.cvtColor(frames[number], cv2.COLOR_RGB2BGR)

    return FrameSource(stream, lambda frame: frame), _mono_16k(pcm, sample_rate)


def nearest_frames(count: int, fps: Fraction, frame_rate: int) -> list[int]:
    """The numbers of the frames (of `count` at fps) nearest to the times k / frame_rate; of two, the earlier one."""
    wanted = -(-count * frame_rate // fps)  # frames that begin before the last one ends
    half = Fraction(1, 2)
    nearest = [-((half - Fraction(k, frame_rate) * fps) // 1) for k in range(int(wanted))]
    return [min(count - 1, max(0, int(number))) for number in nearest]


def _mono_16k(pcm: NDArray[Any], sample_rate: int) -> NDArray[np.int16]:
    from scipy.signal import resample_poly

    if pcm.ndim not in (1, 2) or not (pcm.dtype == np.int16 or np.issubdtype(pcm.dtype, np.floating)):
        raise UsageError.about("pcm", f"{pcm.dtype}{list(pcm.shape)}", "must be int16 or float, [N] or [N, channels]")
    if pcm.dtype == np.int16 and pcm.ndim == 1 and sample_rate == RATE:
        return pcm
    sound = pcm.astype(np.float64) if pcm.dtype == np.int16 else pcm.astype(np.float64) * 32768
    if not np.isfinite(sound).all():
        raise UsageError.about("pcm", "NaN or infinity", "samples must be finite")
    sound = sound if sound.ndim == 1 else sound.mean(axis=1)
    if sample_rate != RATE:
        common = gcd(RATE, sample_rate)
        sound = resample_poly(sound, RATE // common, sample_rate // common)
    return np.clip(np.round(sound), -32768, 32767).astype(np.int16)
