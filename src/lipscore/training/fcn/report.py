"""`lipscore evaluate`: every method on files made of a folder's clips, as a JSON report and as a Markdown table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lipscore
from lipscore.errors import UsageError
from lipscore.metrics.longrange import FOUND, REACH
from lipscore.syncnet.models.fcn import load_head
from lipscore.syncnet.models.sync_pass import Embedder
from lipscore.training.fcn.evaluate import METHODS, accepted, by_head, figures, measure, paired_difference, windows_in
from lipscore.training.fcn.streams import Shape, Stream, embed_clips

MEASURES = ("accuracy_1_frame", "accuracy_3_frames", "accuracy_1_second", "mae_frames", "rmse_frames")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is evaluated: samples files of each length in seconds, each with its own sound alone and with the file's
    sound around it; as many again with another recording's sound."""

    samples: int = 500
    max_offset: int = REACH
    lengths: tuple[float, ...] = (5.0, 10.0, 15.0)
    seed: int = 0


def evaluate_clips(
    data_dir: Path,
    boxes: Path,
    embedder: Embedder,
    towers: dict[str, str],
    wanted: Wanted,
    head: Path | None,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """The report on a folder of clips in sync.

    Args:
        towers: the name and the sha256 of the towers.
        head: a trained head, which becomes one of the methods.

    Raises:
        UsageError: the boxes cannot be read, or the clips are too few for any of the lengths.
        WeightsError: the head cannot be read, or belongs to other towers.
        MediaError, NotScoredError: a clip cannot be used.
    """
    methods = dict(METHODS)
    if head is not None:
        network, reach = load_head(head, towers["sha256"])
        if reach != wanted.max_offset:
            raise UsageError.about("max_offset", wanted.max_offset, f"the head was trained for {reach}; give that")
        methods["head"] = by_head(network)
    streams, _ = embed_clips(data_dir, boxes, embedder, progress)
    return {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model_info": {
            "towers": towers,
            "head": None if head is None else str(head),
            "max_offset": wanted.max_offset,
            "lipscore": lipscore.__version__,
        },
        "data": {
            "folder": str(data_dir),
            "clips": len(streams),
            "recordings": len({stream.recording for stream in streams}),
        },
        "evaluation_metrics": rows_of(streams, methods, wanted, progress),
    }


def rows_of(
    streams: Sequence[Stream], methods: dict[str, Any], wanted: Wanted, say: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """A row per length, without and with the file's sound around; lengths for which the clips are too few say so.

    Raises:
        UsageError: the clips are too few for every length.
    """
    rows: list[dict[str, Any]] = []
    trouble = ""
    kinds = [(seconds, around) for seconds in wanted.lengths for around in ((0, 0), (wanted.max_offset,) * 2)]
    for done, (seconds, around) in enumerate(kinds):
        say("evaluating", done, len(kinds))
        shape = Shape(windows_in(seconds), (around[0], around[1]), wanted.max_offset)
        row: dict[str, Any] = {"seconds": seconds, "whole_sound": around != (0, 0)}
        try:
            own = measure(streams, shape, methods, wanted.samples, wanted.seed)
        except UsageError as error:
            trouble = str(error)
            rows.append({**row, "skipped": trouble})
            continue
        row |= {name: figures(own, name, wanted.max_offset) for name in methods}
        if "head" in methods:
            row["head_minus_root_n"] = paired_difference(own, "root-n", "head")
        try:
            others = measure(streams, shape, {"root-n": METHODS["root-n"]}, wanted.samples, wanted.seed + 1, 1.0)
            row["strangers"] = accepted([*own, *others], "root-n", FOUND)
        except UsageError as error:
            row["strangers"] = {"skipped": str(error)}
        rows.append(row)
    say("evaluating", len(kinds), len(kinds))
    if all("skipped" in row for row in rows):
        raise UsageError(trouble)
    return rows


def readme(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    info, data = report["model_info"], report["data"]
    lines = [
        "# Long-range evaluation",
        "",
        f"Towers {info['towers']['name']} ({info['towers']['sha256'][:12]}), range +-{info['max_offset']} frames, "
        f"{data['clips']} clips with {data['recordings']} recordings; {report['timestamp']}.",
        "",
        "| file | method | n | within 1 frame | within 3 | within 1 s | MAE | RMSE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["evaluation_metrics"]:
        title = f"{row['seconds']:g} s{', the sound around it too' if row['whole_sound'] else ''}"
        if "skipped" in row:
            lines.append(f"| {title} | skipped: {row['skipped']} | | | | | | |")
            continue
        for name, found in row.items():
            if not isinstance(found, dict) or "num_samples" not in found:
                continue
            low, high = found["accuracy_1_frame_interval"]
            within = f"{found['accuracy_1_frame']:.1f} % ({low:.1f} to {high:.1f})"
            others = " | ".join(f"{found[measure]:.1f} %" for measure in MEASURES[1:3])
            errors = " | ".join(f"{found[measure]:.2f}" for measure in MEASURES[3:])
            lines.append(f"| {title} | {name} | {found['num_samples']} | {within} | {others} | {errors} |")
        strangers = row.get("strangers", {})
        if strangers.get("strangers_answered") is not None:
            lines.append(
                f"| {title} | answers at confidence {FOUND:g} | {strangers['strangers']} | own sound "
                f"{strangers['own_answered']:.1f} %, another's {strangers['strangers_answered']:.1f} % | | | | |"
            )
    return "\n".join(lines) + "\n"
