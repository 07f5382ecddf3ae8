"""The program `lipscore`: its commands, and how it ends.

Standard output carries results, standard error everything else. Exit status: 0 all scored, 1 some input not scored, 2
wrong usage, 3 something needed is missing, 130 interrupted. torch and what needs it are imported inside the commands,
so that --help does not wait for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from lipscore import __version__
from lipscore.eval.cli import admin, results, tools, train
from lipscore.eval.cli.compare import compare
from lipscore.eval.cli.generate import generate
from lipscore.eval.cli.noise import noise
from lipscore.eval.cli.score import filter_, score
from lipscore.eval.cli.signature import signature
from lipscore.eval.cli.table import table

app = typer.Typer(
    help="LSE-D, LSE-C, audio-video offset, PSNR and SSIM of talking-head videos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="The official weight files: list, fetch, verify.", no_args_is_help=True)
train_app = typer.Typer(help="Train the built-in model.", no_args_is_help=True)


def main() -> None:
    """The program `lipscore`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code > 128:
            # a signal ended it, the results are on disk: taking torch down in order would cost another second
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
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@train_app.callback()
def _train() -> None:
    pass


COMMANDS: dict[str, Callable[..., object]] = {
    "score": score,
    "compare": compare,
    "average": results.average,
    "merge": results.merge,
    "signature": signature,
    "table": table,
    "noise": noise,
    "reproduce": results.reproduce,
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
app.add_typer(weights_app, name="weights")
app.add_typer(train_app, name="train")
