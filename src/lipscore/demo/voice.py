"""Synthesise a voice and matching mouth movements from one random utterance.

The voice is a source-filter model in the frequency domain (Fant, "Acoustic Theory of Speech Production", 1960): each
harmonic of the pitch is weighted by the vocal tract's resonances at that instant, and shaped noise adds friction,
bursts and breath. The mouth follows the same utterance by dominance functions (Cohen & Massaro, "Modeling
Coarticulation in Synthetic Visual Speech", 1993), so that picture and sound are in sync.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipscore.demo.phones import Event, draw_utterance
from lipscore.media.rates import SAMPLE_RATE

CONTROL = 200  # control points per second at which the vocal tract changes
_HOP = SAMPLE_RATE // CONTROL
# Lips move before the sound (Chandrasekaran et al., "The Natural Statistics of Audiovisual Speech", 2009). The size of
# the lead was measured with a SyncNet trained on other clips only: without a lead it found thirty of these clips at
# +0.7 +- 0.1 frames. The built-in model saw heads with 42 ms in its training and finds these clips at about 0. The
# other 9 ms balance two cases: read directly the clips lie as far below 0 as they lie above it after protocol
# wav2lip's transcoding, which adds half a frame.
LIP_LEAD_S = 0.051
_HIGH_FORMANTS_HZ = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)  # F4-F8: a uniform tube's
_CHANNELS = 4  # opening, width, jaw, tuck

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Articulation:
    """The mouth in each frame, float64[T] each; opening, jaw and tuck in 0..1, width in -1 (rounded) .. 1 (spread)."""

    opening: Array
    width: Array
    jaw: Array
    tuck: Array

    def __len__(self) -> int:
        return len(self.opening)

    @staticmethod
    def at_rest(n_frames: int) -> Articulation:
        """A shut mouth."""
        return Articulation(*np.zeros((_CHANNELS, n_frames)))


@dataclass(frozen=True, slots=True)
class Speech:
    """pcm int16[N] mono at 16 kHz and controls float64[M, 4] (opening, width, jaw, tuck) at 200 per second."""

    pcm: NDArray[np.int16]
    controls: Array

    def articulation(self, fps: Fraction, start_s: float, n_frames: int) -> Articulation:
        """The mouth in the middle of each frame; frame 0 begins at start_s of the sound."""
        times = start_s + (np.arange(n_frames) + 0.5) / float(fps) + LIP_LEAD_S
        grid = np.arange(len(self.controls)) / CONTROL
        return Articulation(*(np.interp(times, grid, channel) for channel in self.controls.T))

    def sound(self, start_s: float, seconds: float) -> NDArray[np.int16]:
        """The samples of an interval, which must lie inside the speech."""
        first = round(start_s * SAMPLE_RATE)
        last = first + round(seconds * SAMPLE_RATE)
        if first < 0 or last > len(self.pcm):
            raise ValueError(
                f"{start_s:.3f} s + {seconds:.3f} s is outside a speech of {len(self.pcm) / SAMPLE_RATE:.3f} s"
            )
        return self.pcm[first:last]


def speak(seed: int, seconds: float) -> Speech:
    """A random utterance as sound and mouth movement; the same seed and length give the same speech."""
    rng = np.random.default_rng([seed, 1])
    events = draw_utterance(rng, seconds)
    n = int(np.ceil(seconds * CONTROL)) + 1
    times = np.arange(n) / CONTROL
    sound = _synthesise(events, times, rng)[: round(seconds * SAMPLE_RATE)]
    return Speech(pcm=sound, controls=_mouth(events, times))


def _smooth(values: Array, seconds: float) -> Array:
    """Gaussian smoothing along the first axis, sigma in seconds, edges repeated."""
    sigma = seconds * CONTROL
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, [(reach, reach)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, kernel, "valid")


def _mouth(events: tuple[Event, ...], times: Array) -> Array:
    """float64[M, 4]: each sound's lip target weighted by its dominance, which fades exponentially outside the sound."""
    targets = np.zeros((len(times), _CHANNELS))
    total = np.zeros(len(times))
    for event in events:
        lips = event.phone.lips
        # Lips move ahead of the sound more than they lag behind it.
        ahead, behind = np.maximum(event.start - times, 0), np.maximum(times - event.end, 0)
        # A strong hold is a fast gesture: it must not reach across the neighbouring vowel.
        speed = 1 + 0.5 * np.log(max(lips.grip, 1.0))
        dominance = lips.grip * np.exp(-speed * (ahead / 0.040 + behind / 0.022))
        size = 0.75 + 0.25 * event.stress if event.phone.kind == "vowel" else 1.0
        target = np.array([lips.opening * size, lips.width, lips.jaw * size, lips.tuck])
        targets += dominance[:, None] * target
        total += dominance
    mouth = _smooth(targets / total[:, None], 0.012)
    # Fast speech undershoots its targets, and lips that nearly touch do touch.
    mouth[:, 0] = np.clip((mouth[:, 0] - 0.06) / 0.76, 0, 1)
    mouth[:, 2] = np.clip(mouth[:, 2] / 0.85, 0, 1)
    return mouth


@dataclass(frozen=True, slots=True)
class _Tract:
    """The controls of the sound, M points: formants_hz [M, 8], levels linear [M], noise_hz [M, 2], accent [M]."""

    formants_hz: Array
    voice: Array
    breath: Array
    friction: Array
    noise_hz: Array
    accent: Array


def _tract(events: tuple[Event, ...], times: Array, size: float) -> _Tract:
    """size scales the formants: 1 a man's vocal tract, 1.17 a woman's."""
    n = len(times)
    formants = np.zeros((n, 3 + len(_HIGH_FORMANTS_HZ)))
    voice_db, breath_db, friction_db = np.full(n, -90.0), np.full(n, -90.0), np.full(n, -90.0)
    noise_hz = np.tile([4000.0, 2000.0], (n, 1))
    accent = np.zeros(n)
    for index, event in enumerate(events):
        phone, inside = event.phone, (times >= event.start) & (times < event.end)
        tract = phone
        if phone.kind == "breath" and index + 1 < len(events):
            tract = events[index + 1].phone  # h is breathed through the next sound's vocal tract
        formants[times >= event.start] = (*tract.formants_hz, *_HIGH_FORMANTS_HZ)
        loud = 6.0 * (event.stress - 1.0) if phone.kind != "pause" else 0.0
        voice_db[inside] = phone.voice_db + loud
        accent[inside] = event.stress
        if phone.noise_hz is not None:
            noise_hz[inside] = phone.noise_hz
        if phone.kind == "fricative":
            friction_db[inside] = phone.noise_db + loud
        elif phone.kind == "breath":
            breath_db[inside] = phone.noise_db + loud
        elif phone.kind == "vowel":
            breath_db[inside] = -34.0 + loud
        elif phone.kind == "stop":
            burst = (times >= event.end - 0.012) & (times < event.end + 0.003)
            friction_db[burst], noise_hz[burst] = phone.noise_db + loud, phone.noise_hz
            if phone.voice_db < -60:
                breath_db[(times >= event.end - 0.01) & inside] = -24.0 + loud

    def level(db: Array, seconds: float) -> Array:
        return _smooth(10 ** (db / 20), seconds)

    return _Tract(
        formants_hz=_smooth(formants, 0.018) * size,
        voice=level(voice_db, 0.009),
        breath=level(breath_db, 0.006),
        friction=level(friction_db, 0.004),
        noise_hz=noise_hz,
        accent=_smooth(accent, 0.05),
    )


def _resonance(frequencies: Array, formants_hz: Array) -> Array:
    """Gain [M, F] of the vocal tract at frequencies [F] or [M, F] with the formants [M, 8]."""
    gain = np.ones((len(formants_hz), frequencies.shape[-1]))
    for index in range(formants_hz.shape[1]):
        centre = formants_hz[:, index, None]
        width = 55.0 + 0.045 * centre
        squared = centre**2
        gain *= squared / np.sqrt((squared - frequencies**2) ** 2 + (width * frequencies) ** 2)
    return gain


def _synthesise(events: tuple[Event, ...], times: Array, rng: np.random.Generator) -> NDArray[np.int16]:
    size = rng.uniform(1.0, 1.17)
    tract = _tract(events, times, size)
    voice = _harmonics(tract, times, base_hz=rng.uniform(105, 130) * size**3.2, rng=rng)
    noise = _noise(tract, rng)
    sound = voice / np.sqrt(np.mean(voice**2)) + 1.5 * noise
    sound = _room(sound, rng)
    sound += 10 ** (-52 / 20) * _murmur(len(sound), rng)
    return np.asarray(np.round(32767 * 0.7 * sound / np.abs(sound).max()), np.int16)


def _harmonics(tract: _Tract, times: Array, base_hz: float, rng: np.random.Generator) -> Array:
    """The voiced part: pitch falls over every two seconds, rises with stress and varies slightly at random."""
    waver = _smooth(rng.standard_normal(len(times)), 0.04)
    pitch = base_hz * (1.08 - 0.07 * (times % 2.0) + 0.16 * (tract.accent - 0.4) + 0.012 * waver / waver.std())
    n_samples = (len(times) - 1) * _HOP
    position = np.arange(n_samples) / _HOP
    phase = np.cumsum(np.interp(position, np.arange(len(times)), pitch)) * (2 * np.pi / SAMPLE_RATE)
    turn = np.exp(1j * phase).astype(np.complex64)
    count = int(0.95 * SAMPLE_RATE / 2 / pitch.max())
    numbers = np.arange(1, count + 1)
    frequencies = pitch[:, None] * numbers
    # The glottal flow's -12 dB and the lips' +6 dB an octave leave 1/k; a real voice is somewhat brighter.
    lift = (1 + (frequencies / 1200) ** 2) ** rng.uniform(0.35, 0.6)
    gains = (tract.voice[:, None] * _resonance(frequencies, tract.formants_hz) * lift / numbers).astype(np.float32)
    sound = np.zeros(n_samples, np.float32)
    harmonic = turn.copy()
    ramp = (np.arange(_HOP, dtype=np.float32) / _HOP)[None, :]
    for k in range(count):
        if k:
            harmonic *= turn
        left, right = gains[:-1, k, None], gains[1:, k, None]
        sound += (left + (right - left) * ramp).ravel() * harmonic.imag
    return sound.astype(np.float64)


def _noise(tract: _Tract, rng: np.random.Generator) -> Array:
    """Breath through the vocal tract and friction in its band, shaped in overlapping windows of two control steps."""
    n = len(tract.voice)
    frequencies = np.fft.rfftfreq(2 * _HOP, 1 / SAMPLE_RATE)
    breath = tract.breath[:, None] * _resonance(frequencies, tract.formants_hz)
    centre, width = tract.noise_hz[:, :1], tract.noise_hz[:, 1:]
    band = np.exp(-0.5 * ((frequencies - centre) / width) ** 2) * (frequencies > 300)
    white = rng.standard_normal((n, 2 * _HOP))
    pieces = np.fft.irfft(np.fft.rfft(white) * (breath + 6.0 * tract.friction[:, None] * band), 2 * _HOP)
    pieces *= np.sin(np.pi * (np.arange(2 * _HOP) + 0.5) / (2 * _HOP))
    sound = np.zeros((n + 1, _HOP))
    sound[:-1] += pieces[:, :_HOP]
    sound[1:] += pieces[:, _HOP:]
    return sound.ravel()[_HOP // 2 : _HOP // 2 + (n - 1) * _HOP]


def _murmur(n_samples: int, rng: np.random.Generator) -> Array:
    """The noise of a quiet room, -4.5 dB an octave above 100 Hz, of mean square 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    spectrum /= (1 + np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE) / 100) ** 0.75
    noise = np.fft.irfft(spectrum, n_samples)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def _room(sound: Array, rng: np.random.Generator) -> Array:
    """A small room: noise that decays within a tenth of a second beneath the direct sound."""
    length = int(0.1 * SAMPLE_RATE)
    echo = rng.standard_normal(length) * np.exp(-np.arange(length) / (0.02 * SAMPLE_RATE)) * 0.012
    echo[: int(0.003 * SAMPLE_RATE)] = 0
    echo[0] = 1
    size = len(sound) + length
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo, size), size)[: len(sound)]
