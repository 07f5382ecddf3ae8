"""Plain-text listings of protocols and weight files."""

from __future__ import annotations

import json
from pathlib import Path

from lipscore.syncnet.protocols import PROTOCOLS, as_record, as_table, get_protocol


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
            lines.append(f"    not here; for `lipscore generate`, `lipscore weights fetch {published.name}` gets it")
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
