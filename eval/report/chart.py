"""Line charts as PNG, drawn with matplotlib's Figure objects and Agg canvas, so that pyplot's state stays untouched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES, DPI = (9.0, 3.0), 100  # a chart has 900 x 300 pixels
LINE, MARK, GRID = "#145aaa", "#d22828", "#e1e1e1"


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve y over x; NaN interrupts it.

    mark: the x of a vertical line, or None. dots: whether the points are marked. from_zero: whether the y axis begins
    at 0.
    """

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    mark: float | None = None
    dots: bool = False
    from_zero: bool = False


def figure(charts: Sequence[Chart]) -> Figure:
    """The charts in one column, in this order."""
    from matplotlib.figure import Figure  # imported here: it takes a third of a second, and most runs draw no chart

    drawn = Figure(figsize=(INCHES[0], INCHES[1] * len(charts)), dpi=DPI, layout="constrained")
    for axes, chart in zip(drawn.subplots(len(charts), squeeze=False).flat, charts, strict=True):
        _draw(axes, chart)
    return drawn


def png(charts: Sequence[Chart]) -> bytes:
    """The bytes of a PNG file with the charts, 900 x 300 pixels each."""
    data = io.BytesIO()
    figure(charts).savefig(data, format="png")  # without pyplot, a Figure uses the format's own canvas, Agg
    return data.getvalue()


def _draw(axes: Axes, chart: Chart) -> None:
    axes.set_title(chart.title, loc="left", fontsize="medium", parse_math=False)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.margins(x=0.02 if chart.dots else 0)
    if chart.mark is not None:
        axes.axvline(chart.mark, color=MARK, linewidth=1)
    axes.plot(chart.x, chart.y, color=LINE, marker="o" if chart.dots else "", markersize=5)
    if chart.from_zero:
        axes.set_ylim(bottom=0)
