"""Line charts as PNG, drawn with OpenCV: the tools need two small ones, and matplotlib would be a large dependency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.types import Frame

WIDTH, HEIGHT = 900, 300  # of a chart, in pixels
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 36, 48  # margins
INK, GRID, LINE, MARK = (40, 40, 40), (225, 225, 225), (170, 90, 20), (40, 40, 210)  # BGR
FONT = cv2.FONT_HERSHEY_SIMPLEX
TICKS = 6  # about how many on an axis


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve y over x (NaN breaks it); mark: an x to draw an upright line at; texts in ASCII (OpenCV's font).

    dots: the points are marked; from_zero: the y axis begins there.
    """

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    mark: float | None = None
    dots: bool = False
    from_zero: bool = False


def draw(charts: Sequence[Chart]) -> Frame:
    """The charts, one above the other: uint8[n * 300, 900, 3] BGR."""
    return np.concatenate([_draw(chart) for chart in charts])


def png(image: Frame) -> bytes:
    """The image as a PNG file's bytes."""
    return bytes(cv2.imencode(".png", image)[1])


def ticks(low: float, high: float) -> list[float]:
    """Round numbers within low ... high, about TICKS of them: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(-15, 15)
    [-15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0]
    """
    raw = (high - low) / TICKS
    power = 10 ** np.floor(np.log10(raw))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - raw))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(float(k * step), 10) for k in range(first, last + 1)]


def _span(values: NDArray[np.float64], margin: float) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    spare = (high - low) * margin or 0.5
    return low - (spare if margin else 0.0 if high > low else 0.5), high + (spare if margin or high == low else 0.0)


def _draw(chart: Chart) -> Frame:
    x, y = np.asarray(chart.x, np.float64), np.asarray(chart.y, np.float64)
    (x_low, x_high), (y_low, y_high) = _span(x, 0.0), _span(y, 0.08)
    if chart.from_zero:
        y_low = 0.0
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)

    def at(px: float, py: float) -> tuple[int, int]:
        return (
            round(LEFT + (px - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)),
            round(HEIGHT - BOTTOM - (py - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)),
        )

    for tick in ticks(x_low, x_high):
        cv2.line(image, at(tick, y_low), at(tick, y_high), GRID)
        _text(image, f"{tick:g}", (at(tick, y_low)[0], HEIGHT - BOTTOM + 16), "centre")
    for tick in ticks(y_low, y_high):
        cv2.line(image, at(x_low, tick), at(x_high, tick), GRID)
        _text(image, f"{tick:g}", (LEFT - 8, at(x_low, tick)[1] + 4), "right")
    cv2.rectangle(image, at(x_low, y_high), at(x_high, y_low), INK)
    if chart.mark is not None:
        cv2.line(image, at(chart.mark, y_low), at(chart.mark, y_high), MARK, 1, cv2.LINE_AA)
    known = np.isfinite(y)
    points = [at(*point) if ok else None for *point, ok in zip(x, y, known, strict=True)]
    for before, after in pairwise(points):
        if before is not None and after is not None:
            cv2.line(image, before, after, LINE, 2, cv2.LINE_AA)
    for point in points if chart.dots else ():
        if point is not None:
            cv2.circle(image, point, 4, LINE, -1, cv2.LINE_AA)
    _text(image, chart.title, (LEFT, TOP - 14), "left", 0.5)
    _text(image, chart.x_label, ((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 10), "centre")
    label = np.full((HEIGHT, 20, 3), 255, np.uint8)
    sideways = np.ascontiguousarray(np.rot90(label, -1))
    _text(sideways, chart.y_label, (HEIGHT // 2, 14), "centre")
    image[:, 2:22] = np.rot90(sideways)
    return image


def _text(image: Frame, text: str, at: tuple[int, int], align: str, scale: float = 0.42) -> None:
    width = cv2.getTextSize(text, FONT, scale, 1)[0][0]
    left = at[0] - {"left": 0, "centre": width // 2, "right": width}[align]
    cv2.putText(image, text, (left, at[1]), FONT, scale, INK, 1, cv2.LINE_AA)
