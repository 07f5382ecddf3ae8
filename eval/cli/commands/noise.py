"""`lipscore noise INPUT...`: the band within which differences of scores mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipscore.eval.cli.options import Inputs, load_setup, quietable
from lipscore.eval.cli.output import say, show, tell
from lipscore.eval.options import ModelOptions, ProtocolOptions


@quietable
def noise(
    inputs: Inputs,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for noise.json.")],
    sample: Annotated[int, typer.Option(help="Number of videos in the sample, which the seed selects.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the random sample.", min=0)] = 0,
    protocol: ProtocolOptions,
    models: ModelOptions,
) -> None:
    """Measure how far scores move under changes that no viewer sees: codec, size, crop, first frame removed.

    The exit status is 1 if an unchanged video cannot be scored.

    Example: lipscore noise videos --sample 20 --out results
    """
    setup = load_setup(protocol, models)
    from lipscore.eval.run.inputs.paths import collect
    from lipscore.eval.tools import noise as task

    drawn = task.sample(collect(inputs, local=True), sample, seed)
    found = task.measure(drawn, setup, say, tell)
    path = task.write(found, out, setup, seed)
    show("\n".join(task.lines(found, [setup.models.sync.name])))
    show(f"signature: {setup.signature.with_n(found.n, len(drawn))}")
    show(str(path))
    raise typer.Exit(1 if found.not_scored else 0)
