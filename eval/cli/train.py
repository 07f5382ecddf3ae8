"""`lipscore train mini`: make the built-in model's weights again, or one of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipscore.eval.cli.options import command


@command
def mini(
    clips: Annotated[Path, typer.Option(help="Folder of videos of people who talk.")],
    boxes: Annotated[Path, typer.Option(help="JSON file with their face boxes (docs/model-card.md).")],
    out: Annotated[Path, typer.Option(help="The weight file; its training record is written beside it.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Of each training; default: those of the shipped weights.")] = None,
    folds: Annotated[
        int | None, typer.Option(help="Trainings that hold out clips, for the figures; default 8.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Train the built-in model on videos and face boxes.

    Raises:
        UsageError: the clips or the boxes are not what a training needs.
    """
    from lipscore.eval.cli.progress import steps_progress
    from lipscore.runtime import pick_device, tune_process
    from lipscore.training.mini.train import FOLDS, STEPS, train_mini

    where = pick_device(device)
    tune_process()
    weights = train_mini(
        clips,
        boxes,
        out,
        device=where,
        seed=seed,
        steps=steps or STEPS,
        folds=FOLDS if folds is None else folds,
        resume=resume,
        progress=steps_progress(),
    )
    typer.echo(f"{weights}")
