"""`lipscore train mini`: train the built-in model again, or your own version of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipscore.eval.cli.options import command


@command
def mini(
    clips: Annotated[Path, typer.Option(help="Folder with videos of talking people.")],
    boxes: Annotated[Path, typer.Option(help="JSON file with their face boxes (docs/model-card.md).")],
    out: Annotated[Path, typer.Option(help="Weight file; the training record goes to the same folder.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Steps per training; default: those of the shipped weights.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Number of held-out folds for the figures; default: 8.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoints.")] = False,
) -> None:
    """Train the built-in model on videos and face boxes.

    Raises:
        UsageError: the clips or the boxes cannot be used.
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
        resume=resume,
        progress=steps_progress(),
    )
    typer.echo(f"{weights}")
