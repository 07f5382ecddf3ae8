"""Line charts as PNG, drawn with matplotlib: the Agg canvas and Figure objects, so no state of pyplot is touched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES, DPI = (9.0, 3.0), 100  # of a chart: 900 x 300 pixels
LINE, MARK, GRID = "#145aaa", "#d22828", "#e1e1e1"


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve y over x (NaN breaks it); mark: an x to draw an upright line at.

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


def figure(charts: Sequence[Chart]) -> Figure:
    """The charts, one above the other, each on axes of its own in this order."""
    from matplotlib.figure import Figure  # here, because it takes a third of a second: most runs draw none

    drawn = Figure(figsize=(INCHES[0], INCHES[1] * len(charts)), dpi=DPI, layout="constrained")
    for axes, chart in zip(drawn.subplots(len(charts), squeeze=False).flat, charts, strict=True):
        _draw(axes, chart)
    return drawn


def png(charts: Sequence[Chart]) -> bytes:
    """The charts as a PNG file's bytes: 900 x 300 pixels each."""
    data = io.BytesIO()
    figure(charts).savefig(data, format="png")  # a Figure without pyplot has the canvas that the format needs: Agg
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
