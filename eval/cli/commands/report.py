"""`lipscore report`: the page with a run's results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipscore.eval.cli.options import command
from lipscore.eval.cli.output import say, show


@command
def report(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...", help="Folders that `lipscore score --out` wrote, each as FOLDER or NAME=FOLDER."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")],
    real: Annotated[str | None, typer.Option(help="NAME of the results of real videos; they are drawn grey.")] = None,
    pictures: Annotated[
        int,
        typer.Option(
            help="Number of videos, the worst and the best, with pictures from `score --keep-pictures`.", min=0
        ),
    ] = 40,
) -> None:
    """Make one HTML page of results: means, charts, a table, a panel per video; several results side by side.

    Example: lipscore report results --out report.html
    """
    from lipscore.eval.report.page.page import report as make
    from lipscore.media.files.aside import replace_whole

    made = make(results, out, real=real, pictures=pictures)
    for warning in made.warnings:
        say(warning)
    replace_whole(out, made.html)
    show(str(out))
