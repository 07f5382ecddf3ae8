"""`lipscore table NAME=RESULTS...`: the table that papers print, with tests of its differences."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lipscore.eval.cli.options import command
from lipscore.eval.cli.output import say, show, width_of


@command
def table(
    results: Annotated[
        list[str], typer.Argument(metavar="NAME=RESULTS...", help="A method's name and the folder of its results.")
    ],
    real: Annotated[
        str | None, typer.Option(help="NAME of the results of real videos; all others are compared with them.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV file with columns video, language, ...; adds a table per group.")
    ] = None,
    each_its_own: Annotated[
        bool,
        typer.Option(
            "--each-its-own", help="Means over each method's own videos instead of the videos that all have scored."
        ),
    ] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Accept results that were scored with different settings.")
    ] = False,
    standard: Annotated[
        str | None,
        typer.Option(help="Add the share of videos within itu-detectable, itu-acceptable, ebu-r37 or atsc-is191."),
    ] = None,
    noise: Annotated[
        Path | None,
        typer.Option(help="Folder or file that `lipscore noise` wrote; differences within its band are marked."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="text, markdown, latex, csv or json.")] = "text",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File for the table; default: standard output.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random draws.", min=0)] = 0,
) -> None:
    """Compare methods: means with 95 % intervals, best and second, paired tests; pairs videos by name.

    Example: lipscore table real=results/real a=results/a b=results/b --real real --format latex
    """
    from lipscore.eval.report.table.build import Wanted
    from lipscore.eval.report.table.make import make
    from lipscore.eval.report.verdict import get_standard
    from lipscore.media.files.aside import replace_whole

    limits = None if standard is None else get_standard(standard)
    wanted = Wanted(real, each_its_own, limits, seed=seed)
    width = width_of(sys.stdout) if out is None else None
    made = make(results, wanted, form=form, noise=noise, groups=groups, allow_mixed=allow_mixed, width=width)
    for warning in made.warnings:
        say(f"warning: {warning}")
    if out is None:
        show(made.text.removesuffix("\n"))
    else:
        replace_whole(out, made.text.encode(errors="backslashreplace"))
        say(f"wrote {out}")
