"""The mel spectrogram that Wav2Lip's network takes, and the columns that belong to each frame.

The numbers are from github.com/Rudrabha/Wav2Lip at 5c90fa9, hparams.py and audio.py, which call librosa 0.7.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from lipscore.generate.wav2lip.errors import NotGeneratedError
from lipscore.generate.wav2lip.sound import SAMPLE_RATE, Sliced
from lipscore.types import Floats

N_FFT = 800  # samples; the window is as long
HOP = 200  # samples
BANDS = 80
LOWEST, HIGHEST = 55.0, 7600.0  # Hz
PREEMPHASIS = 0.97
FLOOR_DB, REFERENCE_DB = -100.0, 20.0
LIMIT = 4.0  # the values run from -4 to 4
STEP = 16  # columns that the network hears at a time: 0.2 s
COLUMNS_PER_SECOND = 80.0
AT_A_TIME = 512  # columns


class Mel:
    """The spectrogram of samples float32[N] at 16 kHz; any range of columns can be computed.

    Raises:
        NotGeneratedError: the sound is shorter than one window of the network (audio_too_short).
    """

    def __init__(self, samples: Sliced) -> None:
        self._samples = samples
        self.columns = 1 + len(samples) // HOP
        if self.columns < STEP:
            have, need = len(samples) / SAMPLE_RATE, (STEP - 1) * HOP / SAMPLE_RATE
            raise NotGeneratedError(
                "audio_too_short",
                f"the sound lasts {have:.3f} s, and the network needs {need:.4g} s at a time; give a longer one",
            )

    def part(self, start: int, stop: int) -> Floats:
        """float32[80, stop - start] of -4 ... 4: columns start ... stop - 1, column c around sample 200 c."""
        parts = [self._columns(at, min(at + AT_A_TIME, stop)) for at in range(start, stop, AT_A_TIME)]
        joined: Floats = np.concatenate(parts, axis=1)
        return joined

    def windows(self, starts: Sequence[int]) -> Floats:
        """float32[B, 1, 80, 16]: the network's input for windows that begin at these columns."""
        first = min(starts)
        part = self.part(first, max(starts) + STEP)
        return np.stack([part[None, :, start - first : start - first + STEP] for start in starts])

    def _columns(self, start: int, stop: int) -> Floats:
        emphasised = self._emphasised(start * HOP - N_FFT // 2, (stop - 1) * HOP + N_FFT // 2)
        frames = np.lib.stride_tricks.sliding_window_view(emphasised, N_FFT)[::HOP]
        magnitude = np.abs(rfft(frames * hann())).astype(np.float32)
        energy = mel_basis() @ magnitude.T
        db = 20 * np.log10(np.maximum(1e-5, energy)) - REFERENCE_DB
        scaled: Floats = (2 * LIMIT * (db - FLOOR_DB) / -FLOOR_DB - LIMIT).astype(np.float32)
        return np.clip(scaled, -LIMIT, LIMIT)

    def _emphasised(self, start: int, stop: int) -> NDArray[np.float64]:
        """x[n] - 0.97 x[n - 1] for n = start ... stop - 1, mirrored at the sound's ends without repeating them."""
        last = len(self._samples) - 1
        wanted = np.abs(np.arange(start, stop))
        wanted = np.where(wanted > last, 2 * last - wanted, wanted)
        low, high = int(wanted.min()), int(wanted.max())
        held = np.asarray(self._samples[max(0, low - 1) : high + 1], np.float64)
        if low == 0:
            held = np.concatenate([[0.0], held])
        emphasised: NDArray[np.float64] = (held[1:] - PREEMPHASIS * held[:-1])[wanted - low]
        return emphasised


@cache
def hann() -> NDArray[np.float64]:
    """float64[800]: the periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)


@cache
def mel_basis() -> Floats:
    """float32[80, 401]: triangles on Slaney's mel scale, each of area 1 in Hz (librosa.filters.mel, htk=False)."""
    lowest, highest = _mel(np.array([LOWEST, HIGHEST])).tolist()
    corners = _hz(np.linspace(lowest, highest, BANDS + 2))
    bins = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (corners[2:] - corners[:-2]))[:, None]).astype(np.float32)


# Slaney's scale (Auditory Toolbox, 1998): linear below 1000 Hz, 200/3 Hz a mel, logarithmic above.
_LINEAR, _BREAK_HZ, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27
_BREAK_MEL = _BREAK_HZ / _LINEAR


def _mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, above, hz / _LINEAR)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel >= _BREAK_MEL, above, mel * _LINEAR)


def chunk_starts(columns: int, fps: float, last: bool = True) -> list[int]:
    """The first column of each frame's window, frame by frame.

    Args:
        columns: the number of columns of the spectrogram, at least STEP.
        fps: the picture's frames per second.
        last: add a window of the last 16 columns, as inference.py does; the evaluation scripts do not.
    """
    per_frame = COLUMNS_PER_SECOND / fps  # this division first, as in the original: rounding decides some starts
    starts: list[int] = []
    while (start := int(len(starts) * per_frame)) + STEP <= columns:
        starts.append(start)
    return [*starts, columns - STEP] if last else starts
