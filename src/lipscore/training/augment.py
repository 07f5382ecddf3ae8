"""Augmentation of training clips: face box, light, sharpness, codec, voice, vocal tract, room and noise.

Every sample gets new random values from one numpy generator, so a seed reproduces a run.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from python_speech_features import base, sigproc
from scipy.fft import dct
from scipy.interpolate import interp1d
from scipy.ndimage import uniform_filter1d
from scipy.signal import fftconvolve, firwin2, lfilter

from lipscore.syncnet.audio import HOP, PREEMPHASIS, WINDOW
from lipscore.syncnet.models.mini import MOUTH
from lipscore.syncnet.window import SAMPLE_RATE
from lipscore.types import Floats

BANKS = 26  # mel filters, as in python_speech_features.mfcc
SPECTRUM = 512  # FFT length in samples, as python_speech_features uses for 25 ms
TINY = float(np.finfo(np.float64).eps)  # replaces an energy of 0, as in python_speech_features
THROAT = 0.13  # largest absolute natural logarithm of the vocal tract length factor
BANDS = np.r_[0.0, np.geomspace(100, 7500, 8), 8000.0]  # Hz: the points of a microphone's frequency response
GAIN_DB = 4.0  # standard deviation of the gain at each point
Rng = np.random.Generator
SIDE = MOUTH[0].stop - MOUTH[0].start
CORNER = np.array([MOUTH[1].start, MOUTH[0].start], np.float64)
CENTRE = (float(MOUTH[1].start + MOUTH[1].stop - 1) / 2, float(MOUTH[0].start + MOUTH[0].stop - 1) / 2)


def plain_mouths(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[T, 84, 84] -> uint8[T, 48, 48]: the model's input region, unchanged."""
    return crops[:, MOUTH[0], MOUTH[1]]


def vary_mouths(crops: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """uint8[T, 84, 84] -> uint8[T, 48, 48]: one box, light and codec per sample, and a little box noise per frame."""
    count = len(crops)
    scale, angle = math.exp(rng.uniform(-0.2, 0.2)), rng.uniform(-8, 8)
    shift = rng.uniform(-7, 7, 2)
    noise = _smooth(rng.normal(0, rng.uniform(0, 1.1), (count, 3)), rng)
    flip = rng.random() < 0.5
    tone = _tone(rng)
    sigma = rng.uniform(0.25, 0.85) if rng.random() < 0.3 else 0.0
    small = int(rng.uniform(15, 38)) if rng.random() < 0.3 else 0
    quality = int(rng.uniform(12, 70)) if rng.random() < 0.35 else 0
    grain = rng.uniform(1, 8) if rng.random() < 0.3 else 0.0
    patch = _patch(rng) if rng.random() < 0.25 else None
    out = np.empty((count, SIDE, SIDE), np.uint8)
    for i, crop in enumerate(crops):
        matrix = cv2.getRotationMatrix2D(CENTRE, angle, scale * (1 + 0.012 * noise[i, 2]))
        matrix[:, 2] = matrix[:, 2] + shift + noise[i, :2] - CORNER
        if flip:
            matrix[0] = -matrix[0]
            matrix[0, 2] += SIDE - 1
        image: NDArray[Any] = cv2.warpAffine(crop, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        if sigma:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
        if small:
            image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
        image = cv2.LUT(image, tone)
        if grain:
            image = cv2.add(image, rng.normal(0, grain, image.shape).astype(np.int16), dtype=cv2.CV_8U)
        if quality:
            image = _jpeg(image, quality)
        if patch is not None:
            image[patch[0], patch[1]] = patch[2]
        out[i] = image
    return out


def _smooth(x: NDArray[np.float64], rng: Rng) -> NDArray[np.float64]:
    """Box noise that drifts instead of jumping: a moving mean over the first axis, time.

    Interpolated and median-filtered boxes drift over up to 15 frames.
    """
    width = int(rng.integers(1, 16))
    smooth: NDArray[np.float64] = uniform_filter1d(x, width, axis=0) * math.sqrt(width)
    return smooth


def _jpeg(image: NDArray[Any], quality: int) -> NDArray[Any]:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)  # type: ignore[return-value]


def _tone(rng: Rng) -> NDArray[np.uint8]:
    """A look-up table: gamma, contrast, brightness."""
    levels = (np.arange(256) / 255.0) ** math.exp(rng.uniform(-0.5, 0.5))
    levels = (levels - 0.5) * math.exp(rng.uniform(-0.5, 0.3)) + 0.5 + rng.uniform(-0.15, 0.15)
    return np.clip(levels * 255, 0, 255).astype(np.uint8)


def _patch(rng: Rng) -> tuple[slice, slice, int]:
    """A grey square that covers a part for the whole sample, like a hand, a microphone or a caption."""
    side = int(rng.integers(6, 20))
    row, column = rng.integers(0, SIDE - side, 2)
    return slice(row, row + side), slice(column, column + side), int(rng.integers(0, 256))


def vary_speech(pcm: NDArray[np.int16], other: NDArray[np.int16], rng: Rng) -> NDArray[np.int16]:
    """int16[N] -> int16[N]: microphone, background voice, room, noise and gain; `other` is another clip's audio."""
    microphone = firwin2(129, BANDS, 10 ** (GAIN_DB * rng.normal(size=len(BANDS)) / 20), fs=SAMPLE_RATE)
    x: NDArray[np.float64] = fftconvolve(pcm.astype(np.float64), microphone, "same")
    level = math.sqrt(float(np.mean(x * x))) + 1.0
    if rng.random() < 0.3:
        beneath = np.resize(np.roll(other, int(rng.integers(len(other)))), len(x)).astype(np.float64)
        x += beneath * (_below(level, rng.uniform(5, 25)) / (math.sqrt(float(np.mean(beneath * beneath))) + 1.0))
    if rng.random() < 0.5:  # a one-pole, one-zero tilt: a dull or a thin microphone
        x = lfilter([1.0, -rng.uniform(-0.6, 0.6)], [1.0, -rng.uniform(-0.5, 0.5)], x)
    if rng.random() < 0.2:  # a room
        tail = rng.normal(size=3200) * np.exp(-np.arange(3200) / (SAMPLE_RATE * rng.uniform(0.01, 0.06)))
        tail[0] = 8.0 * rng.uniform(0.5, 2)
        x = fftconvolve(x, tail / tail[0])[: len(x)]
    if rng.random() < 0.6:
        noise = rng.normal(size=len(x))
        if rng.random() < 0.6:
            pole = rng.uniform(0.5, 0.99)
            noise = lfilter([1.0 - pole], [1.0, -pole], noise)
        x += noise * (_below(level, rng.uniform(3, 40)) / (noise.std() + 1e-9))
    x *= 10 ** (rng.uniform(-12, 6) / 20)
    return np.clip(x, -32768, 32767).astype(np.int16)


def _below(level: float, decibels: float) -> float:
    return level * math.pow(10.0, -decibels / 20)


def vary_throat(pcm: NDArray[np.int16], rng: Rng) -> Floats:
    """int16[N] -> float32[M, 13]: MFCCs at the times of `audio.mfcc`, with a random vocal tract length."""
    return stretched_mfcc(pcm, math.exp(rng.uniform(-THROAT, THROAT)))


def stretched_mfcc(pcm: NDArray[np.int16], factor: float) -> Floats:
    """int16[N] -> float32[M, 13]: MFCCs with the spectrum stretched by a factor and time unchanged.

    Vocal tract length perturbation (Jaitly and Hinton 2013), without their piecewise bend at the top: frequencies
    beyond the stretched spectrum take its last value. Factor 1 gives the numbers of `audio.mfcc`, up to rounding.
    """
    frames = sigproc.framesig(sigproc.preemphasis(pcm, PREEMPHASIS), WINDOW, HOP)
    power = sigproc.powspec(frames, SPECTRUM)
    bins = np.arange(power.shape[1])
    stretched = interp1d(bins, power, assume_sorted=True)(np.minimum(bins / factor, bins[-1]))
    bands = np.maximum(stretched @ base.get_filterbanks(BANKS, SPECTRUM, SAMPLE_RATE).T, TINY)
    rows: NDArray[np.float64] = base.lifter(dct(np.log(bands), norm="ortho")[:, :13])
    rows[:, 0] = np.log(np.maximum(power.sum(1), TINY))
    return rows.astype(np.float32)


def mask_mfcc(mfcc: NDArray[np.float32], mean: NDArray[np.float32], rng: Rng) -> None:
    """Replace a few frames, or one coefficient, by the mean."""
    if rng.random() < 0.4:
        first = int(rng.integers(0, len(mfcc)))
        mfcc[first : first + int(rng.integers(2, 9))] = mean
    if rng.random() < 0.2:
        k = int(rng.integers(0, 13))
        mfcc[:, k] = mean[k]
