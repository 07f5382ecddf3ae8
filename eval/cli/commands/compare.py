"""`lipscore compare GENERATED REFERENCE`: PSNR and SSIM of one pair of videos, without LSE."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipscore.errors import MediaError, UsageError
from lipscore.eval.cli.options import command
from lipscore.eval.cli.output import emit, say, show
from lipscore.eval.options import ReferenceOptions
from lipscore.media.files.aside import written_aside
from lipscore.metrics.catalogue import unit_of

if TYPE_CHECKING:
    from lipscore.eval.reference import FrameScore
    from lipscore.types import ReferenceScore


@command
def compare(
    generated: Annotated[Path, typer.Argument(help="The video to evaluate.")],
    reference: Annotated[Path, typer.Argument(help="The reference video.")],
    *,
    options: ReferenceOptions,
    fps: Annotated[
        str | None,
        typer.Option(help="Frame rate at which frames are paired, such as 25 or 30000/1001; default: the reference's."),
    ] = None,
    per_frame: Annotated[Path | None, typer.Option(help="CSV file for the values of each pair of frames.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as one line of JSON.")] = False,
) -> None:
    """Compute PSNR and SSIM of a video against its reference; exit 1 if they cannot be compared.

    Raises:
        UsageError: a choice is unknown.
        MissingError: the CSV cannot be written, or the device is missing.
    """
    from lipscore.eval.reference import score_reference
    from lipscore.runtime import pick_device

    picked = pick_device(device)
    rate = None if fps is None else _rate(fps)
    with _csv_rows(per_frame) as write:
        score = score_reference(generated, reference, rate, None, options, device=picked, per_frame=write)
    if score.status == "media_error":
        raise MediaError(score.reason)
    if as_json:
        emit(json.dumps({"generated": str(generated), **asdict(score)}))
    else:
        _print(score)
    if score.status != "ok":
        say(f"{generated}: not compared ({score.status}): {score.reason}")
        raise typer.Exit(1)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise UsageError(f"--fps {text}: give a number above 0, such as 25 or 30000/1001")
    return rate


@contextmanager
def _csv_rows(path: Path | None) -> Iterator[Callable[[FrameScore], None] | None]:
    """A function that writes one pair's row. The file gets its name once all rows are written; without rows, none."""
    if path is None:
        yield None
        return
    with written_aside(path) as aside, ExitStack() as opened:
        header: list[str] = []
        rows: list[Any] = []

        def write(frame: FrameScore) -> None:
            if not rows:
                rows.append(csv.writer(opened.enter_context(aside.open("w", newline="", encoding="utf-8"))))
                header.extend(frame.values)
                rows[0].writerow(["generated_frame", "reference_frame", "identical", *header])
            values = [f"{frame.values[name]:.6f}" if name in frame.values else "" for name in header]
            rows[0].writerow([frame.generated_frame, frame.reference_frame, int(frame.identical), *values])

        yield write


def _print(score: ReferenceScore) -> None:
    if score.status != "ok" or score.alignment is None:
        return
    for name, value in score.values.items():
        show(f"{name}: {value:.4f} {unit_of(name)}".rstrip())
    a = score.alignment
    show(
        f"region: {score.region}; aligned by {a.method}, shift {a.shift:+d}: {a.n_compared} pairs of {a.n_generated} "
        f"generated and {a.n_reference} reference frames"
    )
    if score.n_identical:
        show(f"identical frames: {score.n_identical} (each counts as 100 dB)")
    if a.resized:
        show(f"the generated frames were resized to the reference's size ({a.resized})")
    if a.warning:
        say(f"warning: {a.warning}")
