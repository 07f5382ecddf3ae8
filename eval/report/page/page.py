"""`lipscore report`: one HTML file with the results, which needs no network, and no script for its main content."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lipscore import __version__
from lipscore.errors import UsageError
from lipscore.eval import pictures as kept
from lipscore.eval.report.page import charts, facts
from lipscore.eval.report.page.results import Method, command_of, load
from lipscore.eval.report.page.svg import METHODS
from lipscore.eval.store.records import Record, as_csv, as_json
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import Score
from lipscore.metrics.standards import STANDARDS

PICTURES = 40  # videos with pictures, half of them the worst: 40 take about 1.5 MB


@dataclass(frozen=True, slots=True)
class Row:
    """A video in the page's table and data; key: its id in the page."""

    key: str
    method: int
    record: Record
    cells: tuple[tuple[str, str], ...]
    spark: str


def report(results: Sequence[str], target: Path, *, real: str | None = None, pictures: int = PICTURES) -> Report:
    """Read results and make the page; the caller writes it.

    Args:
        results: folders or scores.jsonl files, each PATH or NAME=PATH.
        target: the page's path; links to videos are relative to it.
        real: the name of the result that holds the real videos, drawn grey.
        pictures: the number of videos whose kept pictures the page shows.

    Raises:
        MissingError: a result contains no records.
        UsageError: two results have the same name, or none is called `real`.
    """
    methods, warnings = load(results)
    labels = [method.label for method in methods]
    if real is not None and real not in labels:
        raise UsageError.about("real", real, f"no results have this name; they are {', '.join(labels)}")
    return Report(_page(methods, target, real, pictures), warnings)


@dataclass(frozen=True, slots=True)
class Report:
    """The page's bytes, and warnings about lines that were skipped."""

    html: bytes
    warnings: list[str]


def environment() -> Environment:
    """Jinja2 with autoescape: a file named <script> is text."""
    loader = PackageLoader("lipscore.eval.report.page")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters["minus"] = minus
    return found


def minus(text: str) -> str:
    """A number's text with a minus sign instead of a hyphen."""
    return text.replace("-", "−")


def static(name: str) -> str:
    """The text of a style sheet or a script."""
    return (resources.files("lipscore.eval.report.page") / "static" / name).read_text("utf-8")


def pictures_html(found: dict[str, Any], prefix: str) -> str:
    """A video's crops and its confidence over time, for the panel."""
    template = environment().get_template("pictures.html")
    return template.render(pictures=found, chart=Markup(charts.confidence(found, prefix)))


def _page(methods: Sequence[Method], target: Path, real: str | None, pictures: int) -> bytes:
    scores = facts.scores_shown(methods)
    rows = _rows(methods, scores)
    keys = {id(row.record): row.key for row in rows}
    axes = [_axes(method, number) for number, method in enumerate(methods)]
    found = _pictures(rows, methods, pictures)
    style, script = static("page.css"), static("panel.js") + static("report.js")
    template = environment().get_template("report.html")
    text = template.render(
        title=_title(methods),
        version=__version__,
        made=datetime.now(UTC).isoformat(timespec="minutes"),
        warnings=facts.warnings(methods),
        methods=methods,
        real=real,
        scores=scores,
        facts=facts,
        models={method.model for method in methods},
        charts=_charts(methods, scores, real),
        versus=[_versus(*pair, scores, keys, n) for n, pair in enumerate(_versions(methods, real))],
        inks=["real" if colour is None else f"m{colour % len(METHODS)}" for colour in _colours(methods, real)],
        rows=rows,
        columns=_columns(methods, scores),
        failed=[row for row in rows if row.record.score.status != "ok"],
        axes=axes,
        scales=[one.get("scale") for one in axes],
        pictures={key: one["html"] for key, one in found.items()},
        boxes={key: one["boxes"] for key, one in found.items()},
        limits=list(STANDARDS.values()),
        marked=charts.MARKED,
        data=_data(rows, methods, target),
        csv=base64.b64encode(as_csv(row.record for row in rows)).decode(),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    return text.encode(errors="backslashreplace")


def _hash(text: str) -> str:
    """The hash by which a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _title(methods: Sequence[Method]) -> str:
    return "Lip sync: " + ", ".join(method.label for method in methods)


def _columns(methods: Sequence[Method], scores: Sequence[Score]) -> list[tuple[str, str]]:
    """(title, unit with arrow) of the table's number columns."""
    arrows = {"lower": "↓", "higher": "↑", "zero": ""}
    models = {method.model for method in methods}
    named = [(score.title_for(models), f"{score.unit} {arrows[score.better]}".strip()) for score in scores]
    return [*named, ("offset", "ms"), ("tracks", ""), ("length", "s")]


def _rows(methods: Sequence[Method], scores: Sequence[Score]) -> list[Row]:
    """The videos: the least confident first, those without a score last."""
    found = []
    for number, method in enumerate(methods):
        for index, record in enumerate(method.records):
            cells = (*(_cell(facts.score_of(record.score, score), score.form) for score in scores),)
            cells += (
                _cell(facts.offset_ms(record), "+.0f"),
                _cell(len(record.score.tracks), "d"),
                _cell(record.score.duration_s, ".1f"),
            )
            found.append(Row(f"v{number}-{index}", number, record, cells, _spark(record)))
    return sorted(found, key=lambda row: _confidence(row.record))


def _confidence(record: Record) -> float:
    value = facts.score_of(record.score, catalogue.LSE_C)
    return float("inf") if value is None else value


def _cell(value: float | None, form: str) -> tuple[str, str]:
    """(the text to sort by, the text to show)."""
    if value is None:
        return "", "–"
    return f"{value:.6g}", "0" if form == "+.0f" and not round(value) else minus(format(value, form))


def _spark(record: Record) -> str:
    """The most confident track's curve as points of a polyline in a box of 60 by 16, the dip down."""
    tracks = [track for track in record.score.tracks if track.curve]
    if not tracks:
        return ""
    curve = max(tracks, key=lambda track: track.lse_c).curve[::-1]  # column k is the shift k - vshift: minus the offset
    known = [value for value in curve if math.isfinite(value)]
    low, high = min(known), max(known)
    scale = 14 / (high - low) if high > low else 0
    step = 60 / max(1, len(curve) - 1)
    points = [(index, value) for index, value in enumerate(curve) if math.isfinite(value)]
    return " ".join(f"{index * step:.0f},{1 + (high - value) * scale:.0f}" for index, value in points)


def _charts(methods: Sequence[Method], scores: Sequence[Score], real: str | None) -> list[Markup]:
    """The distribution of each score, and that of the offsets."""
    colours = _colours(methods, real)

    def series(values_of: Callable[[Method], list[float]]) -> list[charts.Series]:
        found = [charts.Series(m.label, values_of(m), colour) for m, colour in zip(methods, colours, strict=True)]
        return [one for one in found if one.values]

    drawn = []
    models = {method.model for method in methods}
    for number, score in enumerate(scores):
        if shown := series(partial(facts.values_of, score=score)):
            title = f"{score.title_for(models)} {score.unit}".strip()
            drawn.append(charts.distribution(shown, title, f"c{number}"))
    if shown := series(facts.offsets_of):
        drawn.append(charts.offsets(shown, facts.FRAME_MS, "co"))
    return [Markup(one) for one in drawn]


def _colours(methods: Sequence[Method], real: str | None) -> list[int | None]:
    """Each method's colour by number; None for the real videos."""
    numbers = count()
    return [None if method.label == real else next(numbers) for method in methods]


def _versions(methods: Sequence[Method], real: str | None) -> list[tuple[Method, Method, int | None]]:
    """(a, b, b's colour): every other method against the real videos, or else against the first."""
    colours = _colours(methods, real)
    base = next((method for method in methods if method.label == real), methods[0])
    return [(base, other, colour) for other, colour in zip(methods, colours, strict=True) if other is not base]


def _versus(
    a: Method, b: Method, colour: int | None, scores: Sequence[Score], keys: Mapping[int, str], number: int
) -> dict[str, Any]:
    """A comparison's numbers, its two charts of LSE-C and its ten worst, each with its key in the page."""
    found = facts.versus(a, b, scores)
    score = catalogue.LSE_C
    values_a, values_b = found.values(score)
    title = score.title_for([a.model, b.model])
    drawn = []
    if values_a:
        left, right = charts.Series(a.label, values_a), charts.Series(b.label, values_b, colour)
        apart = [y - x for x, y in zip(values_a, values_b, strict=True)]
        drawn = [
            charts.scatter(left, right, title, f"s{number}"),
            charts.differences(apart, title, score.better, f"d{number}"),
        ]
    worst = [(record.score.name, difference, keys[id(record)]) for _, record, difference in found.worst(score)]
    return {"found": found, "charts": [Markup(one) for one in drawn], "title": title, "worst": worst}


def _axes(method: Method, number: int) -> dict[str, Any]:
    """The empty axes into which the script draws a method's curves; {} if the method has no curves."""
    curves = [track.curve for record in method.scored for track in record.score.tracks if track.curve]
    return axes_data(curves, f"a{number}") if curves else {}


def axes_data(curves: Sequence[Sequence[float]], prefix: str) -> dict[str, Any]:
    """`charts.curve_axes` for a template and the script."""
    drawn = asdict(charts.curve_axes(curves, prefix))
    return {"svg": Markup(drawn.pop("svg")), "scale": drawn}


def _pictures(rows: Sequence[Row], methods: Sequence[Method], limit: int) -> dict[str, dict[str, Any]]:
    """Row key -> its pictures, for the worst and the best videos that have pictures."""
    ok = [row for row in rows if row.record.score.status == "ok"]
    from_ends = [row for pair in zip(ok, reversed(ok), strict=True) for row in pair]
    found: dict[str, dict[str, Any]] = {}
    for row in from_ends:
        if len(found) >= limit:
            break
        if row.key in found:
            continue
        own = kept.read_kept(methods[row.method].folder, row.record.score, row.record.settings)
        if own is not None:
            found[row.key] = {"html": Markup(pictures_html(own, row.key)), "boxes": boxes_of(own)}
    return found


def boxes_of(pictures: dict[str, Any]) -> dict[str, Any]:
    """What the script needs to draw boxes on a playing video."""
    return {"rate": pictures["rate"], "size": pictures["size"], "tracks": pictures["tracks"]}


def _data(rows: Sequence[Row], methods: Sequence[Method], target: Path) -> dict[str, Any]:
    """The records as the script reads them; values that all records of a method share are written once."""
    records: list[dict[str, Any]] = []
    shared: list[dict[str, Any]] = []
    by_method = [[as_json(record) for record in method.records] for method in methods]
    for own in by_method:
        common = {name: own[0][name] for name in own[0] if all(one.get(name) == own[0][name] for one in own)}
        shared.append(common)
    for row in rows:
        full = as_json(row.record)
        rest = {name: value for name, value in full.items() if name not in shared[row.method]}
        beside = {
            "key": row.key,
            "method": row.method,
            "source": facts.source_of(row.record, target),
            "command": command_of(row.record.score, methods[row.method].manifest),
        }
        records.append({"record": rest, **beside})
    named = [
        {"label": method.label, "shared": common, "identity": facts.identity(method)}
        for method, common in zip(methods, shared, strict=True)
    ]
    return {"methods": named, "videos": records}
