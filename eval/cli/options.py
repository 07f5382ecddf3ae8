"""The decorator of all commands: option classes become flags, and known errors become messages and exit statuses.

A command's function takes option objects. `command` spreads their fields into the signature that typer reads, and
rebuilds the objects from the parsed values. The fields' metadata holds the help texts.
"""

from __future__ import annotations

import errno
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_args, get_type_hints

import typer

from lipscore.errors import LipscoreError, MissingError
from lipscore.eval.cli.output import quieted, say
from lipscore.eval.options import (
    DetectOptions,
    DetectProtocol,
    InputOptions,
    ModelOptions,
    OutputOptions,
    ProtocolOptions,
    ReferenceOptions,
    RunOptions,
    VerdictOptions,
)

if TYPE_CHECKING:
    from lipscore.eval.setup import Setup

F = TypeVar("F", bound=Callable[..., object])
INTERRUPTED, BROKEN_PIPE = 130, 141
PANELS: dict[type, str] = {
    ModelOptions: "Model",
    ProtocolOptions: "Protocol",
    DetectProtocol: "Protocol",
    DetectOptions: "Search",
    ReferenceOptions: "Reference",
    RunOptions: "Speed",
    OutputOptions: "Output",
    VerdictOptions: "Verdict",
}

PANEL_ORDER = ("Input", "Search", "Model", "Protocol", "Reference", "Output", "Verdict", "Speed")

QUIET: dict[str, Any] = {
    "default": False,
    "annotation": Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print only errors, warnings and what --json prints.", rich_help_panel="Output"
        ),
    ],
}
Video = Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")]
Inputs = Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Video files, or folders of videos.")]
SomeInputs = Annotated[
    list[Path] | None, typer.Argument(metavar="[INPUT...]", help="Video files or URLs, or folders of videos.")
]


def command(function: F) -> F:
    """Make a command: spread its option classes into flags, and end the program on known errors without a traceback."""
    return _made(function)


def quietable(function: F) -> F:
    """`command` with the flag --quiet, for a command that shows its progress (see `lipscore.eval.cli.output`)."""
    return _made(function, quiet=inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, **QUIET))


def _made(function: F, quiet: inspect.Parameter | None = None) -> F:
    hints = get_type_hints(function, include_extras=True)
    spread = {name: kind for name, kind in hints.items() if kind in PANELS}

    @functools.wraps(function)
    def guarded(**given: Any) -> object:
        try:
            for name, kind in spread.items():
                given[name] = kind(**{item.name: given.pop(item.name) for item in fields(kind)})
            with quieted(quiet is not None and given.pop(quiet.name)):
                return function(**given)
        except LipscoreError as error:
            end(f"lipscore: {error.flagged}", error.exit_status)
        except KeyboardInterrupt:
            end("lipscore: interrupted", INTERRUPTED)
        except BrokenPipeError:  # the reader of the output (such as head) has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            end(f"lipscore: {error.filename}: the name is too long for a file", MissingError.exit_status)

    parameters: list[inspect.Parameter] = [] if quiet is None else [quiet]
    for name, parameter in inspect.signature(function).parameters.items():
        if name in spread:
            parameters += [_parameter(spread[name], item) for item in fields(spread[name])]
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
    parameters.sort(key=_place)
    guarded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    guarded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # --help omits the docstring's Raises section, which is for callers in Python
    guarded.__doc__ = inspect.cleandoc(function.__doc__ or "").split("\n\nRaises:")[0]
    return guarded  # type: ignore[return-value]


def end(text: str, status: int) -> NoReturn:
    """End the program with a message and an exit status."""
    say(text)
    raise typer.Exit(status) from None


def load_setup(protocol: ProtocolOptions, models: ModelOptions) -> Setup:
    """Load a command's setup, and print its note about the choice of model."""
    from lipscore.eval.cli.progress import Terminal
    from lipscore.eval.setup import Setup

    reporter = Terminal()
    setup = Setup.load(protocol, models, progress=reporter.fetching)
    if setup.models.note:
        reporter.say(setup.models.note)
    return setup


def inputs_of(inputs: list[Path], reference: Path | None = None, *, find_references: bool = True) -> InputOptions:
    """The input options of a run."""
    return InputOptions(tuple(inputs), reference, find_references)


@contextmanager
def stages(video: Path) -> Iterator[Callable[[str], None]]:
    """Show one video's stages as progress, on a terminal."""
    from lipscore.eval.cli.progress import Terminal
    from lipscore.eval.run.jobs import Job

    with Terminal().videos(1) as shown:
        shown.started(Job(video, video.stem))
        yield partial(shown.stage, video.stem)


def need_score(name: str, status: str, reason: str) -> None:
    """End with status 1 if there is no score."""
    if status != "ok":
        end(f"lipscore: {name}: {status}: {reason}", 1)


def _place(parameter: inspect.Parameter) -> int:
    """A parameter's place in --help: arguments and the command's own options first, then panel by panel."""
    for extra in get_args(parameter.annotation)[1:]:
        panel = getattr(extra, "rich_help_panel", None)
        if panel in PANEL_ORDER:
            return PANEL_ORDER.index(panel) + 1
    return 0


def _parameter(kind: type, item: Field[Any]) -> inspect.Parameter:
    """A field as a keyword parameter that typer understands."""
    annotation = get_type_hints(kind)[item.name]
    flags = item.metadata["flags"]
    name = item.name.replace("_", "-")
    if annotation is bool and not flags:
        flags = (f"--{name}/--no-{name}",) if item.default is True else (f"--{name}",)
    extra = {"metavar": item.metadata["metavar"]} if item.metadata["metavar"] else {}
    option = typer.Option(
        *flags, help=item.metadata["help"], rich_help_panel=item.metadata["panel"] or PANELS[kind], **extra
    )
    default = inspect.Parameter.empty if item.default is MISSING else item.default
    return inspect.Parameter(
        item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, option]
    )
