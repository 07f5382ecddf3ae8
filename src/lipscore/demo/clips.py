"""Clips of drawn talking heads with a known audio-video offset, for the demonstration, the tests and the training.

A clip shows one utterance. The sound is cut from it shift_frames later than the picture, so each word is heard that
many frames before it is seen. This is SyncNet's positive offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from lipscore.demo.scene import Person, film
from lipscore.demo.voice import Articulation, speak
from lipscore.media import write
from lipscore.media.files.aside import written_aside
from lipscore.media.rates import FRAME_RATE, SAMPLE_RATE
from lipscore.types import Frame

FPS = Fraction(FRAME_RATE)
FILE_RATE = 48000  # Hz, like most video files; at lower rates, transcoding protocols delay the audio more
MARGIN_S = 1.0  # seconds of speech before and after the picture, for the shift
EARLY_FRAMES = 4
NOISE_LEVELS, BLUR_PX = 8.0, 1.2  # the distortion of demo_distorted.mp4


@dataclass(frozen=True, slots=True)
class Clip:
    """A rendered clip in memory.

    frames yields uint8[H, W, 3] BGR and can be iterated once; pcm is int16[N] mono at 16 kHz, or None; boxes
    float32[F, T, 4] are the faces from forehead to chin, the speaker's first; mouth is the speaker's.
    """

    frames: Iterator[Frame]
    pcm: NDArray[np.int16] | None
    boxes: NDArray[np.float32]
    mouth: Articulation


@dataclass(frozen=True, slots=True)
class DemoClip:
    """A demonstration clip and its true offset, in frames (positive: the audio comes first) and in words."""

    path: Path
    expected_offset: int
    reference: Path | None
    truth: str


def make_clip(
    *,
    seed: int,
    seconds: float = 5.6,
    size: tuple[int, int] = (480, 480),
    fps: Fraction | int = FPS,
    shift_frames: float = 0,
    faces: int = 1,
    face_px: float | None = None,
    audio: bool = True,
) -> Clip:
    """Draw a clip.

    Args:
        seed: decides the person, the room and the words; no other argument changes them.
        seconds: the length.
        size: width and height in pixels.
        fps: frames per second.
        shift_frames: frames (at fps) by which the audio comes before the video; at most MARGIN_S in either direction.
        faces: 0, 1 or 2; the first speaks, the second listens.
        face_px: a face's height from hairline to chin, in pixels; the default fits the picture.
        audio: whether the clip has audio.
    """
    fps = Fraction(fps)
    n_frames = round(seconds * fps)
    seconds = n_frames / float(fps)
    lead_s = float(shift_frames / fps)
    if abs(lead_s) > MARGIN_S:
        raise ValueError(f"a shift of {shift_frames} frames is more than the {MARGIN_S} s of speech around the clip")
    speech = speak(seed, seconds + 2 * MARGIN_S)
    mouth = speech.articulation(fps, MARGIN_S, n_frames)
    width, height = size
    face = face_px or min(0.56 * height, 0.62 * width / max(faces, 1))
    people = []
    for index in range(faces):
        centre = (width * (index + 0.5) / faces, 0.5 * height + 0.02 * face)
        moves = Articulation.at_rest(n_frames) if index else mouth
        people.append(Person.draw(seed + 1000 * index, face, centre, fps, moves))
    boxes = [[person.box(frame) for frame in range(n_frames)] for person in people]
    return Clip(
        frames=film(seed, people, size, n_frames),
        pcm=speech.sound(MARGIN_S + lead_s, seconds) if audio else None,
        boxes=np.array(boxes, np.float32).reshape(faces, n_frames, 4),
        mouth=mouth,
    )


def render_clip(
    path: Path,
    *,
    seed: int,
    seconds: float = 5.6,
    size: tuple[int, int] = (480, 480),
    fps: Fraction | int = FPS,
    shift_frames: float = 0,
    faces: int = 1,
    face_px: float | None = None,
    audio: bool = True,
) -> Clip:
    """Write the clip that make_clip draws with the same arguments; the audio is resampled to 48 kHz.

    The returned clip's frames have been consumed.
    """
    clip = make_clip(
        seed=seed,
        seconds=seconds,
        size=size,
        fps=fps,
        shift_frames=shift_frames,
        faces=faces,
        face_px=face_px,
        audio=audio,
    )
    _encode(path, clip.frames, Fraction(fps), clip.pcm)
    return clip


def distort(frames: Iterable[Frame], seed: int) -> Iterator[Frame]:
    """Blur each frame by BLUR_PX (Gaussian sigma) and add grey noise of NOISE_LEVELS (sigma).

    The noise is the same in every frame: H.264 preserves it at little cost, so the file's PSNR is near the drawing's.
    """
    rng = np.random.default_rng([seed, 4])
    noise = None
    for frame in frames:
        if noise is None:
            noise = np.round(NOISE_LEVELS * rng.standard_normal((*frame.shape[:2], 1))).astype(np.int16)
        yield np.clip(cv2.GaussianBlur(frame, (0, 0), BLUR_PX) + noise, 0, 255).astype(np.uint8)


def demo_clips(folder: Path) -> list[DemoClip]:
    """The demonstration clips that render_demo writes into the folder; they need not exist yet."""
    reference = folder / "reference" / "demo_distorted.mp4"
    early_ms = float(1000 * EARLY_FRAMES / FPS)
    together = "the sound is together with the picture"
    distortion = f"blurred (sigma {BLUR_PX} px), then fixed grey noise (sigma {NOISE_LEVELS:g} levels)"
    return [
        DemoClip(folder / "demo_in_sync.mp4", 0, None, together),
        DemoClip(
            folder / "demo_audio_early.mp4",
            EARLY_FRAMES,
            None,
            f"the sound comes {EARLY_FRAMES} frames ({early_ms:.0f} ms) before the picture",
        ),
        DemoClip(folder / "demo_distorted.mp4", 0, reference, f"{together}; {distortion}"),
    ]


def render_demo(folder: Path) -> list[DemoClip]:
    """Render the demonstration into a folder, and its reference into folder/reference; existing files are kept.

    Raises:
        MediaError: a clip cannot be written.
        MissingError: a folder cannot be created or written.
    """
    demo = demo_clips(folder)
    for seed, clip in enumerate(demo, start=1):
        if clip.reference is not None and not clip.reference.exists():
            take = make_clip(seed=seed, shift_frames=clip.expected_offset)
            _write(clip.reference, take.frames, take.pcm)
        if not clip.path.exists():
            take = make_clip(seed=seed, shift_frames=clip.expected_offset)
            _write(clip.path, distort(take.frames, seed) if clip.reference else take.frames, take.pcm)
    return demo


def _encode(path: Path, frames: Iterator[Frame], fps: Fraction, pcm: NDArray[np.int16] | None) -> None:
    if pcm is not None:
        finer = resample_poly(pcm.astype(np.float64), FILE_RATE // SAMPLE_RATE, 1)
        pcm = np.clip(np.round(finer), -32768, 32767).astype(np.int16)
    write.write_video(path, frames, fps, pcm, FILE_RATE)


def _write(path: Path, frames: Iterator[Frame], pcm: NDArray[np.int16] | None) -> None:
    """Write under a temporary name first, so that an interruption leaves no half-written clip."""
    with written_aside(path) as aside:
        _encode(aside, frames, FPS, pcm)
