"""Tables as text: whole names and numbers at any width.

Without a width (a pipe, a file) every column has its natural width. In a terminal, a table that is too wide breaks the
names, then leaves out the columns that matter least and says which, and as a last resort prints each row as a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

GAP = "  "
NARROWEST = 16  # cells: a column that is broken is at least so wide, if its text is
Paint = Callable[[int, int, str], str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    left: whether the text is aligned left. breaks: whether it may be broken over lines. spare: 0 for a column that
    always stays; of the others, the column with the lowest number is left out first.
    """

    title: str
    left: bool = False
    breaks: bool = False
    spare: int = 0


def lay(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None, paint: Paint | None = None
) -> str:
    """The table as lines, the titles first.

    Args:
        rows: the cells of each row, one per column.
        width: of the terminal, in cells; None: as wide as the table is.
        paint: puts colour around a cell's text, given row, column and the text.
    """
    natural = [
        max(map(cell_len, (column.title, *cells)))
        for column, cells in zip(columns, zip(*rows, strict=True) if rows else [()] * len(columns), strict=True)
    ]
    wide = cell_len(GAP)
    if width is None:
        return "\n".join(_lines(columns, rows, list(range(len(columns))), natural, paint))
    least = [min(size, NARROWEST) if column.breaks else size for column, size in zip(columns, natural, strict=True)]
    kept = list(range(len(columns)))
    leaving = sorted((index for index in kept if columns[index].spare), key=lambda index: columns[index].spare)
    left_out = []
    while sum(least[index] + wide for index in kept) - wide > width and leaving:
        left_out.append(leaving.pop(0))
        kept.remove(left_out[-1])
    if sum(least[index] + wide for index in kept) - wide > width:
        return "\n".join(_blocks(columns, rows, width, paint))
    spread = {index: least[index] for index in kept}
    room = width - sum(least[index] + wide for index in kept) + wide
    for index in kept:
        more = min(room, natural[index] - least[index])
        spread[index] += more
        room -= more
    sizes = [spread.get(index, 0) for index in range(len(columns))]
    lines = _lines(columns, rows, kept, sizes, paint)
    if left_out:
        titles = ", ".join(columns[index].title for index in sorted(left_out))
        lines += chop_cells(f"({titles}: not shown at this width)", width)
    return "\n".join(lines)


def _lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    kept: Sequence[int],
    sizes: Sequence[int],
    paint: Paint | None,
) -> list[str]:
    lines = []
    for place, row in enumerate([[column.title for column in columns], *rows]):
        parts = [chop_cells(row[index], sizes[index]) or [""] for index in kept]
        for line in range(max(map(len, parts))):
            cells = []
            for index, part in zip(kept, parts, strict=True):
                text = part[line] if line < len(part) else ""
                filling = " " * (sizes[index] - cell_len(text))
                painted = paint(place - 1, index, text) if paint is not None and text and place else text
                cells.append(painted + filling if columns[index].left else filling + painted)
            lines.append(GAP.join(cells).rstrip())
    return lines


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, paint: Paint | None) -> list[str]:
    """Each row as a block: its first cell, then the others with their titles, as many on a line as fit."""
    lines: list[str] = []
    for place, row in enumerate(rows):
        lines += chop_cells(row[0], width) or [""]
        line, used = "", 0
        for index in range(1, len(columns)):
            if not row[index]:
                continue
            pieces = chop_cells(" ".join(filter(None, (columns[index].title, row[index]))), max(1, width - len(GAP)))
            for piece in pieces:
                size = cell_len(piece)
                if used and used + len(GAP) + size > width:
                    lines.append(line)
                    line, used = "", 0
                painted = paint(place, index, piece) if paint is not None and len(pieces) == 1 else piece
                line += GAP + painted
                used += len(GAP) + size
        lines += [line] if line else []
    return lines
