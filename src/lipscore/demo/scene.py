"""A scene: drawn heads with shoulders, speaking or listening, in front of an out-of-focus room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.demo.head import BOTTOM, LEFT, RIGHT, TOP, Expression, Head, Look
from lipscore.demo.mouth import MouthState
from lipscore.demo.voice import Articulation
from lipscore.types import Frame

Array = NDArray[np.floating[Any]]
_GRAIN = 1.5  # the camera's noise, in levels


@dataclass(frozen=True, slots=True)
class Motion:
    """One head's movement, float64[T] each: x, y in face units; roll, yaw, pitch in radians; others as Expression."""

    x: Array
    y: Array
    zoom: Array
    roll: Array
    yaw: Array
    pitch: Array
    lids: Array
    brows: Array
    gaze: Array  # [T, 2]

    @staticmethod
    def draw(rng: np.random.Generator, fps: Fraction, mouth: Articulation) -> Motion:
        """Slow sways, a blink every two to four seconds, a nod and raised brows on loud syllables."""
        n = len(mouth)
        times = np.arange(n) / float(fps)

        def sway(amplitude: float) -> Array:
            waves = [rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * (rng.uniform(0.08, 0.55) * times + rng.random()))
                     for _ in range(3)]  # fmt: skip
            swayed: Array = amplitude * np.sum(waves, axis=0) / 2
            return swayed

        lids = np.ones(n)
        blink = rng.uniform(0.3, 2.0)
        while blink < times[-1]:
            lids = np.minimum(lids, np.clip(np.abs(times - blink) / 0.09 - 0.25, 0, 1))
            blink += rng.uniform(2.0, 4.0)
        effort = _slow(mouth.jaw, 0.12 * float(fps))
        gaze = np.stack([sway(0.5), sway(0.3)], axis=1)
        return Motion(
            x=sway(0.025), y=sway(0.012) + 0.02 * effort, zoom=1 + sway(0.015), roll=sway(0.045),
            yaw=sway(0.13), pitch=sway(0.05) + 0.05 * effort, lids=lids,
            brows=np.clip(sway(0.006), 0, 1) + 0.016 * effort,
            gaze=gaze,
        )  # fmt: skip


def _slow(values: Array, sigma: float) -> Array:
    smooth: Array = cv2.GaussianBlur(values[None, :], (0, 0), sigma)[0]
    return smooth


@dataclass(frozen=True, slots=True)
class Person:
    """One head in the picture; centre_x and centre_y are the middle of the face from hairline to chin, in pixels."""

    head: Head
    motion: Motion
    mouth: Articulation
    centre_x: float
    centre_y: float

    @staticmethod
    def draw(seed: int, face: float, centre: tuple[float, float], fps: Fraction, mouth: Articulation) -> Person:
        """A random person; `face` is the height from hairline to chin in pixels."""
        rng = np.random.default_rng([seed, 2])
        look = Look.draw(rng)
        return Person(Head(look, face, rng), Motion.draw(rng, fps, mouth), mouth, *centre)

    def box(self, frame: int) -> NDArray[np.float32]:
        """The true face box in a frame, forehead to chin: float32[4], x1 y1 x2 y2."""
        half = 0.36 * self.head.look.width
        chin = 1.0 + self.head.jaw_drop(self._state(frame))
        corners = np.array([[-half, 0.04, 1], [half, 0.04, 1], [half, chin, 1], [-half, chin, 1]])
        middle = (corners @ self._to_picture(frame).T).reshape(2, 2, 2).mean(axis=0)  # opposite corners' midpoints
        size = self.head.size * self.motion.zoom[frame] * np.array([2 * half, chin - 0.04])
        centre = middle.mean(axis=0)
        return np.concatenate([centre - size / 2, centre + size / 2]).astype(np.float32)

    def paint(self, picture: Frame, frame: int) -> None:
        """Lay the head over the picture, in place."""
        motion = self.motion
        expression = Expression(
            self._state(frame), float(motion.lids[frame]), (float(motion.gaze[frame, 0]), float(motion.gaze[frame, 1])),
            float(motion.brows[frame]), float(motion.yaw[frame]), float(motion.pitch[frame]),
        )  # fmt: skip
        canvas = self.head.draw(expression)
        forward = self._to_picture(frame)
        corners = np.array([[LEFT, TOP, 1], [RIGHT, TOP, 1], [RIGHT, BOTTOM, 1], [LEFT, BOTTOM, 1]]) @ forward.T
        low = np.clip(np.floor(corners.min(axis=0)), 0, picture.shape[1::-1]).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)), 0, picture.shape[1::-1]).astype(int)
        if (high <= low).any():
            return
        # Canvas pixels -> face units -> the part of the picture that the head covers.
        scale = 1 / self.head.size
        to_units = np.array([[scale, 0, LEFT], [0, scale, TOP], [0, 0, 1]])
        matrix = forward @ to_units - np.array([[0, 0, low[0]], [0, 0, low[1]]])
        part = cv2.warpAffine(canvas, matrix, (high - low).tolist(), flags=cv2.INTER_LINEAR)
        under = picture[low[1] : high[1], low[0] : high[0]]
        cover = part[..., 3:].astype(np.float32) / 255
        under[:] = (under + (part[..., :3] - under.astype(np.float32)) * cover).astype(np.uint8)

    def paint_body(self, picture: Frame) -> None:
        """Draw neck and shoulders, which do not move."""
        look, size = self.head.look, self.head.size
        shirt = np.array(_shirt(look), np.float32)

        def lay(outline: Array, paint: NDArray[np.float32], soft: float) -> None:
            mask = np.zeros(picture.shape[:2], np.uint8)
            points = outline * size + [self.centre_x, self.centre_y - 0.5 * size]
            cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
            cover = cv2.GaussianBlur(mask, (0, 0), max(0.6, soft * size)).astype(np.float32)[..., None] / 255
            picture[:] = (picture + (paint - picture.astype(np.float32)) * cover).astype(np.uint8)

        y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
        x = (x - self.centre_x) / size
        y = (y - self.centre_y) / size + 0.5
        lit = 0.8 + 0.35 * np.clip(x * np.sign(look.light[0]), -0.6, 0.6)
        neck = np.array([[-0.20, 0.6], [0.20, 0.6], [0.21, 1.10], [0.34, 1.40], [-0.34, 1.40], [-0.21, 1.10]])
        under_chin = 0.52 + 0.30 * np.clip((y - 1.0) / 0.22, 0, 1)
        across = np.linspace(-0.98, 0.98, 60)
        slope = 1.16 + 0.22 * (np.abs(across) / 0.8) ** 1.5 + 1.6 * np.clip(np.abs(across) - 0.78, 0, 1)
        collar = np.where(np.abs(across) < 0.24, 1.16 + 0.16 * np.cos(across / 0.24 * np.pi / 2), slope)
        lay(neck, (under_chin * lit)[..., None] * np.array(look.skin, np.float32), 0.006)
        body = np.concatenate([np.stack([across, collar], axis=1), [[1.15, 4.0], [-1.15, 4.0]]])
        folds = 0.05 * np.sin(9 * x + 4 * y) * np.clip(y - 1.3, 0, 1)
        lay(body, (lit + folds)[..., None] * shirt, 0.005)

    def _state(self, frame: int) -> MouthState:
        mouth = self.mouth
        return MouthState(*(float(part[frame]) for part in (mouth.opening, mouth.width, mouth.jaw, mouth.tuck)))

    def _to_picture(self, frame: int) -> Array:
        """[2, 3]: from face units to pixels."""
        motion = self.motion
        scale = self.head.size * motion.zoom[frame]
        cos, sin = scale * np.cos(motion.roll[frame]), scale * np.sin(motion.roll[frame])
        # The head turns and nods about the neck, at (0, 0.9).
        pivot = np.array([0.0, 0.9])
        turn = np.array([[cos, -sin], [sin, cos]])
        place = [self.centre_x + self.head.size * motion.x[frame],
                 self.centre_y + self.head.size * (motion.y[frame] + pivot[1] - 0.5)]  # fmt: skip
        return np.concatenate([turn, (np.array(place) - turn @ pivot)[:, None]], axis=1)


def _shirt(look: Look) -> tuple[float, float, float]:
    """The shirt's colour: muted, unlike the skin's, and the same for the same person."""
    rng = np.random.default_rng(round(1000 * sum(look.skin + look.hair)))
    base = rng.uniform(50, 150)
    return base + rng.uniform(0, 60), base + rng.uniform(-15, 15), base - rng.uniform(0, 40)


def draw_room(rng: np.random.Generator, size: tuple[int, int]) -> Frame:
    """An out-of-focus background, uint8[H, W, 3] for size (W, H): blurred objects in front of a shaded wall."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    wall = rng.uniform(90, 190) + rng.uniform(-20, 20, 3).astype(np.float32)
    picture = (wall * (1.12 - 0.30 * y / height - 0.18 * x / width)[..., None]).astype(np.float32)
    for _ in range(9):
        corner = rng.uniform(-0.1, 0.9, 2) * [width, height]
        extent = rng.uniform(0.06, 0.35, 2) * [width, height]
        colour = rng.uniform(30, 220) + rng.uniform(-35, 35, 3)
        end = corner + extent
        cv2.rectangle(picture, np.round(corner).astype(int).tolist(), np.round(end).astype(int).tolist(),
                      colour.tolist(), -1, cv2.LINE_AA)  # fmt: skip
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.03 * min(size))
    room: Frame = np.clip(blurred, 0, 255).astype(np.uint8)
    return room


def film(seed: int, people: list[Person], size: tuple[int, int], n_frames: int) -> Iterator[Frame]:
    """The scene's frames, uint8[H, W, 3] BGR for size (W, H)."""
    rng = np.random.default_rng([seed, 3])
    still = draw_room(rng, size)
    for person in people:
        person.paint_body(still)
    width, height = size
    grain = np.round(_GRAIN * rng.standard_normal((height + 64, width + 64, 1))).astype(np.int16)
    for frame in range(n_frames):
        picture = still.copy()
        for person in people:
            person.paint(picture, frame)
        down, right = rng.integers(0, 64, 2)
        yield np.clip(picture + grain[down : down + height, right : right + width], 0, 255).astype(np.uint8)
