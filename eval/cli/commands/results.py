"""Commands about results: average, merge, reproduce."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipscore.errors import UsageError
from lipscore.eval.cli.options import command
from lipscore.eval.options import ModelOptions, ProtocolOptions

if TYPE_CHECKING:
    from rich.table import Table

    from lipscore.eval.tools.reproduce import Comparison, Published


@command
def average(
    file: Annotated[Path, typer.Argument(help="A scores file of lipscore or of the older scripts.")] = Path(
        "all_scores.txt"
    ),
    file_b: Annotated[Path | None, typer.Argument(help="A second file to compare with the first, by video.")] = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Add a 95 % interval over videos.")] = False,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="One mean over all folders, protocols and models of a file.")
    ] = False,
) -> None:
    """Average a scores file by folder, protocol and model, or compare two; exit 1 where lines are malformed.

    Example: lipscore average ours.txt theirs.txt
    """
    from lipscore.eval.store import average as task

    result = task.average(file, bootstrap, mixed) if file_b is None else task.compare(file, file_b, mixed)
    for warning in result.warnings:
        typer.echo(warning, err=True)
    typer.echo("\n".join(result.lines))
    raise typer.Exit(1 if result.incomplete else 0)


@command
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders that `score --out` wrote.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for scores.jsonl, scores.csv, run.json and all_scores.txt.")
    ],
) -> None:
    """Merge several --out folders into one, each video once; exit 1 if a video is missing or was not scored.

    Raises:
        UsageError: the folders were scored with different settings, or `out` contains something else.
        MissingError: a folder contains no results, or `out` cannot be written.
    """
    from lipscore.eval.store import merge as task
    from lipscore.eval.store import summary

    merged = task.merge(folders, out, sys.argv)
    for text in (*merged.warnings, *map(summary.reason_of, merged.counts.not_scored)):
        typer.echo(text, err=True)
    typer.echo("\n".join(summary.lines(merged.counts)))
    typer.echo(f"merged into {out}", err=True)
    raise typer.Exit(1 if merged.warnings or merged.counts.not_scored else 0)


@command
def reproduce(
    name: Annotated[str | None, typer.Argument(help="The published result; default: all of them.")] = None,
    videos: Annotated[Path, typer.Option(help="Folder with the videos.")] = Path("eval/data"),
    table: Annotated[Path | None, typer.Option(help="The published CSV; default: VIDEOS/published_scores.csv.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Largest difference in LSE that counts as equal.")] = None,
    *,
    models: ModelOptions,
) -> None:
    """Score the videos of published results and compare; exit 1 outside the tolerance, 3 if something is missing."""
    from rich.console import Console

    from lipscore.eval.cli.options import load_setup
    from lipscore.eval.tools import reproduce as task
    from lipscore.syncnet.models.published import read_table

    if models.model == "mini":
        raise UsageError("--model mini: published results are those of the official weights")
    out, say = Console(), Console(stderr=True)
    counts = {"same": 0, "differs": 0, "missing": 0}
    for published in [task.get_published(name)] if name else list(task.PUBLISHED.values()):
        rows = published.rows or read_table(table or videos / "published_scores.csv")
        setup = load_setup(ProtocolOptions(published.protocol), replace(models, model="vgg"))
        limit = published.tolerance if tolerance is None else tolerance
        done = []
        for comparison in task.reproduce(published, rows, videos, setup, limit):
            counts[comparison.verdict] += 1
            done.append(comparison)
            say.print(f"{comparison.row.clip}: {comparison.verdict} {comparison.why}", highlight=False, soft_wrap=True)
        out.print(_table(published, done, limit))
    out.print(f"same {counts['same']}, differs {counts['differs']}, missing {counts['missing']}")
    raise typer.Exit(1 if counts["differs"] else 3 if counts["missing"] else 0)


def _table(published: Published, done: list[Comparison], tolerance: float) -> Table:
    from rich.table import Table

    table = Table(title=f"{published.name}, protocol {published.protocol}, tolerance {tolerance}")
    for column in ("video", "offset", "LSE-D", "published", "LSE-C", "published", "difference", "verdict"):
        table.add_column(column, justify="left" if column in ("video", "verdict") else "right")
    for comparison in done:
        record, row = comparison.record, comparison.row
        difference = "-" if comparison.d_lse_d is None else f"{comparison.d_lse_d:+.4f} {comparison.d_lse_c:+.4f}"
        table.add_row(
            row.clip,
            ", ".join(str(track.offset) for track in record.tracks) if record else "-",
            *(_number(record.lse_d if record else None), _number(row.lse_d)),
            *(_number(record.lse_c if record else None), _number(row.lse_c)),
            difference,
            comparison.verdict,
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
