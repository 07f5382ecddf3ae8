"""A drawn head: a face lit from one side, with hair, eyes, brows and a mouth that follows the speech.

Lengths are in face units: y runs from 0 at the hairline to 1 at the chin, x from the middle of the face to the viewer's
right. The proportions are the painter's rule of thirds (hairline, brows, base of the nose, chin). All numbers were
chosen by eye for this renderer, so that dlib's frontal detector finds the face and the mouth moves like a speaker's.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.demo.mouth import MouthLook, MouthState, paint_mouth

Array = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]  # [H, W, 4], BGR and opacity

LEFT, RIGHT, TOP, BOTTOM = -0.64, 0.64, -0.40, 1.16  # the canvas a head is drawn on, in face units
_EYE_X, _EYE_Y = 0.165, 0.405
_SUBPIXEL = 4  # cv2's fixed-point bits

# Bumps on the face's ellipsoid: x, y, spread in x and y, height; bumps off the middle are mirrored to the other side.
_BUMPS = (
    (0.0, 0.50, 0.030, 0.095, 0.040),  # bridge of the nose
    (0.0, 0.615, 0.042, 0.034, 0.060),  # tip
    (0.055, 0.640, 0.022, 0.020, 0.022),  # wings
    (0.165, 0.405, 0.075, 0.045, -0.034),  # eye sockets
    (0.150, 0.335, 0.100, 0.026, 0.018),  # brow ridges
    (0.230, 0.570, 0.080, 0.075, 0.022),  # cheekbones
    (0.0, 0.935, 0.070, 0.050, 0.026),  # chin
    (0.0, 0.855, 0.090, 0.020, -0.010),  # below the lip
    (0.0, 0.775, 0.130, 0.070, 0.022),  # mouth
    (0.0, 0.705, 0.012, 0.022, -0.005),  # philtrum
    (0.150, 0.690, 0.018, 0.060, -0.006),  # folds from the nose
)


def _bgr(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return 255 * blue, 255 * green, 255 * red


@dataclass(frozen=True, slots=True)
class Look:
    """One person's appearance; colours are BGR, 0-255, lengths in face units."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    mouth: MouthLook
    width: float  # of the face, 1 is the average
    jaw: float  # 0 pointed .. 1 square
    eye: float  # size, 1 is the average
    brow: float  # thickness
    hairline: float
    long_hair: bool
    light: tuple[float, float, float]  # direction to the light, y down

    @staticmethod
    def draw(rng: np.random.Generator) -> Look:
        """A random person."""
        tone = rng.uniform(0.0, 1.0)
        skin = _bgr(rng.uniform(0.045, 0.075), 0.28 + 0.26 * tone, 0.98 - 0.42 * tone)
        hair = _bgr(rng.uniform(0.04, 0.11), rng.uniform(0.2, 0.6), rng.uniform(0.10, 0.38) * (1.0 - 0.4 * tone))
        side = rng.choice([-1.0, 1.0]) * rng.uniform(0.25, 0.55)
        return Look(
            skin=skin,
            hair=hair,
            iris=_bgr(rng.choice([0.08, 0.30, 0.57]), rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.5)),
            mouth=MouthLook.draw(rng),
            width=rng.uniform(0.94, 1.06),
            jaw=rng.uniform(0.2, 0.9),
            eye=rng.uniform(0.95, 1.12),
            brow=rng.uniform(0.016, 0.026),
            hairline=rng.uniform(-0.02, 0.06),
            long_hair=bool(rng.random() < 0.5),
            light=(side, rng.uniform(-0.5, -0.3), 0.8),
        )


@dataclass(frozen=True, slots=True)
class Expression:
    """The face in one frame: lids 0 shut .. 1 open, gaze -1..1, brows in face units upwards, yaw, pitch in radians."""

    mouth: MouthState
    lids: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)
    brows: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0


def _remap(image: Image, columns: Array, rows: Array) -> Image:
    moved: Any = cv2.remap(image, columns, rows, cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8)


def _feather(mask: Image, sigma: float) -> Array:
    """A mask of 0..255 with its edge blurred, as 0..1."""
    soft: Array = cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32) / 255
    return soft


class Head:
    """One person at one size: size is the height from hairline to chin in pixels."""

    def __init__(self, look: Look, size: float, rng: np.random.Generator) -> None:
        self.look, self.size = look, size
        width, height = round((RIGHT - LEFT) * size), round((BOTTOM - TOP) * size)
        self._x, self._y = np.meshgrid(
            (np.arange(width, dtype=np.float32) + 0.5) / size + LEFT,
            (np.arange(height, dtype=np.float32) + 0.5) / size + TOP,
        )
        self._columns, self._rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._depth = self._height_field()
        self._base = self._paint(rng)
        x, y = self._x, self._y
        down = np.clip((y - 0.64) / 0.22, 0, 1)
        across = np.clip((0.40 - np.abs(x)) / 0.20, 0, 1)
        self._jaw_field = (down**2 * (3 - 2 * down)) * (across**2 * (3 - 2 * across))

    def draw(self, expression: Expression) -> Image:
        """The head, uint8[H, W, 4] BGR and opacity, on the canvas from (LEFT, TOP) to (RIGHT, BOTTOM)."""
        canvas = self._base.copy()
        for side in (-1.0, 1.0):
            self._eye(canvas, side, expression)
            self._brow(canvas, side, expression.brows)
        drop = self.jaw_drop(expression.mouth)
        lower = (self._rows - drop * self.size * self._jaw_field).astype(np.float32)
        canvas = _remap(canvas, self._columns, lower)
        paint_mouth(canvas, self.look.mouth, expression.mouth, self.size, (LEFT, TOP))
        # When a head turns, points in front of its axis move sideways: parallax by the height field.
        turn = self._depth * self.size
        return _remap(
            canvas,
            self._columns - turn * np.float32(np.sin(expression.yaw)),
            self._rows - turn * np.float32(np.sin(expression.pitch)),
        )

    def jaw_drop(self, mouth: MouthState) -> float:
        """How far the chin moves down, in face units."""
        return 0.055 * mouth.jaw

    def _height_field(self) -> Array:
        x, y = self._x / np.float32(self.look.width), self._y
        field = 0.42 * np.sqrt(np.clip(1 - (x / 0.43) ** 2 - ((y - 0.42) / 0.72) ** 2, 0.02, 1))
        for bump_x, bump_y, spread_x, spread_y, tall in _BUMPS:
            for side in (-1, 1) if bump_x else (1,):
                field += tall * np.exp(-(((x - side * bump_x) / spread_x) ** 2 + ((y - bump_y) / spread_y) ** 2))
        return np.asarray(field, np.float32)

    def _outline(self) -> NDArray[np.float64]:
        """The face's edge, [P, 2] in face units."""
        above = np.linspace(-0.18, 0.42, 40)
        below = np.linspace(0.42, 1.0, 60)[1:]
        half = 0.365 * self.look.width
        upper = half * np.sqrt(np.clip(1 - ((above - 0.42) / 0.60) ** 2, 0, 1))
        power = 2.0 + 1.2 * self.look.jaw
        lower = half * np.clip(1 - ((below - 0.42) / 0.58) ** power, 0, 1) ** 0.58
        edge = np.stack([np.concatenate([upper, lower]), np.concatenate([above, below])], axis=1)
        return np.concatenate([edge, edge[::-1] * [-1, 1]])

    def _mask(self, outline: NDArray[np.float64], soft: float = 0.004) -> Array:
        """A filled polygon, float32[H, W] of 0..1, its edge blurred by soft face units."""
        mask = np.zeros(self._x.shape, np.uint8)
        points = np.round((outline - [LEFT, TOP]) * self.size * 2**_SUBPIXEL).astype(np.int32)
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, _SUBPIXEL)
        return _feather(mask, max(0.5, soft * self.size))

    def _ellipse(self, x: float, y: float, half_width: float, half_height: float, soft: float = 0.004) -> Array:
        angle = np.linspace(0, 2 * np.pi, 60)
        return self._mask(np.stack([x + half_width * np.cos(angle), y + half_height * np.sin(angle)], axis=1), soft)

    def _light(self) -> Array:
        """Lambert's law on the height field, plus ambient light."""
        slope_y, slope_x = np.gradient(self._depth, 1 / self.size)
        light = np.array(self.look.light) / np.linalg.norm(self.look.light)
        length = np.sqrt(1 + slope_x**2 + slope_y**2)
        lit = (-light[0] * slope_x - light[1] * slope_y + light[2]) / length
        return np.asarray(0.40 + 0.68 * np.clip(lit, 0, 1), np.float32)

    def _paint(self, rng: np.random.Generator) -> Image:
        look, x, y = self.look, self._x, self._y
        colour = np.zeros((*x.shape, 3), np.float32)
        opacity = np.zeros(x.shape, np.float32)

        def lay(mask: Array, paint: Array | tuple[float, float, float]) -> None:
            nonlocal colour, opacity
            opacity = np.maximum(opacity, mask)
            # Over an empty background the paint keeps its full colour, so soft edges get no dark rim.
            share = (mask / np.maximum(opacity, 1e-6))[..., None]
            colour = colour * (1 - share) + share * np.asarray(paint, np.float32)

        shade = self._light()
        streaks = cv2.GaussianBlur(rng.standard_normal(x.shape).astype(np.float32), (0, 0), 0.006 * self.size)
        streaks = cv2.blur(streaks, (1, max(1, round(0.16 * self.size))))
        streaks *= 0.16 / max(float(streaks.std()), 1e-6)
        gloss = np.exp(-(((y + 0.10) / 0.13) ** 2)) * np.exp(-(((x - 0.5 * look.light[0]) / 0.22) ** 2))
        hair = np.array(look.hair, np.float32) * (0.85 + streaks + 0.8 * gloss)[..., None]

        if look.long_hair:
            angle = np.linspace(0, 2 * np.pi, 80)
            wide = 0.45 + 0.10 * np.clip(np.sin(angle), 0, 1) ** 2
            fall = np.where(np.sin(angle) > 0, 0.86, 0.54)
            mane = self._mask(np.stack([wide * np.cos(angle), 0.24 + fall * np.sin(angle)], axis=1), 0.01)
            neck = np.clip((0.27 - np.abs(x)) / 0.05, 0, 1) * np.clip((y - 0.72) / 0.08, 0, 1)
            lay(mane * (1 - neck), hair * 0.75)
        else:
            lay(self._ellipse(0, 0.20, 0.42 * look.width, 0.50, 0.008), hair)
        skin = np.array(look.skin, np.float32)
        for side in (-1, 1):
            ear = self._ellipse(side * 0.375 * look.width, 0.47, 0.045, 0.10)
            lay(ear, skin * 0.80)
            lay(self._ellipse(side * 0.383 * look.width, 0.47, 0.022, 0.065, 0.012) * ear, skin * 0.62)

        blush = np.zeros_like(x)
        for side in (-1, 1):
            blush += np.exp(-(((x - side * 0.22) / 0.09) ** 2) - ((y - 0.60) / 0.08) ** 2)
        blush += 0.7 * np.exp(-((x / 0.05) ** 2) - ((y - 0.62) / 0.04) ** 2)
        pores = 0.02 * cv2.GaussianBlur(rng.standard_normal(x.shape).astype(np.float32), (0, 0), 0.8)
        face = skin * (shade + pores)[..., None] * (1 - blush[..., None] * np.array([0.10, 0.09, 0.0], np.float32))
        outline = self._mask(self._outline(), 0.003)
        lay(outline, face)
        # Nostrils and the shadow under the nose.
        lay(0.35 * self._ellipse(0, 0.675, 0.06, 0.014, 0.014), skin * 0.45)
        for side in (-1, 1):
            lay(0.8 * self._ellipse(side * 0.030, 0.655, 0.017, 0.009, 0.004), skin * 0.22)

        # Hair over the forehead: the part of the skull above a curved hairline.
        across = np.linspace(-0.45, 0.45, 60)
        parting = 0.10 * np.exp(-(((across - 0.12 * np.sign(look.light[0])) / 0.10) ** 2))
        line = look.hairline + 0.10 + 2.4 * np.abs(across) ** 2.2 - parting
        cap = np.concatenate([np.stack([across, line], axis=1), [[0.45, -0.4], [-0.45, -0.4]]])
        skull = self._ellipse(0, 0.20, 0.42 * look.width, 0.50, 0.008)
        lay(self._mask(cap, 0.008) * skull * (y < 0.44), hair)
        return np.dstack([np.clip(colour, 0, 255), 255 * opacity]).astype(np.uint8)

    def _points(self, outline: NDArray[np.float64]) -> NDArray[np.int32]:
        pixels = (outline - [LEFT, TOP]) * self.size - 0.5
        return np.asarray(np.round(pixels * 2**_SUBPIXEL), np.int32)

    def _eye(self, canvas: Image, side: float, expression: Expression) -> None:
        look, size = self.look, self.size
        wide, tall = 0.066 * look.eye, 0.030 * look.eye
        x = side * _EYE_X * look.width
        half = round(0.11 * size)
        column, row = round((x - LEFT) * size), round((_EYE_Y - TOP) * size)
        patch = canvas[row - half : row + half, column - half : column + half]
        along = np.linspace(-1, 1, 25)
        lids = max(expression.lids, 0.0)
        upper = _EYE_Y - tall * (1.25 * lids - 0.25) * (1 - along**2) ** 0.7
        lower = _EYE_Y + 0.62 * tall * (1 - along**2) ** 0.8
        lower, upper = np.maximum(lower, upper), np.minimum(lower, upper)
        origin = np.array([(column - half) / size + LEFT, (row - half) / size + TOP])

        def mask(outline: NDArray[np.float64]) -> Array:
            flat = np.zeros(patch.shape[:2], np.uint8)
            points = np.round(((outline - origin) * size - 0.5) * 2**_SUBPIXEL).astype(np.int32)
            cv2.fillPoly(flat, [points], 255, cv2.LINE_AA, _SUBPIXEL)
            return (flat.astype(np.float32) / 255)[..., None]

        def disc(radius: float) -> Array:
            angle = np.linspace(0, 2 * np.pi, 40)
            centre_x, centre_y = x + 0.02 * expression.gaze[0], _EYE_Y - 0.002 + 0.008 * expression.gaze[1]
            return mask(np.stack([centre_x + radius * np.cos(angle), centre_y + radius * np.sin(angle)], axis=1))

        skin = np.array(look.skin, np.float32)
        image = patch[..., :3].astype(np.float32)
        opening = mask(np.stack([np.concatenate([x + wide * along, x + wide * along[::-1]]),
                                 np.concatenate([upper, lower[::-1]])], axis=1))  # fmt: skip
        ball = np.array([215.0, 222.0, 228.0], np.float32) * np.ones_like(image)
        ball += (np.array(look.iris, np.float32) - ball) * disc(0.030)
        ball += (20.0 - ball) * disc(0.014)
        ball *= 0.55 + 0.45 * np.clip(
            (np.arange(image.shape[0])[:, None, None] / size + origin[1] - upper.min()) / (1.2 * tall), 0, 1
        ).astype(np.float32)
        image += (ball - image) * opening
        patch[..., :3] = np.clip(image, 0, 255).astype(np.uint8)
        lash = tuple(float(value) for value in 0.16 * skin)
        thick = max(1, round(0.011 * size))
        line = np.stack([x + wide * along, upper], axis=1)
        cv2.polylines(canvas, [self._points(line)], False, (*lash, 255), thick, cv2.LINE_AA, _SUBPIXEL)
        crease = np.stack([x + 1.05 * wide * along, upper - 0.020 - 0.006 * (1 - along**2)], axis=1)
        fold = tuple(float(value) for value in 0.55 * skin)
        cv2.polylines(canvas, [self._points(crease)], False, (*fold, 255), 1, cv2.LINE_AA, _SUBPIXEL)
        if lids > 0.5:
            glint_x = x + 0.02 * expression.gaze[0] + 0.01 * np.sign(look.light[0])
            glint, radius = self._points(np.array([[glint_x, _EYE_Y - 0.010]]))[0], round(0.005 * size * 2**_SUBPIXEL)
            cv2.circle(canvas, glint.tolist(), radius, (245, 245, 245, 255), -1, cv2.LINE_AA, _SUBPIXEL)

    def _brow(self, canvas: Image, side: float, lift: float) -> None:
        along = np.linspace(0, 1, 20)
        x = side * self.look.width * (0.065 + 0.19 * along)
        arch = 0.335 - lift - 0.030 * np.sin(np.pi * along**0.8) + 0.012 * along
        thick = self.look.brow * (1 - along) ** 0.4 * (0.7 + 0.3 * along) * 0.5
        outline = np.stack([np.concatenate([x, x[::-1]]), np.concatenate([arch - thick, (arch + thick)[::-1]])], axis=1)
        colour = tuple(float(value) * 0.8 for value in self.look.hair)
        cv2.fillPoly(canvas, [self._points(outline)], (*colour, 255), cv2.LINE_AA, _SUBPIXEL)
