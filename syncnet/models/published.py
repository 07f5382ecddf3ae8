"""Read published LSE values in the format of MoChaBench's table.

congwei1230/MoChaBench (eval-lipsync) publishes a CSV with the columns clip, offsets, lse_c, lse_d, has_face. It was
made with SyncNet v2 under the protocol that lipscore calls mochabench.
"""

from __future__ import annotations

import ast
import csv
import math
from dataclasses import dataclass
from pathlib import Path

from lipscore.errors import MissingError, UsageError

FACES = {"true": True, "false": False}  # has_face; a spreadsheet writes it in capitals
COLUMNS = ("clip", "offsets", "lse_c", "lse_d", "has_face")


@dataclass(frozen=True, slots=True)
class Row:
    """One video's published numbers; None if no face was found. sha256 identifies the file, if it is known."""

    clip: str
    offsets: tuple[int, ...]
    lse_d: float | None
    lse_c: float | None
    sha256: str | None = None


def read_table(path: Path) -> tuple[Row, ...]:
    """Rows of a CSV with the columns clip, offsets, lse_c, lse_d, has_face.

    Raises:
        MissingError: the file cannot be read.
        UsageError: a column is missing or a row is malformed; the message gives its line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{path}: cannot be read ({error}); name the CSV with the published values") from error
    reader = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(f"{path}: no column {', '.join(missing)}; the columns are {', '.join(COLUMNS)}")
    return tuple(_row(path, reader.line_num, line) for line in reader)


def _row(path: Path, line_number: int, line: dict[str, str]) -> Row:
    try:
        if not FACES[line["has_face"].strip().lower()]:
            return Row(line["clip"], (), None, None)
        offsets = tuple(int(offset) for offset in ast.literal_eval(line["offsets"]))
        lse_d, lse_c = float(line["lse_d"]), float(line["lse_c"])
        if not (math.isfinite(lse_d) and math.isfinite(lse_c)):
            raise ValueError(f"LSE-D {lse_d} and LSE-C {lse_c} of a video with a face")
        return Row(line["clip"], offsets, lse_d, lse_c)
    except (AttributeError, KeyError, ValueError, SyntaxError, TypeError) as error:
        raise UsageError(f"{path}: line {line_number}: {error}; expected values for {', '.join(COLUMNS)}") from error
