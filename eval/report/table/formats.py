"""A table as text, Markdown, LaTeX (booktabs), CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from lipscore.eval import grid
from lipscore.eval.report.table.build import SURE, Cell, Column, Comparison, Row, Table
from lipscore.eval.store.cells import cell as written_cell
from lipscore.metrics.reduce import Interval

ARROWS = {"lower": "↓", "higher": "↑"}


def text(tables: Sequence[Table], signatures: Mapping[str, str], width: int | None = None) -> str:
    """Aligned columns: (1) marks the best, (2) the second, ~ a mean within the noise band of the best.

    Args:
        width: the terminal's width, in cells; None for a file or a pipe.
    """
    parts = [_blocks(table, _text_cell, partial(_aligned, width=width)) for table in tables]
    return "\n\n".join([*parts, "\n".join(_signatures(signatures))]) + "\n"


def markdown(tables: Sequence[Table], signatures: Mapping[str, str]) -> str:
    """Markdown tables; the best is bold, the second underlined."""
    parts = [_blocks(table, _markdown_cell, _piped, "### ", "- ") for table in tables]
    lines = [f"- {name}: `{signature}`" for name, signature in _named(signatures)]
    return "\n\n".join([*parts, "\n".join(["Signatures:", "", *lines])]) + "\n"


def latex(tables: Sequence[Table], signatures: Mapping[str, str]) -> str:
    r"""A table environment each; needs \usepackage{booktabs}."""
    return "\n".join(_latex(table, signatures) for table in tables)


def as_csv(tables: Sequence[Table], signatures: Mapping[str, str]) -> str:
    """A row per table, method and metric."""
    cells = [
        _csv_row(table, row, column, signatures) for table in tables for row in table.rows for column in table.columns
    ]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(cells[0]) if cells else ["group"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in cell.items()} for cell in cells)
    return out.getvalue()


def _csv_row(table: Table, row: Row, column: Column, signatures: Mapping[str, str]) -> dict[str, object]:
    cell = row.cells[column.name]
    against = cell.against or Comparison(math.nan, Interval(math.nan, math.nan), math.nan, 0, math.nan)
    return {
        "group": table.title,
        "method": row.name,
        "kind": row.kind,
        "metric": column.name,
        "unit": column.unit,
        "better": column.better,
        "mean": cell.mean,
        "low": cell.interval.low,
        "high": cell.interval.high,
        "n": cell.n,
        "rank": cell.rank or None,
        "like_best": cell.like_best,
        "scored": row.scored,
        "failed": sum(row.failed.values()),
        "difference": against.difference,
        "difference_low": against.interval.low,
        "difference_high": against.interval.high,
        "p": against.p,
        "p_holm": against.p_holm,
        "compared": against.n,
        "better_share": against.better,
        "in_noise": against.in_noise,
        "above_floor": row.above_floor.get(column.name),
        "within_standard": row.within,
        "signature": signatures.get(row.name, ""),
    }


def as_json(tables: Sequence[Table], signatures: Mapping[str, str]) -> str:
    """Everything that the tables hold."""
    content = {
        "schema": 1,
        "signatures": dict(signatures),
        "tables": [
            {
                "group": table.title,
                "videos": table.videos,
                "left_out": table.left_out,
                "base": table.base,
                "each_its_own": table.each_its_own,
                "standard": table.standard.name if table.standard else None,
                "metrics": [
                    {"name": column.name, "title": column.title, "unit": column.unit, "better": column.better}
                    for column in table.columns
                ],
                "methods": [asdict(row) for row in table.rows],
                "notes": list(table.notes),
            }
            for table in tables
        ],
    }
    return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Table], Mapping[str, str]], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}


def heading(column: Column) -> str:
    """Title, unit and arrow of a metric."""
    return " ".join(part for part in (column.title, column.unit, ARROWS[column.better]) if part)


def counts(row: Row) -> str:
    """The number of scored videos, and of failed ones with the reasons: "24, 2 failed (no_face 2)"."""
    failed = sum(row.failed.values())
    why = ", ".join(f"{status} {n}" for status, n in sorted(row.failed.items()))
    return f"{row.scored}, {failed} failed ({why})" if failed else str(row.scored)


def sentences(table: Table) -> list[str]:
    """One sentence for each thing that the reader of a table must know, and for each of its comparisons."""
    if table.each_its_own:
        said = ["means over each method's own videos, which differ; comparisons are over the videos that both have"]
    else:
        left = f"; {table.left_out} left out" if table.left_out else ""
        said = [f"means over the {table.videos} videos that all have scored{left}, each video once, 95 % intervals"]
    said += table.notes
    for row in table.rows:
        if row.above_floor:
            above = ", ".join(f"{c.title} {row.above_floor[c.name]:{c.form}}" for c in _held(table, row.above_floor))
            said.append(f"{row.name} is above its floor (others' sound) by {above}")
    return said


def comparisons(table: Table) -> list[list[str]]:
    """A row per comparison with the base: method, metric, difference, p, better in, remark; the header first."""
    rows = [["method", "metric", f"minus {table.base}", "p", "p (Holm)", "better in", ""]]
    for row in table.rows:
        for column in table.columns:
            against = row.cells[column.name].against
            if against is not None:
                rows.append([row.name, heading(column), *_comparison(against, column)])
    return rows


def _comparison(against: Comparison, column: Column) -> list[str]:
    interval = against.interval
    difference = f"{against.difference:+{column.form}}"
    if not math.isnan(interval.low):
        difference += f" [{interval.low:+{column.form}}, {interval.high:+{column.form}}]"
    remark = "within the noise band" if against.in_noise else "" if against.p_holm < SURE else "no clear difference"
    return [difference, f"{against.p:.4f}", f"{against.p_holm:.4f}", f"{against.better:.0%} of {against.n}", remark]


Render = Callable[[Cell, Column], str]
Lay = Callable[[Sequence[Sequence[str]]], str]


def _blocks(table: Table, cell: Render, lay: Lay, title: str = "", bullet: str = "") -> str:
    head = ["method", *map(heading, table.columns), *_standard_head(table), "n"]
    rows = [
        [
            row.name,
            *(cell(row.cells[column.name], column) for column in table.columns),
            *_within(table, row),
            counts(row),
        ]
        for row in table.rows
    ]
    parts = [f"{title}{table.title}"] if table.title else []
    parts += [lay([head, *rows]), "\n".join(f"{bullet}{line}" for line in sentences(table))]
    compared = comparisons(table)
    if len(compared) > 1:
        what = "paired bootstrap, approximate randomisation"
        parts.append(f"Against {table.base} ({what}; Holm over {len(compared) - 1} comparisons):")
        parts.append(lay(compared))
    return "\n\n".join(parts)


def _standard_head(table: Table) -> list[str]:
    return [f"within {table.standard.title}"] if table.standard else []


def _within(table: Table, row: Row) -> list[str]:
    if table.standard is None:
        return []
    return ["-" if row.within is None else f"{row.within:.0%}"]


def _numbers(cell: Cell, column: Column) -> tuple[str, str]:
    """(the mean, its interval in brackets with a space before it)."""
    if math.isnan(cell.mean):
        return "-", ""
    low, high = cell.interval.low, cell.interval.high
    return f"{cell.mean:{column.form}}", "" if math.isnan(low) else f" [{low:{column.form}}, {high:{column.form}}]"


def _text_cell(cell: Cell, column: Column) -> str:
    mean, interval = _numbers(cell, column)
    return f"{mean}{interval}{f' ({cell.rank})' if cell.rank else ''}{' ~' if cell.like_best else ''}"


def _markdown_cell(cell: Cell, column: Column) -> str:
    mean, interval = _numbers(cell, column)
    shown = {1: f"**{mean}**", 2: f"<u>{mean}</u>"}.get(cell.rank, mean)
    return f"{shown}{interval}{' ≈' if cell.like_best else ''}"


def _aligned(rows: Sequence[Sequence[str]], width: int | None) -> str:
    columns = [grid.Column(title, left=True, breaks=place == 0) for place, title in enumerate(rows[0])]
    return grid.lay(columns, rows[1:], width)


def _piped(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


_LATEX = {
    **{char: f"\\{char}" for char in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≈": r"$\approx$",
}


def escaped(words: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(char, char) for char in words)


def _latex(table: Table, signatures: Mapping[str, str]) -> str:
    head = ["Method", *map(heading, table.columns), *_standard_head(table), "$n$"]
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(cell if cell == "$n$" else escaped(cell) for cell in head) + r" \\",
        r"\midrule",
    ]
    ordered = sorted(table.rows, key=lambda row: row.kind == "method")  # real video and floors above the methods
    for place, row in enumerate(ordered):
        if place and (row.kind == "method") != (ordered[place - 1].kind == "method"):
            lines.append(r"\midrule")
        cells = [_latex_cell(row, column) for column in table.columns]
        failed = sum(row.failed.values())
        n = f"{row.scored}/{row.scored + failed}" if failed else str(row.scored)
        lines.append(" & ".join([escaped(row.name), *cells, *map(escaped, _within(table, row)), n]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    failures = [f"{row.name}: {counts(row)}" for row in table.rows if row.failed]
    marks = f"* differs from {table.base} (approximate randomisation, Holm, p < {SURE:g})"
    said = [*([table.title] if table.title else []), *sentences(table), marks, *failures]
    warnings = [line for line in said if line.startswith("warning")]
    caption = ". ".join(line[:1].upper() + line[1:] for line in said if line not in warnings)
    lines.append(rf"\caption{{{escaped(caption)}.}}")
    lines += [f"% {line}" for line in warnings]
    lines += [f"% {name}: {signature}" for name, signature in _named(signatures)]
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_cell(row: Row, column: Column) -> str:
    cell = row.cells[column.name]
    mean, interval = _numbers(cell, column)
    shown = {1: rf"\textbf{{{mean}}}", 2: rf"\underline{{{mean}}}"}.get(cell.rank, mean)
    sure = cell.against is not None and cell.against.p_holm < SURE and not cell.against.in_noise
    marks = ("$^{*}$" if sure else "") + (r" $\approx$" if cell.like_best else "")
    return f"{shown}{marks}" + (rf" {{\scriptsize {interval.strip()}}}" if interval else "")


def _named(signatures: Mapping[str, str]) -> list[tuple[str, str]]:
    """(the names that share a signature, the signature), for each signature; names without one are left out."""
    by_signature: dict[str, list[str]] = {}
    for name, signature in signatures.items():
        by_signature.setdefault(signature, []).append(name)
    return [(", ".join(names), signature) for signature, names in by_signature.items() if signature]


def _signatures(signatures: Mapping[str, str]) -> list[str]:
    return [f"signature of {name}: {signature}" for name, signature in _named(signatures)]


def _held(table: Table, above: Mapping[str, float]) -> list[Column]:
    return [column for column in table.columns if column.name in above]


def _plain(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else written_cell(value)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
