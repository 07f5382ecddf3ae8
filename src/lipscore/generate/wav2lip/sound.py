"""Sound as Wav2Lip hears it: mono at 16 kHz, resampled with resampy's "kaiser_best" if necessary.

Wav2Lip loads sound with librosa 0.7 (audio.py, load_wav), which resamples with resampy 0.2.2. Another resampler gives
another mel spectrogram: SciPy's differs by 0.003 on average, in a range of 8. Samples are kept in files, so that memory
does not grow with the length of the sound.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal.windows import kaiser

from lipscore.errors import MediaError
from lipscore.generate.wav2lip.errors import NotGeneratedError
from lipscore.media import ffmpeg

SAMPLE_RATE = 16000
# resampy 0.2.2, filters.sinc_window: "kaiser_best"
ZERO_CROSSINGS = 64
TABLE = 512  # entries between two of them
BETA = 14.769656459379492
ROLLOFF = 0.9475937167399596
BLOCK = 1 << 13  # output samples at a time
Samples = Callable[[int, int], NDArray[np.float64]]
NO_STREAM = "Output file does not contain any stream"  # what FFmpeg says where there is nothing to write


class Sliced(Protocol):
    """Samples that can be sliced: an array, or a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class SampleFile:
    """Samples in a file, [N] or [N, channels]; only the slices in use are in memory."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    count: int
    channels: int = 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        """The samples of a slice without a step."""
        start, stop, _ = part.indices(self.count)
        width = self.channels * self.dtype.itemsize
        wanted = max(0, stop - start) * self.channels
        samples = np.fromfile(self.path, self.dtype, wanted, offset=self.offset + start * width)
        return samples if self.channels == 1 else samples.reshape(-1, self.channels)


@dataclass(frozen=True, slots=True)
class Sound:
    """A prepared sound: samples float32[N] at 16 kHz, in a file. wav: the WAV file that goes into the output.

    rate, channels: those of the WAV. resampled: whether its rate is not 16 kHz.
    """

    samples: SampleFile
    wav: Path
    rate: int
    channels: int

    @property
    def resampled(self) -> bool:
        """Whether the WAV's rate is not 16 kHz."""
        return self.rate != SAMPLE_RATE


def load_sound(path: Path, folder: Path) -> Sound:
    """The sound of an audio or video file, its files written into `folder`.

    A WAV file keeps its samples (float32), anything else becomes 16-bit samples first, as in the original; channels are
    averaged.

    Raises:
        MediaError: FFmpeg cannot read the file.
        NotGeneratedError: the file has no sound (no_audio), or a sample is not a finite number (nan_audio).
    """
    wav = folder / "sound.wav"
    codec = "pcm_f32le" if is_wav(path) else "pcm_s16le"
    args = [*ffmpeg.input_args(path), "-vn", "-c:a", codec, "-bitexact", ffmpeg.file_url(wav)]
    try:
        ffmpeg.run_ffmpeg(args, path)
    except MediaError as error:
        if NO_STREAM in str(error):
            raise NotGeneratedError("no_audio", f"{path}: has no sound that the lips could follow") from error
        raise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)
        rate, data = wavfile.read(wav, mmap=True)
    channels = 1 if data.ndim == 1 else data.shape[1]
    source = SampleFile(wav, data.dtype, getattr(data, "offset", 0), len(data), channels)
    if not len(source):
        raise NotGeneratedError("no_audio", f"{path}: its sound has no samples; give a longer one")
    raw, count = folder / "samples.f32", 0
    with raw.open("wb") as out:
        for block in _at_16k(source, rate, path):
            out.write(block.astype(np.float32).tobytes())
            count += len(block)
    return Sound(SampleFile(raw, np.dtype(np.float32), 0, count), wav, rate, channels)


def is_wav(path: Path) -> bool:
    """Whether a file's first bytes are those of a WAV.

    Raises:
        MediaError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error
    return head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE"


def _at_16k(data: Sliced, rate: int, path: Path) -> Iterator[NDArray[np.float64]]:
    def mono(start: int, stop: int) -> NDArray[np.float64]:
        part = data[start:stop]
        values = part.astype(np.float32) / np.float32(32768) if part.dtype == np.int16 else part
        values = values if values.ndim == 1 else values.mean(axis=1, dtype=np.float32)
        finite = np.isfinite(values)
        if not finite.all():
            at = (start + int(np.argmin(finite))) / rate
            raise NotGeneratedError(
                "nan_audio", f"{path}: a sample at {at:.3f} s is not a finite number; write the sound again, as 16-bit"
            )
        return values.astype(np.float64)

    if rate != SAMPLE_RATE:
        yield from Resampler(rate).blocks(mono, len(data))
        return
    for start in range(0, len(data), BLOCK):
        yield mono(start, min(start + BLOCK, len(data)))


class Resampler:
    """resampy 0.2.2's resample(filter="kaiser_best") to 16 kHz, then one zero where librosa pads to the ceiling.

    Output k lies at the input's time k / q, q = 16000 / rate. Its weights depend only on k modulo q's numerator; they
    are computed once per phase. The original adds its times up in float64: if k / q is whole, the sum may be slightly
    smaller, and the original then counts from the previous sample, with other weights (its step through the table is
    truncated). A separate phase reproduces this case.
    """

    def __init__(self, rate: int) -> None:
        self._q = Fraction(SAMPLE_RATE, rate)
        self._increment = 1.0 / (SAMPLE_RATE / rate)
        scale = min(1.0, float(self._q))
        table = sinc_table() * scale
        step = int(scale * TABLE)  # truncated, as in the original
        self._reach = (len(table) - 1) // step + 1  # terms to either side
        self._below = self._q.numerator  # the phase of its own
        phases = [float((k / self._q) % 1) for k in range(self._below)]
        fractions = scale * np.array([*phases, 1.0])
        slopes = np.append(np.diff(table), 0)
        left = _wing(fractions, table, slopes, step, self._reach)
        right = _wing(scale - fractions, table, slopes, step, self._reach)
        self._weights = np.concatenate([left[:, ::-1], right], axis=1)  # x[n - reach + 1] ... x[n + reach]

    def blocks(self, samples: Samples, count: int) -> Iterator[NDArray[np.float64]]:
        """The resampled sound in blocks.

        Args:
            samples: called with (start, stop), gives float64[stop - start] of the input.
            count: input samples in all.
        """
        outputs = int(count * self._q)
        time = 0.0
        for first in range(0, outputs, BLOCK):
            k = np.arange(first, min(first + BLOCK, outputs))
            times = np.add.accumulate(np.concatenate([[time], np.full(len(k), self._increment)]))
            time, floors = float(times[-1]), times[:-1].astype(np.int64)
            n, phase = k * self._q.denominator // self._q.numerator, k % self._q.numerator
            below = (phase == 0) & (floors < n)
            n, phase = n - below, np.where(below, self._below, phase)
            start, stop = int(n[0]) - self._reach + 1, int(n[-1]) + self._reach + 1
            inside = samples(max(0, start), min(stop, count))
            padded = np.pad(inside, (max(0, -start), max(0, stop - count)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * self._reach)[n - n[0]]
            yield np.einsum("kt,kt->k", windows, self._weights[phase])
        yield np.zeros(ceil(count * self._q) - outputs)


@cache
def sinc_table() -> NDArray[np.float64]:
    """float64[32769]: the right half of a sinc under a Kaiser window, 512 entries between zero crossings."""
    n = ZERO_CROSSINGS * TABLE
    t = np.arange(n + 1) / TABLE
    window: NDArray[np.float64] = kaiser(2 * n + 1, BETA)[n:]
    return ROLLOFF * np.sinc(ROLLOFF * t) * window


def _wing(
    fractions: NDArray[np.float64], table: NDArray[np.float64], slopes: NDArray[np.float64], step: int, reach: int
) -> NDArray[np.float64]:
    """float64[P, reach]: the weights of the samples to one side, the nearest first, 0 beyond the table."""
    position = fractions * TABLE
    offset = position.astype(np.int64)
    at = offset[:, None] + step * np.arange(reach)
    inside = np.arange(reach) < ((len(table) - offset) // step)[:, None]
    at = np.where(inside, at, 0)
    weights = table[at] + (position - offset)[:, None] * slopes[at]
    return np.where(inside, weights, 0.0)
