"""`lipscore merge FOLDER...`: the shards of a run, made into one folder of results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="What `score --out` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for scores.jsonl, scores.csv, run.json and all_scores.txt.")] = Path(
        "eval/results"
    ),
) -> None:
    """Merge several --out folders into one, no video twice; exit 1 where some video is missing or was not scored.

    Raises:
        UsageError: the folders were not scored alike, or `out` holds something else.
        MissingError: a folder holds no results, or `out` cannot be written.
    """
    from lipscore.eval.store import merge as task
    from lipscore.eval.store import summary

    merged = task.merge(folders, out, sys.argv)
    for text in (*merged.warnings, *map(summary.reason_of, merged.counts.not_scored)):
        typer.echo(text, err=True)
    typer.echo("\n".join(summary.lines(merged.counts)))
    typer.echo(f"merged into {out}", err=True)
    raise typer.Exit(1 if merged.warnings or merged.counts.not_scored else 0)
