"""The page's charts, drawn with matplotlib and returned as SVG text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lipscore.eval.report.page.svg import BAND, GRID, INK, MARK, METHODS, REAL, svg
from lipscore.metrics.standards import STANDARDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE, WIDE = (4.6, 2.5), (6.4, 2.2)  # inches of 72 points
BINS = 24
DASHES = ("-", "--", ":", "-.")
MARKED = tuple(STANDARDS[name] for name in ("ebu-r37", "itu-detectable", "itu-acceptable"))  # in the chart of offsets


@dataclass(frozen=True, slots=True)
class Series:
    """A method's values for a chart.

    colour: the index of its colour in METHODS; None for the reference, which is drawn grey and behind the others.
    """

    label: str
    values: Sequence[float]
    colour: int | None = 0

    @property
    def ink(self) -> str:
        """Its colour from PALETTE."""
        return REAL if self.colour is None else METHODS[self.colour % len(METHODS)]


def distribution(series: Sequence[Series], title: str, prefix: str) -> str:
    """A histogram per method over shared bins, in shares of the method's videos."""
    every = np.concatenate([np.asarray(one.values, float) for one in series])
    bins = np.histogram_bin_edges(every, bins=min(BINS, max(4, len(every) // 2)))
    return _histogram(series, bins, title, f"Distribution of {title}", prefix)


def offsets(series: Sequence[Series], frame_ms: float, prefix: str) -> str:
    """A histogram of offsets in ms, a bin per frame, with the named limits."""
    reach = max([abs(value) for one in series for value in one.values] + [MARKED[-1].late])
    n = int(np.ceil(reach / frame_ms))
    bins = (np.arange(-n - 1, n + 1) + 0.5) * frame_ms
    spoken = f"Distribution of the offset in milliseconds, with the limits of {', '.join(one.title for one in MARKED)}"
    return _histogram(series, bins, "offset in ms (positive: audio early)", spoken, prefix, limits=True)


def scatter(a: Series, b: Series, title: str, prefix: str) -> str:
    """One method against another, a dot per video, with the line of equal scores."""
    figure, axes = _axes(SIZE)
    both = [*a.values, *b.values]
    low, high = min(both), max(both)
    room = (high - low) * 0.05 or 0.5
    axes.plot([low - room, high + room], [low - room, high + room], color=REAL, linewidth=1)
    axes.scatter(a.values, b.values, s=10, color=b.ink, alpha=0.7, linewidths=0)
    axes.set_xlabel(f"{title}, {a.label}", parse_math=False)
    axes.set_ylabel(f"{title}, {b.label}", parse_math=False)
    return svg(figure, f"{title} of {b.label} against {a.label}, a dot per video", prefix)


def differences(values: Sequence[float], title: str, better: str, prefix: str) -> str:
    """The differences between two methods, sorted: a bar per video."""
    figure, axes = _axes(SIZE)
    ordered = np.sort(values)
    good = ordered > 0 if better == "higher" else ordered < 0
    axes.axhline(0, color=INK, linewidth=0.8)
    places = np.arange(len(ordered))
    for chosen, colour in ((good, METHODS[0]), (~good, METHODS[1])):
        axes.fill_between(places, np.where(chosen, ordered, 0), color=colour, step="mid", linewidth=0)
    axes.set_xlabel(f"videos, sorted; blue: better, {int(good.sum())} of {len(ordered)}", parse_math=False)
    axes.set_ylabel(f"difference in {title}", parse_math=False)
    return svg(figure, f"Sorted differences in {title}; better in {int(good.sum())} of {len(ordered)} videos", prefix)


@dataclass(frozen=True, slots=True)
class CurveAxes:
    """Empty axes for a track's curve, which the page's script draws into.

    box: left, top, right, bottom of the axes in the SVG's units; x, y: the values at left, right and at bottom, top.
    """

    svg: str
    box: tuple[float, float, float, float]
    x: tuple[float, float]
    y: tuple[float, float]


def curve_axes(curves: Sequence[Sequence[float]], prefix: str) -> CurveAxes:
    """Axes with room for all of these curves (mean distance per shift), so that they can be compared by eye.

    A short track has no distance at distant shifts (NaN).
    """
    vshift = max(len(curve) // 2 for curve in curves)
    values = [value for curve in curves for value in curve if math.isfinite(value)]
    room = (max(values) - min(values)) * 0.05 or 0.5
    figure, axes = _axes(WIDE)
    axes.set_xlim(-vshift, vshift)
    axes.set_ylim(min(values) - room, max(values) + room)
    axes.set_xlabel("offset in frames (positive: audio early)")
    axes.set_ylabel("mean distance")
    figure.draw_without_rendering()
    height = figure.get_figheight() * figure.dpi
    area = axes.get_window_extent()
    box = (area.x0, height - area.y1, area.x1, height - area.y0)
    text = svg(figure, "Mean distance over offsets; the dip is where lips and audio fit best", prefix)
    return CurveAxes(text, box, axes.get_xlim(), axes.get_ylim())


def confidence(pictures: Mapping[str, Any], prefix: str) -> str:
    """The tracks' framewise confidence over the video's time; cuts are upright lines, silence is shaded."""
    figure, axes = _axes(WIDE)
    for start, end in pictures["silence"]:
        axes.axvspan(start, end, color=BAND, alpha=0.6, linewidth=0)
    for cut in pictures["cuts"]:
        axes.axvline(cut, color=MARK, linewidth=1, linestyle="--")
    handles: list[Any] = []
    for number, track in enumerate(pictures["tracks"]):
        values = np.asarray(track["confidence"], float)
        seconds = (track["first_frame"] + np.arange(len(values))) / pictures["rate"]
        style: dict[str, Any] = {
            "color": METHODS[number % len(METHODS)],
            "linestyle": DASHES[number // len(METHODS) % len(DASHES)],
        }
        handles += axes.plot(seconds, values, linewidth=1.2, **style)
    axes.set_xlim(0, pictures["duration_s"] or None)
    axes.set_xlabel("seconds (grey: silence; dashed: a cut)")
    axes.set_ylabel("confidence")
    if len(handles) > 1:
        _legend(axes, handles, [f"track {track['id']}" for track in pictures["tracks"]])
    return svg(figure, "Framewise confidence over time, with cuts and silence", prefix)


def _histogram(
    series: Sequence[Series], bins: Any, x_label: str, spoken: str, prefix: str, *, limits: bool = False
) -> str:
    figure, axes = _axes(SIZE)
    if limits:
        for standard, dash in zip(MARKED, DASHES, strict=False):
            for at in (standard.early, -standard.late):
                axes.axvline(at, color=MARK, linewidth=0.8, linestyle=dash)
    handles: list[Any] = []
    ordered = sorted(series, key=lambda one: one.colour is not None)  # the reference first, so that it lies behind
    for number, one in enumerate(ordered):
        weights = np.full(len(one.values), 100 / max(1, len(one.values)))
        filled = one.colour is None or len(series) == 1
        style: dict[str, Any] = (
            {"histtype": "stepfilled", "alpha": 0.6, "linewidth": 0}
            if filled
            else {"histtype": "step", "linewidth": 1.4, "linestyle": DASHES[number % len(DASHES)]}
        )
        drawn: Any = axes.hist(one.values, bins, weights=weights, color=one.ink, **style)[2]
        handles += drawn
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel("% of videos")
    if len(series) > 1:
        _legend(axes, handles, [one.label for one in ordered])
    return svg(figure, spoken, prefix)


def _axes(inches: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of this size with one pair of axes and a transparent background."""
    from matplotlib.figure import Figure  # here, because it takes a third of a second

    figure = Figure(figsize=inches, dpi=72, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return figure, axes


def _legend(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend with these names unchanged: a leading underscore or a dollar sign has no special meaning."""
    legend = axes.legend(handles, labels, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_parse_math(False)
