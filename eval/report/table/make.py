"""From NAME=RESULTS to finished tables: read results, check that they are comparable, group and format them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lipscore.errors import UsageError
from lipscore.eval.report.table.build import Table, Wanted, build, columns_of
from lipscore.eval.report.table.formats import FORMATS, text
from lipscore.eval.report.table.read import Results, mixed, named, other_noise, read_groups, read_noise, read_results
from lipscore.eval.store.signature import parse


@dataclass(frozen=True, slots=True)
class Made:
    """The finished text, warnings for the user, and the tables."""

    text: str
    warnings: tuple[str, ...]
    tables: tuple[Table, ...]


def make(
    arguments: Sequence[str],
    wanted: Wanted,
    *,
    form: str = "text",
    noise: Path | None = None,
    groups: Path | None = None,
    allow_mixed: bool = False,
    width: int | None = None,
) -> Made:
    """The table of results, and one per group where groups are given.

    Args:
        arguments: NAME=RESULTS each.
        form: a key of FORMATS.
        noise: the file or folder that `lipscore noise` wrote; differences within its band are marked.
        groups: a CSV file with videos' names and groups.
        allow_mixed: accept results with different signatures, with a warning.
        width: the terminal's width, in cells; None for a file or a pipe.

    Raises:
        UsageError: results cannot be compared, or an option is wrong.
        MissingError: a file or folder cannot be read.
    """
    if form not in FORMATS:
        raise UsageError.about("format", form, f"unknown format; use one of {', '.join(FORMATS)}")
    results = [read_results(*named(argument)) for argument in arguments]
    warnings = mixed(results)
    if warnings and not allow_mixed:
        raise UsageError("; ".join(warnings) + "; score them with the same settings, or give --allow-mixed")
    if noise is not None:
        bands, signature = read_noise(noise)
        wanted = replace(wanted, noise=bands)
        warnings += [said for one in results if (said := other_noise(signature, one))]
    tables = [build(results, wanted)]
    if groups is not None:
        found, of_groups = _grouped(results, wanted, groups)
        tables += found
        warnings += of_groups
    signatures = {
        one.name: str(parse(one.signature).with_n(len(one.scored), len(one.scores))) if one.signature else ""
        for one in results
    }
    made = text(tables, signatures, width) if form == "text" else FORMATS[form](tables, signatures)
    return Made(made, tuple(warnings), tuple(tables))


def _grouped(results: Sequence[Results], wanted: Wanted, path: Path) -> tuple[list[Table], list[str]]:
    """(a table per group, warnings about videos without a group and groups without a table)."""
    columns = columns_of(results)
    tables, said = [], []
    every = set().union(*(one.scores for one in results))
    for column, values in read_groups(path).items():
        lacking = every - set().union(*values.values()) if values else every
        if lacking:
            said.append(f"{path}: no {column} for {len(lacking)} videos, such as {min(lacking)}")
        for value, names in sorted(values.items()):
            try:
                tables.append(build([one.only(names) for one in results], wanted, f"{column} = {value}", columns))
            except UsageError:
                said.append(f"{column} = {value}: no video that all methods have scored")
    return tables, said
