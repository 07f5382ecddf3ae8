"""The table of a run's results, and plain-text listings of protocols and weight files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lipscore.eval.cli.output import visible, width_of
from lipscore.eval.grid import Column, lay
from lipscore.eval.store.records import Record
from lipscore.eval.store.scores_file import quote_name
from lipscore.eval.store.summary import offsets_of
from lipscore.metrics import catalogue
from lipscore.syncnet.protocols import PROTOCOLS, as_record, as_table, get_protocol

if TYPE_CHECKING:
    from lipscore.eval.tools.reproduce import Comparison

GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"


def results(records: Sequence[Record], stream: IO[str], colour: bool = False) -> str:
    """A row per video, fitted to the stream: video, tracks, offset, the scores that some video has, status."""
    found = [record.score for record in records]
    scores = [one for one in catalogue.averaged(found) if any(one.of(score) is not None for score in found)]
    models = {score.model for score in found if score.status == "ok"}
    between = any(score.offset_ms is not None for score in found)
    any_failed = any(score.status != "ok" for score in found)
    columns = [
        Column("video", left=True, breaks=True),
        Column("tracks", spare=1),
        Column(catalogue.OFFSET.title),
        *([Column(catalogue.OFFSET_MS.unit, spare=2)] if between else []),
        *(Column(titled(one, models, stream)) for one in scores),
        Column("status", left=True, spare=0 if any_failed else 3),
    ]
    rows = [
        [
            visible(quote_name(record.score.name)),
            str(len(record.score.tracks)),
            offsets_of(record),
            *([catalogue.OFFSET_MS.cell(record.score.offset_ms)] if between else []),
            *(one.cell(one.of(record.score)) for one in scores),
            record.score.status,
        ]
        for record in records
    ]

    def paint(row: int, column: int, text: str) -> str:
        if column != len(columns) - 1:
            return text
        return f"{GREEN if found[row].status == 'ok' else RED}{text}{PLAIN}"

    return lay(columns, rows, width_of(stream), paint if colour else None)


def reproduced(done: Sequence[Comparison], stream: IO[str]) -> str:
    """A row per published row: our number, the published one and the difference, for LSE-D and LSE-C."""
    columns = [
        Column("video", left=True, breaks=True),
        Column("offset", spare=3),
        *(Column("LSE-D"), Column("published", spare=1), Column("difference")),
        *(Column("LSE-C"), Column("published", spare=2), Column("difference")),
        Column("verdict", left=True),
    ]
    rows = []
    for comparison in done:
        record, row = comparison.record, comparison.row
        offsets = ", ".join(str(track.offset) for track in record.tracks) if record else ""
        cells = [visible(row.clip), offsets or "-"]
        for ours, published, off in (
            (record.lse_d if record else None, row.lse_d, comparison.d_lse_d),
            (record.lse_c if record else None, row.lse_c, comparison.d_lse_c),
        ):
            cells += [catalogue.LSE_D.cell(ours), catalogue.LSE_D.cell(published)]
            cells.append("-" if off is None else f"{off:+.4f}")
        rows.append([*cells, comparison.verdict])
    return lay(columns, rows, width_of(stream))


def titled(score: catalogue.Score, models: set[str], stream: IO[str]) -> str:
    """A score's title with its arrow, if the stream can show one."""
    arrow = score.arrow
    try:
        arrow.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        arrow = ""
    return f"{score.title_for(models)} {arrow}".rstrip()


def protocols(as_json: bool = False) -> str:
    """All protocols, one per line, and the errors of the built-in model's estimates."""
    if as_json:
        return json.dumps([as_record(one) for one in PROTOCOLS.values()], indent=2)
    width = max(map(len, PROTOCOLS))
    lines = [f"{name:<{width}}  {one.hash}  {one.about}" for name, one in PROTOCOLS.items()]
    return "\n".join([*lines, "", *_estimates()])


def _estimates() -> list[str]:
    from lipscore.syncnet.models.mini import held_out_figures  # imported here: it imports torch

    figures = held_out_figures()
    return [
        f"model mini estimates LSE-D and LSE-C; against published scores, on {figures['clips']} held-out clips:",
        f"  LSE-D  mean error {figures['lse_d_mae']:.2f}  Spearman {figures['lse_d_spearman']:.2f}",
        f"  LSE-C  mean error {figures['lse_c_mae']:.2f}  Spearman {figures['lse_c_spearman']:.2f}",
        f"  offset within one frame {figures['within_1']:.1%}, within three {figures['within_3']:.1%}",
    ]


def protocol(name: str, as_json: bool = False) -> str:
    """One protocol's settings, each with its meaning and its source.

    Raises:
        UsageError: no protocol has that name.
    """
    chosen = get_protocol(name)
    if as_json:
        return json.dumps(as_record(chosen), indent=2)
    lines = [f"{chosen.name}: {chosen.about}", f"source: {chosen.source}", f"hash: {chosen.hash}"]
    lines += [f"changed: {change}" for change in chosen.changed]
    for field, value, meaning, source in as_table(chosen):
        lines += ["", f"{field} = {json.dumps(value)}", f"    {meaning}", f"    {source}"]
    return "\n".join(lines)


def weights(weights_dir: Path | None = None) -> tuple[str, bool]:
    """(the list of weight files and their state, whether all are present and verified).

    Raises:
        WeightsError: weights_dir is not a folder.
    """
    from lipscore.weights.fetch import Search, by_hand, listing, on_request

    search = Search.from_environment(weights_dir)
    lines: list[str] = []
    complete = True
    scoring = listing(search)
    for published, file in [*scoring, *on_request(search)]:
        needed = any(published is one for one, _ in scoring)
        complete &= not needed if file is None else file.verified
        lines.append(f"{published.name}: {published.title}, {published.size:,} bytes")
        if file is None and not needed:
            lines.append(f"    not here; `lipscore weights fetch {published.name}` gets it, for `lipscore generate`")
        elif file is None:
            lines.append("    missing; `lipscore weights fetch` gets it")
            lines.append(f"    {by_hand(published, search)}")
        elif file.verified:
            lines.append(f"    {file.path}, SHA-256 verified")
        else:
            lines.append(f"    {file.path} is not the published file")
            lines.append(f"    its SHA-256 is {file.sha256}")
            lines.append(f"    published is   {published.sha256}")
        lines.append(f"    licence: {published.licence}")
    return "\n".join(lines), complete
