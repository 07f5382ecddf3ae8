"""The mouth of a drawn head: lips, teeth, tongue and the cavity, drawn from four articulation values.

Lengths are in face units (see head.py). An open vowel parts the lips by about an eighth of the face's height. The upper
teeth stay with the skull; the lower lip, lower teeth and tongue move down with the jaw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Curve = NDArray[np.float64]

CENTRE_Y = 0.775
_SPAN_X, _SPAN_UP, _SPAN_DOWN = 0.25, 0.12, 0.22  # the patch that is painted, around the middle of the mouth
_SUBPIXEL = 4


@dataclass(frozen=True, slots=True)
class MouthLook:
    """half_width and lip thickness in face units; tint multiplies the skin's BGR."""

    half_width: float
    upper: float
    lower: float
    tint: tuple[float, float, float]
    teeth: float  # brightness, 0-255

    @staticmethod
    def draw(rng: np.random.Generator) -> MouthLook:
        """Random lips."""
        red = rng.uniform(0.0, 1.0)
        fullness = rng.uniform(0.85, 1.25)
        return MouthLook(
            half_width=rng.uniform(0.130, 0.152),
            upper=0.030 * fullness,
            lower=0.040 * fullness,
            tint=(0.72 - 0.14 * red, 0.66 - 0.16 * red, 0.90 - 0.04 * red),
            teeth=rng.uniform(200, 235),
        )


@dataclass(frozen=True, slots=True)
class MouthState:
    """opening, jaw and tuck in 0..1, width in -1 (rounded) .. 1 (spread)."""

    opening: float = 0.0
    width: float = 0.0
    jaw: float = 0.0
    tuck: float = 0.0


@dataclass(frozen=True, slots=True)
class _Shape:
    """Curves float64[P] from the left corner to the right, in face units, y from the middle of the mouth."""

    x: Curve
    inner_x: Curve
    outer_top: Curve
    inner_top: Curve
    inner_bottom: Curve
    outer_bottom: Curve


def _shape(look: MouthLook, state: MouthState) -> _Shape:
    along = np.linspace(-1, 1, 41)
    rounded, spread = max(-state.width, 0.0), max(state.width, 0.0)
    half = look.half_width * (1 - 0.36 * rounded + 0.13 * spread) * (1 - 0.07 * state.opening)
    gap = 0.120 * state.opening
    bend = 0.75 - 0.25 * rounded
    arch = (1 - along**2) ** bend
    # At rest the corners are slightly raised; they follow the jaw slightly.
    droop = (0.018 * state.jaw - 0.007 * (1 - rounded)) * np.abs(along) ** 3
    middle = 0.012 * state.jaw * (1 - np.abs(along) ** 3) * 0.4
    inner_top = middle + droop - 0.20 * gap * arch
    inner_bottom = middle + droop + 0.80 * gap * arch - 0.010 * state.tuck * arch
    inner_bottom = np.maximum(inner_bottom, inner_top)
    upper = look.upper * (1 + 0.30 * rounded - 0.16 * spread) * (1 - 0.15 * state.opening)
    lower = look.lower * (1 + 0.30 * rounded - 0.16 * spread) * (1 - 0.10 * state.opening) * (1 - 0.55 * state.tuck)
    bow = 1 - 0.24 * np.exp(-((along / 0.13) ** 2)) * (1 - 0.5 * rounded)
    return _Shape(
        x=half * along,
        inner_x=half * along * (0.90 - 0.04 * rounded),
        outer_top=inner_top - upper * (1 - np.abs(along) ** 1.7) * bow - 0.002,
        inner_top=inner_top,
        inner_bottom=inner_bottom,
        outer_bottom=inner_bottom + lower * (1 - along**2) ** 0.75 + 0.002,
    )


def paint_mouth(
    canvas: NDArray[np.uint8], look: MouthLook, state: MouthState, size: float, corner: tuple[float, float]
) -> None:
    """Paint the mouth onto the canvas in place.

    Args:
        canvas: uint8[H, W, 4].
        size: pixels per face unit.
        corner: the position of the canvas's top left corner, in face units.
    """
    shape = _shape(look, state)
    left, top = round((-_SPAN_X - corner[0]) * size), round((CENTRE_Y - _SPAN_UP - corner[1]) * size)
    right, bottom = round((_SPAN_X - corner[0]) * size), round((CENTRE_Y + _SPAN_DOWN - corner[1]) * size)
    patch = canvas[top:bottom, left:right, :3]
    image = patch.astype(np.float32)
    x = (np.arange(left, right, dtype=np.float32) + 0.5)[None, :] / size + corner[0]
    y = (np.arange(top, bottom, dtype=np.float32) + 0.5)[:, None] / size + corner[1] - CENTRE_Y

    def mask(xs: Curve, above: Curve, below: Curve, soft: float = 0.003) -> Array:
        points = np.stack([np.concatenate([xs, xs[::-1]]), np.concatenate([above, below[::-1]])], axis=1)
        points = (points + np.array([-corner[0], CENTRE_Y - corner[1]])) * size - np.array([left + 0.5, top + 0.5])
        flat = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillPoly(flat, [np.round(points * 2**_SUBPIXEL).astype(np.int32)], 255, cv2.LINE_AA, _SUBPIXEL)
        feathered: Array = cv2.GaussianBlur(flat, (0, 0), max(0.4, soft * size)).astype(np.float32) / 255
        return feathered

    def lay(cover: Array, paint: Array) -> None:
        image[:] += (paint - image) * cover[..., None]

    def height(curve: Curve, xs: Curve) -> Array:
        return np.asarray(np.interp(x[0], xs, curve), np.float32)[None, :]

    outer_bottom, inner_top, inner_bottom = (
        height(shape.outer_bottom, shape.x),
        height(shape.inner_top, shape.inner_x),
        height(shape.inner_bottom, shape.inner_x),
    )
    # The shadow beneath the lower lip.
    below = np.exp(-(((y - outer_bottom - 0.012) / 0.016) ** 2) - (x / (0.75 * look.half_width)) ** 2)
    image *= (1 - 0.22 * below)[..., None]

    lips = image * np.array(look.tint, np.float32)
    middle = 0.5 * (inner_top + inner_bottom)
    lips *= np.where(y < middle, 0.84, 1.0)[..., None]
    sheen_y = 0.55 * inner_bottom + 0.45 * outer_bottom
    sheen = np.exp(-(((y - sheen_y) / 0.009) ** 2) - (x / (0.5 * look.half_width)) ** 2)
    lips += 34 * sheen[..., None]
    lay(mask(shape.x, shape.outer_top, shape.outer_bottom), lips)

    gap = float((shape.inner_bottom - shape.inner_top).max())
    inside = mask(shape.inner_x, shape.inner_top - 0.003, shape.inner_bottom + 0.003, soft=0.002)
    cavity = np.ones_like(image) * np.array([22.0, 16.0, 44.0], np.float32)
    tongue_y = height(shape.inner_bottom, shape.inner_x) - 0.012
    tongue = np.exp(-(((y - tongue_y) / (0.010 + 0.22 * gap)) ** 2) - (x / (0.62 * look.half_width)) ** 2)
    cavity += (np.array([70.0, 62.0, 148.0], np.float32) - cavity) * (0.85 * tongue)[..., None]
    fade = np.clip(1.15 - (x / (0.9 * look.half_width)) ** 2, 0, 1) * np.ones_like(y)
    enamel = look.teeth * np.array([0.90, 0.96, 1.0], np.float32) * (0.35 + 0.65 * fade)[..., None]
    edge = 0.010 - 1.2 * x**2  # the upper teeth, an arch fixed to the skull
    upper_teeth = np.clip(0.5 + (edge - y) / 0.008, 0, 1)
    floor = height(shape.inner_bottom, shape.inner_x) - 0.016 * state.jaw - 0.004 + 1.2 * x**2
    lower_teeth = (0.55 + 0.25 * max(state.width, 0.0)) * np.clip(0.5 + (y - floor) / 0.008, 0, 1)
    cavity += (0.72 * enamel - cavity) * lower_teeth[..., None]
    cavity += (enamel - cavity) * upper_teeth[..., None]
    cavity *= (0.45 + 0.55 * np.clip((y - inner_top) / 0.014, 0, 1))[..., None]  # the upper lip's shadow
    if gap > 0.004:
        lay(inside, cavity)
    line = mask(shape.inner_x, shape.inner_top - 0.0035, shape.inner_top + 0.0035, soft=0.002)
    lay((0.75 - 0.5 * min(gap / 0.03, 1.0)) * line, image * 0.28)
    patch[:] = np.clip(image, 0, 255).astype(np.uint8)
