"""`lipscore score` and `lipscore filter`: many videos, their records, and the table at the end."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipscore.errors import UsageError
from lipscore.eval.cli.options import Inputs, SomeInputs, inputs_of, quietable
from lipscore.eval.cli.output import emit, plain, say, show, tell
from lipscore.eval.options import (
    ModelOptions,
    OutputOptions,
    ProtocolOptions,
    ReferenceOptions,
    Request,
    RunOptions,
    VerdictOptions,
)

if TYPE_CHECKING:
    from lipscore.eval.run.batch import Ran
    from lipscore.eval.store.records import Record


@quietable
def score(
    inputs: SomeInputs = None,
    *,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="CSV file that lists the videos instead of INPUT (columns video, audio, reference, name, group).",
            rich_help_panel="Input",
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            help="Score against this sound instead of the video's own: a file (for one video), or a folder.",
            rich_help_panel="Input",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Folder of references, matched by path or stem, or one file; default: INPUT/reference, if it exists.",
            rich_help_panel="Reference",
        ),
    ] = None,
    no_reference: Annotated[
        bool, typer.Option("--no-reference", help="Do not compare with references.", rich_help_panel="Reference")
    ] = False,
    run: RunOptions,
    protocol: ProtocolOptions,
    models: ModelOptions,
    compared: ReferenceOptions,
    output: OutputOptions,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the records on standard output, one JSON object per line.", rich_help_panel="Output"
        ),
    ] = False,
    verdict: VerdictOptions,
) -> None:
    """Score videos: LSE-D, LSE-C and offset; PSNR and SSIM if there is a reference.

    Example: lipscore score videos --protocol wav2lip --out results
    """
    from lipscore.eval.cli.progress import Terminal
    from lipscore.eval.report.verdict import Judge
    from lipscore.eval.run.batch import run_batch

    judge = Judge.prepare(verdict)
    if not inputs and manifest is None:
        raise UsageError("nothing to score: name videos or folders, or give --manifest FILE")
    if no_reference and reference is not None:
        raise UsageError("--reference and --no-reference contradict each other: give one of them")
    asked = inputs_of(inputs or [], reference, find_references=not no_reference)
    asked = replace(asked, manifest=manifest, audio=audio)
    request = Request(asked, protocol, models, compared, run, output)
    ran = run_batch(request, Terminal(_print_json if as_json else None), sys.argv)
    report(ran, output.out, as_json)
    judged = judge.of([record.score for record in ran.outcome.records])
    for line in judged.summary:
        (tell if as_json else show)(line)
    for line in (*judged.warnings, *judged.failed):
        say(line)
    raise typer.Exit(ran.exit_status or int(bool(judged.failed)))


def _print_json(record: Record) -> None:
    from lipscore.eval.store.records import as_json

    emit(json.dumps(as_json(record), allow_nan=False))


def report(ran: Ran, out: Path | None, as_json: bool = False) -> None:
    """Print the table and the means on standard output, or on standard error if standard output carries JSON."""
    from lipscore.eval.cli import tables
    from lipscore.eval.report import drift
    from lipscore.eval.run import floor
    from lipscore.eval.store import summary
    from lipscore.syncnet.protocols import mean_to_report

    stream, out_to = (sys.stderr, tell) if as_json else (sys.stdout, show)
    records, blank = ran.outcome.records, ran.made.blank
    if records:
        out_to(tables.results(records, stream, colour=not plain(stream)), painted=True)
    model = blank.model
    lines = [
        *summary.lines(ran.counts, mean_to_report(ran.made.record["protocol"])),
        f"protocol={blank.protocol} model={model} comparable={str(blank.comparable).lower()}",
    ]
    if model == "mini":
        lines.append("LSE-D and LSE-C are the built-in model's estimates of SyncNet's (docs/measures/model-card.md)")
    if blank.changed:
        lines.append(f"changed: {'; '.join(blank.changed)}")
    lines.append(f"signature: {ran.made.signature.with_n(ran.counts.scored, ran.counts.total)}")
    if ran.floors:
        lines.append(floor.line(ran.floors, [model]))
    drifts = drift.drifts([record.score for record in records])
    lines += [drift.sentence(one) for one in drifts]
    out_to("\n".join(lines))
    for chart in [] if out is None else drift.write_charts(drifts, out):
        tell(f"wrote {chart}")
    if ran.outcome.interrupted is not None:
        kept = "with --out DIR, the same command continues" if out is None else "the same command continues from there"
        where = "were scored" if out is None else f"are in {out}"
        say(f"interrupted; {len(records)} of {ran.counts.total} videos {where}: {kept}")


@quietable
def filter_(
    inputs: Inputs,
    *,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Output folder, outside the inputs; created if absent.")
    ],
    preset: Annotated[str, typer.Option(help="strict, high, medium or relaxed.")] = "medium",
    min_confidence: Annotated[float | None, typer.Option(help="Minimum LSE-C of a good video.")] = None,
    max_abs_offset: Annotated[
        int | None, typer.Option(help="Maximum absolute offset of a good video, in frames.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the videos instead of making symbolic links.")] = False,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Write only the results file, without links or copies.")
    ] = False,
    run: RunOptions,
    protocol: ProtocolOptions,
    models: ModelOptions,
) -> None:
    """Sort videos into good_quality and poor_quality by confidence and offset; exit 1 if one could not be scored.

    Example: lipscore filter videos --output-dir sorted --preset high
    """
    from lipscore.eval.cli.progress import Terminal
    from lipscore.eval.tools import filter as task

    if copy and keep_all:
        raise UsageError("--copy and --keep-all contradict each other: give one of them")
    if run.chunk is not None:
        raise UsageError("--chunk: filter sorts whole videos; leave it out")
    limit = task.limits(preset, min_confidence, max_abs_offset)
    output = OutputOptions(output_dir)
    request = Request(inputs_of(inputs, find_references=False), protocol, models, run=run, output=output)
    place = "none" if keep_all else "copy" if copy else "link"
    settings = {"preset": preset, "place": place}
    ran, counts = task.filter_videos(request, limit, settings, Terminal(), sys.argv, place=place)
    show(
        f"total {ran.counts.total}: good {counts['good']}, poor {counts['poor']}, no face {counts['no_face']}, "
        f"failed {counts['failed']}; LSE-C >= {limit.min_confidence:g}, |offset| <= {limit.max_abs_offset}"
    )
    show(str(output_dir / task.RESULTS))
    raise typer.Exit(ran.exit_status)
