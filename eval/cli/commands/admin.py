"""Commands about the installation: protocols, weights, doctor, demo."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lipscore.eval.cli.options import command, quietable
from lipscore.eval.cli.output import emit, show, tell

WeightsDir = Annotated[Path | None, typer.Option(help="Folder to search first.")]


@command
def protocols(
    name: Annotated[str | None, typer.Argument(help="A protocol's name, or a TOML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the protocols; with a name, print every setting with its meaning and source."""
    from lipscore.eval.cli import tables

    show(tables.protocol(name, as_json) if name else tables.protocols(as_json))


@command
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check this installation: versions, FFmpeg, device, weights, and a rendered clip whose offset is known.

    Each check is ok, WARN (it works, but differs from what was measured) or FAIL (exit status 1, or 3 if something is
    missing).
    """
    from lipscore.eval.tools.doctor import examine

    checks = examine(tell if as_json else show)
    status = max(check.exit_status for check in checks)
    if as_json:
        emit(json.dumps({"schema": 1, "exit_status": status, "checks": [asdict(check) for check in checks]}))
    raise typer.Exit(status)


@command
def weights_list(weights_dir: WeightsDir = None) -> None:
    """List the official files, the place where each was found, and its licence."""
    from lipscore.eval.cli import tables

    show(tables.weights(weights_dir)[0])


@command
def weights_verify(weights_dir: WeightsDir = None) -> None:
    """Check the files' hashes; exit 3 if a file is not the published one, or if one that scoring needs is missing."""
    from lipscore.eval.cli import tables

    text, complete = tables.weights(weights_dir)
    show(text)
    raise typer.Exit(0 if complete else 3)


@quietable
def weights_fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of the files; default: the two that scoring needs.")
    ] = None,
) -> None:
    """Download official weight files into the cache and verify them."""
    from lipscore.eval.cli.progress import Terminal
    from lipscore.weights import catalogue, fetch

    search = fetch.Search.from_environment()
    for name in names or list(catalogue.PUBLISHED):
        file = fetch.fetch(name, search, Terminal().fetching)
        show(f"{file.name}: {file.path} (SHA-256 verified)")


@command
def demo(folder: Annotated[Path, typer.Argument(help="Folder for the clips; created if absent.")]) -> None:
    """Render three drawn talking-head clips with known offsets; existing clips are kept.

    Raises:
        MissingError: the folder cannot be created or written.
        MediaError: FFmpeg cannot write a clip.
    """
    from lipscore.demo.clips import demo_clips, render_demo

    kept = {clip.path for clip in demo_clips(folder) if clip.path.exists()}
    for clip in render_demo(folder):
        show(
            f"{'kept' if clip.path in kept else 'rendered'} {clip.path}: offset {clip.expected_offset:+d}; {clip.truth}"
        )
        if clip.reference is not None:
            show(f"  its reference: {clip.reference}")
