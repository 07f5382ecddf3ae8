"""Draw training batches: a section of each clip, with a random speed, augmented, and its MFCCs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.models.mini import AUDIO_CONTEXT, LIP_CONTEXT
from lipscore.syncnet.window import FRAME_RATE, MFCC_PER_FRAME, N_FRAMES, N_MFCC, SAMPLES_PER_FRAME
from lipscore.training.augment import mask_mfcc, plain_mouths, vary_mouths, vary_speech, vary_throat
from lipscore.types import Floats

VARIED = 0.8  # the share of image sequences, and of sounds, that are augmented
LOSSY = 0.3  # the share of image sequences that went through a codec
SPEED = 0.16  # largest absolute natural logarithm of the playback speed


@dataclass(frozen=True, slots=True)
class Clip:
    """A training clip.

    frames uint8[T, 84, 84]: `mini.grey_crops` at the video's own rate fps; pcm int16[N], mono, 16 kHz; lossy
    uint8[T', 84, 84]: the same at 25 frames a second, through a protocol's crop file and JPEGs.
    generator: of the clip (`training.generators`); empty: one of the clips with known boxes.
    lead: by how many frames (25 a second) the sound comes before the lips, as far as is known of the generator.
    """

    name: str
    frames: NDArray[np.uint8]
    fps: float
    pcm: NDArray[np.int16]
    lossy: NDArray[np.uint8] | None = None
    generator: str = ""
    lead: float = 0.0

    def in_sync(self) -> Clip:
        """The clip with the sound moved by its lead; what is missing then is silence."""
        return replace(self, pcm=later(self.pcm, round(self.lead * SAMPLES_PER_FRAME)), lead=0.0)


def later(pcm: NDArray[np.int16], samples: int) -> NDArray[np.int16]:
    """int16[N] -> int16[N]: the sound so many samples later (earlier if negative), with silence for what is missing."""
    if samples < 0:
        return np.pad(pcm[-samples:], (0, -samples))[: len(pcm)]
    return np.pad(pcm, (samples, 0))[: len(pcm)]


@dataclass(frozen=True, slots=True)
class Batch:
    """mouths uint8[B, T, 48, 48] and mfcc float32[B, M, 13] of the same windows, with the model's context around."""

    mouths: NDArray[np.uint8]
    mfcc: Floats


def draw(clips: Sequence[Clip], count: int, length: int, mean: Floats, rng: np.random.Generator) -> Batch:
    """`count` different clips, `length` windows of each.

    Args:
        mean: float32[13], the value of masked MFCCs.
    """
    chosen = rng.permutation(len(clips))[:count]
    samples = [_sample(clips[i], clips[int(rng.integers(len(clips)))], length, mean, rng) for i in chosen]
    return Batch(np.stack([s[0] for s in samples]), np.stack([s[1] for s in samples]))


def _sample(
    clip: Clip, other: Clip, length: int, mean: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Floats]:
    pictures, fps = clip.frames, clip.fps
    if clip.lossy is not None and rng.random() < LOSSY:
        pictures, fps = clip.lossy, float(FRAME_RATE)
    speed = math.exp(rng.uniform(-SPEED, SPEED)) if rng.random() < 0.6 else 1.0
    positions = np.arange(0, len(clip.pcm) - 1, speed)
    pcm = np.interp(positions, np.arange(len(clip.pcm)), clip.pcm).astype(np.int16) if speed != 1.0 else clip.pcm
    n_frames = int(len(pictures) / fps / speed * FRAME_RATE)
    n_windows = min(n_frames, len(pcm) // SAMPLES_PER_FRAME) - N_FRAMES
    first = int(rng.integers(0, max(1, n_windows - length + 1)))

    edge = rng.random() < 0.3  # like the ends of a track: the context repeats the outermost frame
    low, high = (first, first + length + N_FRAMES - 2) if edge else (0, n_frames - 1)
    frames = np.clip(np.arange(first - LIP_CONTEXT, first + length + N_FRAMES - 1 + LIP_CONTEXT), low, high)
    source = np.rint(frames / FRAME_RATE * speed * fps).astype(np.int64).clip(0, len(pictures) - 1)
    crops = pictures[source]
    mouths = vary_mouths(crops, rng) if rng.random() < VARIED else plain_mouths(crops)

    rows = vary_throat(vary_speech(pcm, other.pcm, rng), rng) if rng.random() < VARIED else mfcc(pcm)
    begin, end = MFCC_PER_FRAME * first, MFCC_PER_FRAME * (first + length - 1) + N_MFCC
    low, high = (begin, end - 1) if edge else (0, len(rows) - 1)
    wanted = np.arange(begin - AUDIO_CONTEXT, end + AUDIO_CONTEXT)
    features = rows[np.clip(wanted, low, min(high, len(rows) - 1))]
    mask_mfcc(features, mean, rng)
    return mouths, features
