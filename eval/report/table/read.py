"""Read what a table is made of: result folders with their floors, the noise band, and a file of groups."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipscore.errors import MissingError, UsageError
from lipscore.eval.store.cells import text_of
from lipscore.eval.store.records import Record, latest_of, read_records
from lipscore.eval.store.scores_file import quote_name
from lipscore.eval.store.signature import Signature, difference, parse
from lipscore.types import VideoScore

FLOOR_FILE, NOISE_FILE = "floor.json", "noise.json"


@dataclass(frozen=True, slots=True)
class Results:
    """A method's results: the last record of each video by name, and the floors by name (score name -> value)."""

    name: str
    folder: Path
    scores: Mapping[str, VideoScore]
    signature: str
    settings: str
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def scored(self) -> dict[str, VideoScore]:
        """The videos with a score that is not one of silence."""
        return {name: score for name, score in self.scores.items() if score.status == "ok" and not score.silent}

    @property
    def failed(self) -> dict[str, int]:
        """The reason why the other videos have no score -> their number."""
        lacking = (score for score in self.scores.values() if score.status != "ok" or score.silent)
        return dict(Counter("silent" if score.silent else str(score.status) for score in lacking))

    def only(self, names: set[str]) -> Results:
        """The results of these videos only."""
        kept = {name: score for name, score in self.scores.items() if name in names}
        return Results(self.name, self.folder, kept, self.signature, self.settings, self.floors)


@dataclass(frozen=True, slots=True)
class Band:
    """How far a score moves under changes that no viewer sees: for one video, and for a mean over videos."""

    video: float
    mean: float


def named(argument: str) -> tuple[str, Path]:
    """NAME=RESULTS as (name, folder).

    Raises:
        UsageError: the argument does not have that form.
    """
    name, equals, folder = argument.partition("=")
    if not equals or not name.strip() or not folder:
        raise UsageError(
            f"{argument!r}: give NAME=RESULTS, where RESULTS is a folder that `lipscore score --out` wrote"
        )
    return name.strip(), Path(folder)


def read_results(name: str, folder: Path) -> Results:
    """A method's results.

    Raises:
        MissingError: the folder holds no scores.jsonl, or it cannot be read.
        UsageError: its records were made with different settings, and its run.json does not say which count; or two of
            its videos have one name.
    """
    path = folder / "scores.jsonl"
    if not path.is_file():
        raise MissingError(f"{folder}: contains no scores.jsonl; name a folder that `lipscore score --out` wrote")
    records, problems = read_records(path)
    if problems:
        line, problem = problems[0]
        raise MissingError(f"{path}, line {line}: {problem}; score the videos again, or delete the line")
    records = _of_one_run(records, folder)
    if not records:
        raise MissingError(f"{path}: contains no record; score some videos first")
    last = _by_name(records, folder)
    newest = records[-1]
    floor = _json(folder / FLOOR_FILE)
    current = floor.get("signature") == newest.score.signature  # else it is of an earlier run with other settings
    try:
        floors = {
            str(video["name"]): {key: float(video[key]) for key in ("lse_d", "lse_c") if video.get(key) is not None}
            for video in (floor.get("videos", []) if current else [])
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MissingError(f"{folder / FLOOR_FILE}: is no floor ({error!r}); write it again, or delete it") from error
    scores = {key: record.score for key, record in last.items()}
    return Results(name, folder, scores, newest.score.signature, newest.settings, floors)


def _of_one_run(records: Sequence[Record], folder: Path) -> list[Record]:
    settings = dict.fromkeys(record.settings for record in records)
    if len(settings) > 1:
        latest = _json(folder / "run.json").get("settings")
        if latest not in settings:
            raise UsageError(
                f"{folder}: holds records of {len(settings)} different settings; score into one folder each"
            )
        return [record for record in records if record.settings == latest]
    return list(records)


def _by_name(records: Sequence[Record], folder: Path) -> dict[str, Record]:
    """The last record of each name, which is what pairs videos.

    Raises:
        UsageError: a name stands for two videos, for example of two runs over different folders.
    """
    last: dict[str, Record] = {}
    for record in latest_of(records):
        name, video, sha256 = record.score.name, record.score.video, record.score.sha256
        before = last.get(name, record).score
        if before.video != video and before.sha256 and sha256 and before.sha256 != sha256:
            raise UsageError(
                f"{folder}: holds two videos named {quote_name(name)}, {before.video} and {video}, and videos are "
                "paired by name; score them in one run, which gives each a name of its own, or into one folder each"
            )
        last[name] = record
    return last


def other_noise(signature: str, results: Results) -> str:
    """A sentence about settings that differ between a noise band and these results; empty if none is known."""
    if not (signature and results.signature):
        return ""
    differs = difference(parse(signature), parse(results.signature))
    return f"the noise band and {results.name} have different settings: {differs}" if differs else ""


def mixed(results: Sequence[Results]) -> list[str]:
    """A sentence for each result with other settings than the first, which says what differs."""
    first, *others = results
    return [
        f"{first.name} and {other.name} were scored differently: {differs}"
        for other in others
        if (differs := _difference(first, other))
    ]


def _difference(a: Results, b: Results) -> str:
    if a.signature and b.signature:
        return difference(parse(a.signature), parse(b.signature))
    if a.settings == b.settings:
        return ""
    # a record of a version without signatures
    left, right = (next(iter(one.scores.values())) for one in (a, b))
    how = [
        Signature({"lipscore": "", "protocol": f"{one.protocol}@{one.protocol_hash}", "model": one.model})
        for one in (left, right)
    ]
    return difference(*how) or f"settings {a.settings} and {b.settings}"


def read_noise(path: Path) -> tuple[dict[str, Band], str]:
    """(the noise band that `lipscore noise` wrote, by score name; the signature that it was made with).

    Raises:
        MissingError: there is no noise band.
    """
    source = path / NOISE_FILE if path.is_dir() else path
    content = _json(source)
    found = content.get("bands")
    if not isinstance(found, dict):
        raise MissingError(f"{source}: contains no noise band; write one with `lipscore noise INPUT --out FOLDER`")
    try:
        bands = {name: Band(float(band["video"]), float(band["mean"])) for name, band in found.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise MissingError(f"{source}: is not a noise band ({error!r}); write it again") from error
    return bands, str(content.get("signature", ""))


def read_groups(path: Path) -> dict[str, dict[str, set[str]]]:
    """Column -> value -> names of videos, of a CSV whose first column names the videos.

    Raises:
        UsageError: the file has another form, or lists a video twice.
        MissingError: the file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[text_of(cell) for cell in row] for row in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MissingError(f"--groups {path}: cannot be read ({error})") from error
    if not rows or len(rows[0]) < 2:
        raise UsageError(f"--groups {path}: needs a header and two columns or more: a video's name, then its groups")
    groups: dict[str, dict[str, set[str]]] = {column: {} for column in rows[0][1:]}
    seen: set[str] = set()
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(rows[0]):
            raise UsageError(f"--groups {path}, line {number}: {len(row)} cells, the header has {len(rows[0])}")
        if row[0] in seen:
            raise UsageError(f"--groups {path}, line {number}: {row[0]} occurs twice")
        seen.add(row[0])
        for column, value in zip(rows[0][1:], row[1:], strict=True):
            if value:
                groups[column].setdefault(value, set()).add(row[0])
    return groups


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise MissingError(f"{path}: cannot be read ({error}); write it again") from error
    return found if isinstance(found, dict) else {}
