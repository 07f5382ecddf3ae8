"""`lipscore train mini`, `train fcn` and `evaluate`: train the models again, or your own, and measure them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipscore.errors import UsageError
from lipscore.eval.cli.options import quietable
from lipscore.eval.cli.output import show
from lipscore.eval.options import ModelOptions

if TYPE_CHECKING:
    from lipscore.syncnet.models.sync_pass import Embedder


@quietable
def mini(
    clips: Annotated[Path, typer.Option(help="Folder with videos of talking people.")],
    boxes: Annotated[Path, typer.Option(help="JSON file with their face boxes (docs/measures/model-card.md).")],
    out: Annotated[Path, typer.Option(help="Weight file to write; the training record goes to the same folder.")],
    more: Annotated[
        Path | None,
        typer.Option(
            help="Folder with further videos, from other generators or of real people, with one speaker each."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps per training; default: as for the shipped weights.")] = None,
    folds: Annotated[int | None, typer.Option(help="Number of held-out folds for the figures; default: 8.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoints.")] = False,
) -> None:
    """Train the built-in model on videos and face boxes.

    Raises:
        UsageError: the clips, the boxes or the other videos cannot be used.
    """
    from lipscore.eval.cli.progress import steps_progress
    from lipscore.runtime import pick_device, tune_process
    from lipscore.training.mini.train import FOLDS, STEPS, train_mini

    picked = pick_device(device)
    tune_process()
    weights = train_mini(
        clips,
        boxes,
        out,
        device=picked,
        seed=seed,
        steps=steps or STEPS,
        folds=FOLDS if folds is None else folds,
        more=more,
        resume=resume,
        progress=steps_progress(),
    )
    show(f"{weights}")


@quietable
def fcn(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Folder with videos of talking people, in sync.")],
    boxes: Annotated[Path, typer.Option(help="JSON file with their face boxes (docs/measures/model-card.md).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Weight file to write; the training record goes to the same folder.")
    ],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training; an epoch has 8 files per clip.")] = 10,
    lr: Annotated[float, typer.Option(help="Learning rate at the peak of the one-cycle schedule.")] = 3e-3,
    batch_size: Annotated[int, typer.Option(min=1, help="Files per training step.")] = 8,
    max_offset: Annotated[int, typer.Option(min=16, help="Search range in each direction, in frames.")] = 125,
    use_attention: Annotated[bool, typer.Option("--use-attention", help="Add self-attention over time.")] = False,
    val_share: Annotated[float, typer.Option(help="Share of the recordings on which the best epoch is chosen.")] = 0.25,
    folds: Annotated[int, typer.Option(min=2, help="Number of held-out folds for the figures.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
    *,
    models: ModelOptions,
) -> None:
    """Train the long-range head on the embeddings of frozen towers (--model), for `detect --method head`.

    Example: lipscore train fcn --data-dir clips --boxes boxes.json --out fcn.safetensors

    Raises:
        UsageError: the clips or the boxes are not what a training needs.
    """
    from lipscore.eval.cli.progress import steps_progress
    from lipscore.training.fcn.train import Recipe, train_fcn

    if not 0 < val_share < 1:
        raise UsageError.about("val_share", val_share, "is a share; give a number between 0 and 1")
    if not lr > 0:
        raise UsageError.about("lr", lr, "must be more than 0")
    embedder, towers = _towers(models)
    recipe = Recipe(epochs, lr, batch_size, max_offset, use_attention, val_share, folds, seed)
    written = train_fcn(
        data_dir, boxes, out, embedder, towers["sha256"], recipe, resume=resume, progress=steps_progress()
    )
    show(f"{written}")


@quietable
def evaluate(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Folder with videos of talking people, in sync.")],
    boxes: Annotated[Path, typer.Option(help="JSON file with their face boxes (docs/measures/model-card.md).")],
    samples: Annotated[int, typer.Option(min=2, help="Number of files of each length.")] = 500,
    max_offset: Annotated[int, typer.Option(min=16, help="Search range in each direction, in frames.")] = 125,
    lengths: Annotated[str, typer.Option(help="Lengths of the files, in seconds, separated by commas.")] = "5,10,15",
    head: Annotated[
        Path | None, typer.Option(help="Weight file that `lipscore train fcn` wrote, to evaluate as a further method.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="JSON file for the whole report.")] = None,
    readme: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    *,
    models: ModelOptions,
) -> None:
    """Measure the long-range search on files with known offsets, which are made from a folder's clips.

    Example: lipscore evaluate --data-dir clips --boxes boxes.json --report report.json --readme report.md

    Raises:
        UsageError: the clips or the boxes are not what an evaluation needs.
    """
    from lipscore.eval.cli.progress import steps_progress
    from lipscore.media.files.aside import replace_whole
    from lipscore.training.fcn.report import Wanted, evaluate_clips
    from lipscore.training.fcn.report import readme as as_markdown

    try:
        seconds = tuple(float(length) for length in lengths.split(","))
    except ValueError:
        raise UsageError.about("lengths", lengths, "give seconds, such as 5,10,15") from None
    if not all(0 < length < 3600 for length in seconds):
        raise UsageError.about("lengths", lengths, "each must be more than 0 and less than an hour")
    embedder, towers = _towers(models)
    found = evaluate_clips(
        data_dir, boxes, embedder, towers, Wanted(samples, max_offset, seconds, seed), head, steps_progress()
    )
    if report is not None:
        replace_whole(report, (json.dumps(found, indent=2) + "\n").encode())
    if readme is not None:
        replace_whole(readme, as_markdown(found).encode())
    show(as_markdown(found).removesuffix("\n"))


def _towers(models: ModelOptions) -> tuple[Embedder, dict[str, str]]:
    """The towers of the requested model, and their name and SHA-256."""
    from lipscore.eval.setup import load
    from lipscore.eval.tools.longrange.detect import towers_of
    from lipscore.syncnet.protocols import PROTOCOLS

    loaded = load(replace(models, detections=None), PROTOCOLS["wav2lip-lrs"])  # a protocol that needs no face detector
    return towers_of(loaded)
