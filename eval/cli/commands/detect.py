"""`lipscore detect`: one line of JSON or a few lines of text per video, and a table next to the JSON file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipscore.errors import UsageError
from lipscore.eval.cli.options import Inputs, load_setup, quietable, stages
from lipscore.eval.cli.output import emit, is_quiet, say, show, tell
from lipscore.eval.options import DetectOptions, DetectProtocol, ModelOptions

if TYPE_CHECKING:
    from lipscore.eval.tools.longrange.detection import Detection

COLUMNS = ("video", "status", "offset_frames", "offset_seconds", "confidence", "reason")


@quietable
def detect(
    inputs: Inputs,
    *,
    as_json: Annotated[bool, typer.Option("--json", "-j", help="Print JSON, one object per line.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the JSON lines; a table is written next to it as .csv."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print each face track and the times.")] = False,
    search: DetectOptions,
    protocol: DetectProtocol,
    models: ModelOptions,
) -> None:
    """Find offsets of up to several seconds, and drift; exit 1 if a video has no certain offset.

    Example: lipscore detect talk.mp4 --json
    """
    from lipscore.eval.run.inputs.paths import collect

    found = collect(inputs, local=True)
    if output is not None:
        _check_output(output, inputs)
    setup = load_setup(protocol, models)
    from lipscore.eval.tools.longrange.detect import blank
    from lipscore.eval.tools.longrange.detect import detect as search_in

    done: list[Detection] = []
    for video in found:
        if video.problem:
            reason = f"{video.url or video.path}: {video.problem}"
            result = blank(video.path, setup, search, "media_error", reason)
        else:
            with stages(video.path) as on_stage:
                result = search_in(video.path, setup, search, on_stage=on_stage)
        done.append(result)
        if as_json:
            emit(json.dumps(result.as_json(), allow_nan=False))
        else:
            (say if is_quiet() and result.status != "found" else show)("\n".join(lines_of(result, verbose)))
        if output is not None:
            _write(output, done)
    if len(done) > 1:
        tell(_summary(done))
    raise typer.Exit(0 if all(result.status == "found" for result in done) else 1)


def lines_of(result: Detection, verbose: bool) -> list[str]:
    """A video's answer as text."""
    from lipscore.eval.tools.longrange.detection import agreement, drift_sentence, mend_hint, sentence

    name = Path(result.video).name
    answer, offset = result.answer, result.offset
    if offset is None or answer is None or answer.peak is None:
        lines = [f"{name}: {result.status}: {result.reason}"]
    else:
        lines = [
            f"{name}: {sentence(offset)} (offset {offset:+d} frames, {answer.peak.subframe:+.2f} between frames; "
            f"confidence {answer.confidence:.2f})"
        ]
        if hint := mend_hint(result):
            lines.append(f"  to fix it: {hint}")
    if result.drift is not None:
        lines.append(f"  {drift_sentence(result.drift)}")
    if result.narrow is not None:
        narrow = result.narrow
        lines.append(
            f"  SyncNet's search ({narrow.model}, +-{narrow.vshift}): offset {narrow.offset:+d}, "
            f"LSE-C {narrow.lse_c:.3f}, {narrow.seconds:.2f} s: {agreement(result)}"
        )
    for window in result.trace or ():
        lines.append(f"  {window.seconds:8.1f} s  {_best(window.found)}")
    if verbose:
        for track in result.tracks:
            lines.append(
                f"  track {track.track_id}: frames {track.first_frame}-{track.last_frame}, {_best(track.found)}"
            )
        lines += [f"  note: {note}" for note in result.notes]
        times = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in result.seconds.items())
        lines.append(f"  {result.windows} windows; {times}")
    return lines


def _best(found: Any) -> str:
    if found.peak is None:
        return "unknown"
    sure = f"confidence {found.confidence:.2f}"
    return (
        f"offset {found.peak.offset:+d}, {sure}"
        if not found.trouble
        else f"unknown (best {found.peak.offset:+d}, {sure})"
    )


def _check_output(output: Path, inputs: Sequence[Path]) -> None:
    """Check that the results are not written among the videos.

    Raises:
        UsageError: the file lies in a folder that is searched, or its table would take its place.
    """
    place = os.path.realpath(output)
    for given in inputs:
        if given.is_dir() and place.startswith(os.path.realpath(given) + os.sep):
            raise UsageError.about("output", output, f"lies in the input folder {given}; name a file outside it")
    if output.suffix.lower() == ".csv":
        raise UsageError.about(
            "output", output, "gets JSON lines, and a .csv table is written next to it; name it .jsonl"
        )


def _write(output: Path, done: Sequence[Detection]) -> None:
    """Write the JSON lines and the table of the videos so far; each file is replaced as a whole.

    Raises:
        MissingError: they cannot be written.
    """
    from lipscore.eval.store.cells import cell
    from lipscore.media.files.aside import replace_whole

    records = [result.as_json() for result in done]
    replace_whole(output, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode())
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows({name: cell(value) for name, value in record.items()} for record in records)
    replace_whole(output.with_suffix(".csv"), text.getvalue().encode())


def _summary(done: Sequence[Detection]) -> str:
    """How many videos have an offset, and the mean, deviation and range of the offsets."""
    offsets = [result.offset for result in done if result.offset is not None]
    text = f"{len(offsets)} of {len(done)} videos have an offset"
    if not offsets:
        return text
    mean = sum(offsets) / len(offsets)
    deviation = (sum((offset - mean) ** 2 for offset in offsets) / len(offsets)) ** 0.5
    return f"{text}: mean {mean:+.2f}, deviation {deviation:.2f}, {min(offsets):+d} to {max(offsets):+d} frames"
