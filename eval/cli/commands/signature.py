"""`lipscore signature STRING [OTHER]`: explain a signature, or compare two."""

from __future__ import annotations

from typing import Annotated

import typer

from lipscore.eval.cli.options import command
from lipscore.eval.cli.output import show


@command
def signature(
    text: Annotated[str, typer.Argument(metavar="STRING", help="A signature, as a run prints it.")],
    other: Annotated[str | None, typer.Argument(metavar="OTHER", help="A second one, to compare with.")] = None,
) -> None:
    """Explain a result's signature; with a second one, say what differs, and exit 1 if the two are not comparable.

    Example: lipscore signature 'lipscore:0.2.0|protocol:wav2lip@...'
    """
    from lipscore.eval.report import signature as task
    from lipscore.eval.store.signature import difference, parse

    found = parse(text)
    if other is None:
        show("\n".join(task.explain(found)))
        return
    second = parse(other)
    show(task.compare(found, second))
    raise typer.Exit(1 if difference(found, second) else 0)
