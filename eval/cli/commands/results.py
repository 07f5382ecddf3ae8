"""Commands about results: average, merge, reproduce."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipscore.errors import UsageError
from lipscore.eval.cli.options import command, quietable
from lipscore.eval.cli.output import emit, say, show, tell
from lipscore.eval.options import ModelOptions, ProtocolOptions

if TYPE_CHECKING:
    from lipscore.eval.tools.reproduce import Comparison


@command
def average(
    file: Annotated[Path, typer.Argument(help="A scores file of lipscore or of the older scripts.")] = Path(
        "all_scores.txt"
    ),
    file_b: Annotated[Path | None, typer.Argument(help="A second file to compare with the first, by video.")] = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Add a 95 % interval over videos.")] = False,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Make one mean over all folders, protocols and models of a file.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a JSON object per folder, protocol and model; with two files, one per score."
        ),
    ] = False,
) -> None:
    """Average a scores file by folder, protocol and model, or compare two files; exit 1 if lines are malformed.

    Example: lipscore average ours.txt theirs.txt
    """
    from lipscore.eval.store import average as task

    if file_b is None:
        result = task.average(file, bootstrap, mixed, objects=as_json)
    else:
        result = task.compare(file, file_b, mixed)
    for warning in result.warnings:
        say(warning)
    if as_json:
        for one in result.objects:
            emit(json.dumps(one, allow_nan=False))
    else:
        show("\n".join(result.lines))
    raise typer.Exit(1 if result.incomplete else 0)


@command
def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders that `lipscore score --out` wrote.")
    ],
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
        say(text)
    show("\n".join(summary.lines(merged.counts)))
    say(f"merged into {out}")
    raise typer.Exit(1 if merged.warnings or merged.counts.not_scored else 0)


@quietable
def reproduce(
    name: Annotated[str | None, typer.Argument(help="The published result; default: all of them.")] = None,
    videos: Annotated[Path, typer.Option(help="Folder with the videos.")] = Path("eval/data"),
    table: Annotated[Path | None, typer.Option(help="The published CSV; default: VIDEOS/published_scores.csv.")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Largest difference in LSE that counts as equal; default: set by the published result."),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(help="With mochabench: folder with each video's speech, such as MoChaBench's speeches."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per video, and one with the summary.")
    ] = False,
    *,
    models: ModelOptions,
) -> None:
    """Score the videos of published results and compare; exit 1 outside the tolerance, 3 if something is missing.

    Example: lipscore reproduce mochabench --videos clips --table published_scores.csv
    """
    from lipscore.eval.cli import tables
    from lipscore.eval.cli.options import load_setup
    from lipscore.eval.tools import reproduce as task
    from lipscore.syncnet.models.published import read_table

    if models.model == "mini":
        raise UsageError("--model mini: published results are those of the official weights")
    if audio is not None and name is not None and not task.get_published(name).speech:
        raise UsageError.about("audio", audio, f"{name} was made with the videos' own sound; leave it out")
    everything: list[Comparison] = []
    for published in [task.get_published(name)] if name else list(task.PUBLISHED.values()):
        rows = published.rows or read_table(table or videos / "published_scores.csv")
        setup = load_setup(ProtocolOptions(published.protocol), replace(models, model="vgg"))
        limit = published.tolerance if tolerance is None else tolerance
        done: list[Comparison] = []
        sounds = audio if published.speech else None
        for comparison in task.reproduce(published, rows, videos, setup, limit, sounds):
            done.append(comparison)
            line = f"[{len(done)}/{len(rows)}] {comparison.row.clip}: {comparison.verdict}"
            (tell if comparison.verdict == "same" else say)(f"{line}: {comparison.why}" if comparison.why else line)
            if as_json:
                emit(json.dumps({"result": published.name, **task.as_json(comparison)}, allow_nan=False))
        everything += done
        if not as_json:
            show(f"{published.name}, protocol {published.protocol}, tolerance {limit:g}")
            show(tables.reproduced(done, sys.stdout))
            show(task.sentence(task.summarise(done)))
    found = task.summarise(everything)
    if as_json:
        emit(json.dumps({"summary": asdict(found)}, allow_nan=False))
    else:
        show(f"same {found.same}, differs {found.differs}, missing {found.missing}")
    raise typer.Exit(1 if found.differs else 3 if found.missing else 0)
