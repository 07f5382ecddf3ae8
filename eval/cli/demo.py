"""`lipscore demo FOLDER`: render the demonstration clips and say what is true of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(folder: Annotated[Path, typer.Argument(help="Where the clips go; made if absent.")]) -> None:
    """Render three drawn talking-head clips with known offsets; clips that are there already are kept.

    Raises:
        MissingError: the folder cannot be made or written.
        MediaError: FFmpeg cannot write a clip.
    """
    from lipscore.demo.clips import demo_clips, render_demo

    kept = {clip.path for clip in demo_clips(folder) if clip.path.exists()}
    for clip in render_demo(folder):
        typer.echo(
            f"{'kept' if clip.path in kept else 'rendered'} {clip.path}: offset {clip.expected_offset:+d}; {clip.truth}"
        )
        if clip.reference is not None:
            typer.echo(f"  its reference: {clip.reference}")
