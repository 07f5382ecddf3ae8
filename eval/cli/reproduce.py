"""`lipscore reproduce`: run published results again and say how far off they come out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from lipscore.eval.tools.reproduce import Comparison, Published


def reproduce(
    name: Annotated[str | None, typer.Argument(help="Which published result; all of them by default.")] = None,
    videos: Annotated[Path, typer.Option(help="The folder with the videos.")] = Path("eval/data"),
    table: Annotated[Path | None, typer.Option(help="Their CSV; default VIDEOS/published_scores.csv.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Largest difference in LSE that is still the same.")] = None,
    weights_dir: Annotated[Path | None, typer.Option(help="Folder with the weight files.")] = None,
    allow_unverified: Annotated[bool, typer.Option(help="Take weight files that are not the published ones.")] = False,
    detections: Annotated[Path | None, typer.Option(help="Folder with STEM.json: boxes in place of S3FD's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Score the videos of published results and compare: exit 1 outside the tolerance, 3 where something is missing."""
    from rich.console import Console

    from lipscore.eval.models import load_models
    from lipscore.eval.tools import reproduce as task
    from lipscore.syncnet.protocols import PROTOCOLS
    from lipscore.syncnet.published import read_table

    out, say = Console(), Console(stderr=True)
    counts = {"same": 0, "differs": 0, "missing": 0}
    for published in [task.get_published(name)] if name else list(task.PUBLISHED.values()):
        rows = published.rows or read_table(table or videos / "published_scores.csv")
        models = load_models(
            "vgg",
            PROTOCOLS[published.protocol],
            weights_dir=weights_dir,
            allow_unverified=allow_unverified,
            detections=detections,
            device=device,
        )
        if models.note:
            say.print(models.note)
        limit = published.tolerance if tolerance is None else tolerance
        done = []
        for comparison in task.reproduce(published, rows, videos, models, limit):
            counts[comparison.verdict] += 1
            done.append(comparison)
            say.print(f"{comparison.row.clip}: {comparison.verdict} {comparison.why}", highlight=False, soft_wrap=True)
        out.print(_table(published, done, limit))
    out.print(f"same {counts['same']}, differs {counts['differs']}, missing {counts['missing']}")
    raise typer.Exit(1 if counts["differs"] else 3 if counts["missing"] else 0)


def _table(published: Published, done: list[Comparison], tolerance: float) -> Table:
    from rich.table import Table

    table = Table(title=f"{published.name}, protocol {published.protocol}, tolerance {tolerance}")
    for column in ("video", "offset", "LSE-D", "published", "LSE-C", "published", "difference", "verdict"):
        table.add_column(column, justify="left" if column in ("video", "verdict") else "right")
    for comparison in done:
        record, row = comparison.record, comparison.row
        difference = "-" if comparison.d_lse_d is None else f"{comparison.d_lse_d:+.4f} {comparison.d_lse_c:+.4f}"
        table.add_row(
            row.clip,
            ", ".join(str(track.offset) for track in record.tracks) if record else "-",
            *(_number(record.lse_d if record else None), _number(row.lse_d)),
            *(_number(record.lse_c if record else None), _number(row.lse_c)),
            difference,
            comparison.verdict,
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
