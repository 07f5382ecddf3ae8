"""all_scores.txt: a line per face track that begins with the numbers, as the older scripts wrote and read it.

    7.123456 6.012345 31.200000 0.951000  # clip track=0 offset=2 protocol=wav2lip model=vgg
    # other no_face no face found in 134 frames  # protocol=wav2lip model=vgg psnr=30.500000

Column 1 is LSE-D and column 2 LSE-C, so Wav2Lip's scripts and numpy.loadtxt can read the file. PSNR and SSIM are nan
without a reference. A score without a column is a word `name=value` at the end of the line. A video that could not be
scored has a comment line; after a second `#` come its protocol and model, and its other scores.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipscore.errors import MissingError
from lipscore.eval.store.appending import append_whole
from lipscore.eval.store.records import STATUSES
from lipscore.metrics import catalogue
from lipscore.metrics.catalogue import LSE_C, LSE_D, PSNR, SSIM, Score
from lipscore.types import VideoScore

WORDS = "  # "  # before the key=value words of a comment: one_line leaves no two spaces in a reason
SILENT = "silent"  # where another comment has a status: scored, but nothing is heard in the video
COLUMNS = (LSE_D, LSE_C, PSNR, SSIM)
_PAIR = re.compile(r'(?:^|\s)(?P<key>[\w-]+)=(?P<value>"(?:[^"\\]|\\.)*"|\S*)')
_NAME = re.compile(r'(?P<bare>[^\s"]+)|(?P<quoted>"(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class Row:
    """A line with numbers; a missing number is NaN. name and the fields after it are None in files of older scripts.

    further: the scores at the end of the line, by name.
    """

    line: int
    lse_d: float
    lse_c: float
    psnr: float
    ssim: float
    name: str | None = None
    track: int | None = None
    protocol: str | None = None
    model: str | None = None
    folder: str | None = None
    further: Mapping[str, float] = field(default_factory=dict)

    def value(self, score: Score) -> float:
        """The line's value of a score, or NaN."""
        found: float = getattr(self, score.name) if score in COLUMNS else self.further.get(score.name, math.nan)
        return found


@dataclass(frozen=True, slots=True)
class NotScored:
    """A comment line about a video without an LSE; values: the scores that it still has, by name."""

    line: int
    name: str
    status: str
    protocol: str | None = None
    model: str | None = None
    folder: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    def value(self, score: Score) -> float:
        """The video's value of a score, or NaN."""
        return self.values.get(score.name, math.nan)


@dataclass(frozen=True, slots=True)
class Scores:
    """The content of a file; malformed: (line number, problem)."""

    rows: tuple[Row, ...]
    not_scored: tuple[NotScored, ...]
    malformed: tuple[tuple[int, str], ...]


def quote_name(name: str) -> str:
    """The name itself if it is one plain word, else a JSON string on one line; read_name is the inverse."""
    if name and name.isprintable() and not any(c.isspace() or c in '"#\\' for c in name):
        return name
    return json.dumps(name, ensure_ascii=not name.isprintable())


def one_line(text: str) -> str:
    """Text for a comment: line breaks and control characters become spaces, invalid Unicode becomes escapes."""
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else " " for c in joined.encode(errors="backslashreplace").decode())


def lines_of(score: VideoScore) -> tuple[str, ...]:
    """The lines of one video, without newlines: one per face track, or a comment if it was not scored."""
    name, protocol = quote_name(score.name), quote_name(score.protocol)
    folder = f" folder={quote_name(score.folder)}" if score.folder else ""
    how = f"protocol={protocol} model={score.model}{folder}"
    has = [one for one in catalogue.shown([score]) if one.level == "video" and one.of(score) is not None]
    values = "".join(f" {one.name}={_text(one.of(score))}" for one in has)
    if score.status != "ok":
        reason = f"# {name} {score.status} {one_line(score.reason)}".rstrip()
        return (f"{reason}{WORDS}{how}{values}",)
    if score.silent:
        numbers = " ".join(f"{one.title} {_text(one.of(score))}" for one in COLUMNS)
        return (f"# {name} {SILENT} no audible speech, so not part of the means: {numbers}{WORDS}{how}{values}",)
    words = "".join(f" {one.name}={_text(one.of(score))}" for one in catalogue.shown([score]) if not one.has_field)
    lines = []
    for track in score.tracks:
        numbers = " ".join(_text(one.of(track if one.level == "track" else score)) for one in COLUMNS)
        lines.append(f"{numbers}  # {name} track={track.track_id} offset={track.offset} {how}{words}")
    return tuple(lines)


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append lines in one write; other runs may append to the same file at once.

    Raises:
        MissingError: the file cannot be written (a directory, or another user's); the message says what to do.
    """
    if lines:
        append_whole(path, ("\n".join(lines) + "\n").encode())


def held_lines(path: Path) -> set[tuple[str, ...]]:
    """Each video's lines that count, as `lines_of` makes them; empty if the path is not a regular file.

    Lines do not count where others of the same video, protocol, model and folder were written after them.

    Raises:
        MissingError: the file cannot be read.
    """
    if not path.is_file():
        return set()
    lines = _text_lines(path)
    scores = _parsed(lines)
    found: list[Sequence[Row | NotScored]] = [*by_video(scores.rows), *([video] for video in scores.not_scored)]
    last: dict[tuple[str | None, ...], tuple[str, ...]] = {}
    for group in sorted(found, key=lambda group: group[0].line):
        first = group[0]
        key = first.name, first.protocol, first.model, first.folder
        last[key] = tuple(lines[one.line - 1] for one in group)
    return set(last.values())


def read_scores(path: Path) -> Scores:
    """Read a scores file, of lipscore or of the older scripts (two columns).

    Raises:
        MissingError: the file is missing, is a directory, or cannot be read.
    """
    return _parsed(_text_lines(path))


def _parsed(lines: Sequence[str]) -> Scores:
    rows: list[Row] = []
    not_scored: list[NotScored] = []
    malformed: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        before, hash_sign, comment = line.partition("#")
        if before.strip():
            try:
                rows.append(_row(number, before, comment))
            except ValueError as error:
                malformed.append((number, str(error)))
        elif hash_sign and (found := _not_scored(number, comment)) is not None:
            not_scored.append(found)
    return Scores(tuple(rows), tuple(not_scored), tuple(malformed))


def by_video(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows grouped into videos, in the file's order.

    A video's tracks are consecutive and count upwards, so a run that scored it again gives another group. Each row
    without a name is its own video.
    """
    groups: list[list[Row]] = []
    for row in rows:
        last = groups[-1][-1] if groups else None
        same = (
            last is not None
            and row.name is not None
            and (row.name, row.protocol, row.model, row.folder) == (last.name, last.protocol, last.model, last.folder)
        )
        if last is not None and same and (row.track or 0) > (last.track or 0):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _column(word: str) -> float:
    """A number as files contain it; float() would also accept 1_000 and digits of other writing systems."""
    if not word.isascii() or "_" in word:
        raise ValueError(word)
    return float(word)


def _text(value: float | None) -> str:
    return "nan" if value is None or not math.isfinite(value) else f"{value:.6f}"


def _titles(scores: Sequence[Score]) -> str:
    return " ".join(score.title for score in scores)


def _text_lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode(errors="surrogateescape").removesuffix("\n").split("\n")
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file; score some videos first, or name the scores file") from error
    except IsADirectoryError as error:
        raise MissingError(f"{path}: is a directory; name the scores file itself") from error
    except OSError as error:
        raise MissingError(f"{path}: cannot be read ({error.strerror})") from error


def _row(number: int, before: str, comment: str) -> Row:
    words = before.split()
    if not 2 <= len(words) <= 4:
        raise ValueError(
            f"{len(words)} column{'s' * (len(words) != 1)}; expected {_titles(COLUMNS[:2])}, or {_titles(COLUMNS)}"
        )
    try:
        values = [_column(word) for word in words]
    except ValueError:
        raise ValueError(f"not a number among {one_line(before)!r}") from None
    lse_d, lse_c, psnr, ssim = values + [math.nan] * (4 - len(values))
    if not (math.isfinite(lse_d) and math.isfinite(lse_c)):
        raise ValueError("LSE-D or LSE-C is not a number")
    name, rest = read_name(comment)
    pairs = _pairs(rest)
    track = pairs.get("track", "")
    return Row(
        number,
        lse_d,
        lse_c,
        psnr,
        ssim,
        name=name,
        track=int(track) if track.isdecimal() else None,
        protocol=pairs.get("protocol"),
        model=pairs.get("model"),
        folder=pairs.get("folder"),
        further={score.name: float(pairs[score.name]) for score in catalogue.further() if score.name in pairs},
    )


def read_name(comment: str) -> tuple[str | None, str]:
    """(the name that quote_name wrote at the start of a comment, or None; the rest)."""
    text = comment.strip()
    match = _NAME.match(text)
    if match is None:
        return None, text
    rest = text[match.end() :].strip()
    if match["bare"]:
        return match["bare"], rest
    try:
        return json.loads(match["quoted"]), rest
    except ValueError:
        return None, text


def _pairs(text: str) -> dict[str, str]:
    """The key=value words of a comment."""
    return {found["key"]: read_name(found["value"])[0] or "" for found in _PAIR.finditer(text)}


def _not_scored(number: int, comment: str) -> NotScored | None:
    name, rest = read_name(comment)
    reason, _, words = rest.partition(WORDS)
    pairs = _pairs(words)
    status = reason.split(" ", 1)[0]
    if name is None or status not in (*STATUSES, SILENT) or status == "ok":
        return None
    values = {score.name: _number(pairs[score.name]) for score in catalogue.SCORES if score.name in pairs}
    return NotScored(number, name, status, pairs.get("protocol"), pairs.get("model"), pairs.get("folder"), values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
