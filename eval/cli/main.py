"""The program `lipscore`: its list of commands, and its exit.

Results go to standard output, everything else to standard error. Exit status: 0 all scored, 1 some input not scored, 2
wrong usage, 3 something needed is missing, 130 interrupted. Commands import torch and everything that needs it inside
their functions, so that --help does not wait for it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lipscore import __version__
from lipscore.eval.cli.commands import admin, results, tools, train
from lipscore.eval.cli.commands.compare import compare
from lipscore.eval.cli.commands.detect import detect
from lipscore.eval.cli.commands.generate import generate
from lipscore.eval.cli.commands.noise import noise
from lipscore.eval.cli.commands.report import report
from lipscore.eval.cli.commands.score import filter_, score
from lipscore.eval.cli.commands.serve import serve
from lipscore.eval.cli.commands.signature import signature
from lipscore.eval.cli.commands.table import table
from lipscore.eval.cli.output import say


class _Program(TyperGroup):
    """The program's group of commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an empty argument, which comes from an unset variable and, as a path, means the current folder."""
        for place, word in enumerate(args):
            if not word or re.fullmatch("--[a-z-]+=", word):
                before = " ".join(args[:place]) or "lipscore"
                say(f"lipscore: the argument after {before!r} is empty; is a variable in the command not set?")
                raise typer.Exit(2)
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Program,
    help="LSE-D, LSE-C, audio-video offset, PSNR and SSIM of talking-head videos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="The official weight files: list, fetch, verify.", no_args_is_help=True)
train_app = typer.Typer(help="Train the built-in model (mini), or the long-range head (fcn).", no_args_is_help=True)


def main() -> None:
    """The program `lipscore`."""
    nothing = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open for as long as the program runs
    sys.stdout, sys.stderr = sys.stdout or nothing, sys.stderr or nothing  # None if the caller closed them
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # do not fail on a name that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code > 128:
            # a signal ended the run and the results are on disk; an orderly exit of torch would take another second
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code)
        raise


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lipscore {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@train_app.callback()
def _train() -> None:
    pass


COMMANDS: dict[str, Callable[..., object]] = {
    "score": score,
    "compare": compare,
    "detect": detect,
    "evaluate": train.evaluate,
    "average": results.average,
    "merge": results.merge,
    "signature": signature,
    "table": table,
    "noise": noise,
    "reproduce": results.reproduce,
    "report": report,
    "serve": serve,
    "combine": tools.combine,
    "tracks": tools.tracks,
    "visualise": tools.visualise,
    "filter": filter_,
    "fix": tools.fix,
    "generate": generate,
    "demo": admin.demo,
    "doctor": admin.doctor,
    "protocols": admin.protocols,
}
WEIGHTS_COMMANDS: dict[str, Callable[..., object]] = {
    "list": admin.weights_list,
    "verify": admin.weights_verify,
    "fetch": admin.weights_fetch,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _command in WEIGHTS_COMMANDS.items():
    weights_app.command(_name)(_command)
train_app.command("mini")(train.mini)
train_app.command("fcn")(train.fcn)
app.add_typer(weights_app, name="weights")
app.add_typer(train_app, name="train")
