"""The command line: what each command takes, and how the program ends.

Standard output carries results, standard error everything else. Exit status: 0 all scored, 1 some input not scored, 2
wrong usage, 3 something needed is missing, 130 interrupted. torch and what needs it are imported inside the commands,
so that --help does not wait for them.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from lipscore import __version__
from lipscore.errors import LipscoreError
from lipscore.eval.cli import train
from lipscore.eval.cli.compare import compare
from lipscore.eval.cli.demo import demo
from lipscore.eval.cli.generate import generate
from lipscore.eval.cli.merge import merge
from lipscore.eval.cli.reproduce import reproduce
from lipscore.eval.cli.tools import register as register_tools

F = TypeVar("F", bound=Callable[..., object])
INTERRUPTED, BROKEN_PIPE = 130, 141

app = typer.Typer(
    help="LSE-D, LSE-C, audio-video offset, PSNR and SSIM of talking-head videos.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="The official weight files: list, fetch, verify.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
train_app = typer.Typer(help="Train the built-in model.", no_args_is_help=True)
app.add_typer(train_app, name="train")


@train_app.callback()
def _train() -> None:
    pass


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


def command(function: F) -> F:
    """A command whose known errors end the program with their message and exit status, without a traceback."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> object:
        try:
            return function(*args, **kwargs)
        except LipscoreError as error:
            _end(f"lipscore: {error}", error.exit_status)
        except KeyboardInterrupt:
            _end("lipscore: interrupted", INTERRUPTED)
        except BrokenPipeError:  # whoever read the output (head) has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None

    # --help shows the docstring: what a caller in Python needs to know is not for the user
    guarded.__doc__ = (function.__doc__ or "").split("\n\n    Raises:")[0]
    return guarded  # type: ignore[return-value]


def _end(text: str, status: int) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(status) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lipscore {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
@command
def score(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Video files, or folders of them.")],
    reference: Annotated[
        Path | None,
        typer.Option(help="Folder of references with the inputs' stems; default INPUT/reference, where it is there."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="A protocol's name (see `lipscore protocols`), or a TOML file.")
    ] = "wav2lip",
    model: Annotated[
        str, typer.Option(help="vgg (official weights), mini (built in), or auto: vgg where it can be had.")
    ] = "auto",
    weights_dir: Annotated[Path | None, typer.Option(help="Folder with syncnet_v2.model and sfd_face.pth.")] = None,
    allow_unverified: Annotated[bool, typer.Option(help="Take weight files that are not the published ones.")] = False,
    detections: Annotated[
        Path | None, typer.Option(help="Folder with STEM.json: face boxes in place of a detector's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    out: Annotated[Path, typer.Option(help="Folder for scores.jsonl, scores.csv and run.json.")] = Path("eval/results"),
    scores_file: Annotated[Path, typer.Option(help="A line per face track is appended to it.")] = Path(
        "all_scores.txt"
    ),
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Score again what OUT already holds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The records on standard output, one a line.")] = False,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Only the I-th of N equal parts.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Videos at a time; default: one per core, at most 4.")
    ] = None,
    fast: Annotated[
        bool, typer.Option(help="S3FD looks at every fifth frame, both networks at half precision; not comparable.")
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="SyncNet v2 and S3FD in fp32 (exact), bf16, or on a GPU tf32 or fp16.")
    ] = None,
    min_track: Annotated[int | None, typer.Option(help="A track has more detections than this.")] = None,
    min_face_size: Annotated[int | None, typer.Option(help="A track's face is larger than this, in pixels.")] = None,
    facedet_scale: Annotated[float | None, typer.Option(help="Factor on the frame before S3FD.")] = None,
    crop_scale: Annotated[float | None, typer.Option(help="Margin around the face box.")] = None,
    vshift: Annotated[int | None, typer.Option(help="Shifts tried to either side, in frames.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows per pass through SyncNet.")] = None,
    align: Annotated[str, typer.Option(help="Frames meet by timestamp, index or shift.")] = "timestamp",
    max_shift: Annotated[int, typer.Option(help="With --align shift: frames to either side.")] = 15,
    region: Annotated[str, typer.Option(help="PSNR and SSIM over the frame, face or mouth.")] = "frame",
    resize: Annotated[
        str, typer.Option(help="Frames of another size become the reference's by area or bicubic.")
    ] = "area",
    all_variants: Annotated[bool, typer.Option(help="Every variant of PSNR and SSIM, not the default ones.")] = False,
    chunk: Annotated[float | None, typer.Option(help="Score long videos in pieces of so many seconds.")] = None,
    overlap: Annotated[float, typer.Option(help="With --chunk: seconds that a piece shares with the next.")] = 0.0,
) -> None:
    """Score videos: LSE-D, LSE-C and offset; PSNR and SSIM where there is a reference."""
    from lipscore.eval.run.batch import ScoreOptions
    from lipscore.eval.run.batch import score as run_score

    changes = {
        "min_track": min_track,
        "min_face_size": min_face_size,
        "facedet_scale": facedet_scale,
        "crop_scale": crop_scale,
        "vshift": vshift,
        "batch_size": batch_size,
    }
    options = ScoreOptions(
        inputs=tuple(inputs),
        reference=reference,
        protocol=protocol,
        changes={name: value for name, value in changes.items() if value is not None},
        model=model,
        weights_dir=weights_dir,
        allow_unverified=allow_unverified,
        detections=detections,
        device=device,
        fast=fast,
        precision=precision,
        out=out,
        scores_file=scores_file,
        resume=not no_resume,
        shard=shard,
        workers=workers,
        as_json=as_json,
        align=align,
        max_shift=max_shift,
        region=region,
        resize=resize,
        all_variants=all_variants,
        chunk=chunk,
        overlap=overlap,
    )
    raise typer.Exit(run_score(options))


@app.command()
@command
def average(
    file: Annotated[Path, typer.Argument(help="A scores file, of lipscore or of the older scripts.")] = Path(
        "all_scores.txt"
    ),
    file_b: Annotated[Path | None, typer.Argument(help="A second one, compared with the first by video.")] = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Add a 95 % interval over videos.")] = False,
) -> None:
    """Average a scores file, or compare two of them video by video; exit 1 where lines are malformed."""
    from lipscore.eval.store import average as task

    result = task.average(file, bootstrap) if file_b is None else task.compare(file, file_b)
    for warning in result.warnings:
        typer.echo(warning, err=True)
    typer.echo("\n".join(result.lines))
    raise typer.Exit(1 if result.incomplete else 0)


@app.command()
@command
def protocols(
    name: Annotated[str | None, typer.Argument(help="A protocol's name, or a TOML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the protocols; with a name, every setting of it with its meaning and source."""
    from lipscore.eval.cli import tables

    typer.echo(tables.protocol(name, as_json) if name else tables.protocols(as_json))


@app.command()
@command
def doctor() -> None:
    """Check this installation: versions, FFmpeg, device, weights, and a rendered clip whose offset is known."""
    from lipscore.eval.tools.doctor import examine

    raise typer.Exit(examine(typer.echo))


@weights_app.command("list")
@command
def weights_list(weights_dir: Annotated[Path | None, typer.Option(help="A folder to look in first.")] = None) -> None:
    """Which files there are, where each was found, and their licence."""
    from lipscore.eval.cli import tables

    typer.echo(tables.weights(weights_dir)[0])


@weights_app.command("verify")
@command
def weights_verify(weights_dir: Annotated[Path | None, typer.Option(help="A folder to look in first.")] = None) -> None:
    """Hash the files that are there; exit 3 where one is missing or not the published one."""
    from lipscore.eval.cli import tables

    text, complete = tables.weights(weights_dir)
    typer.echo(text)
    raise typer.Exit(0 if complete else 3)


@weights_app.command("fetch")
@command
def weights_fetch(names: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None) -> None:
    """Download the files into the cache and verify them."""
    from lipscore.eval.cli.progress import download_progress
    from lipscore.weights import catalogue, fetch

    search = fetch.Search.from_environment()
    for name in names or list(catalogue.PUBLISHED):
        file = fetch.fetch(name, search, download_progress())
        typer.echo(f"{file.name}: {file.path} (SHA-256 verified)")


register_tools(app, command)
app.command()(command(merge))
app.command()(command(compare))
app.command()(command(reproduce))
app.command()(command(demo))
app.command()(command(generate))
train_app.command("mini")(command(train.mini))
