"""scores.jsonl and scores.csv: one record per video, and the lookup of videos that are already scored.

docs/formats.md describes every field. JSON has no NaN: a missing number is null. A record's key is a hash of everything
that the record was made from: the bytes of the file and its reference, the protocol, the model, the weights and the
options. A run skips videos whose key it finds.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

import numpy as np

from lipscore.errors import MissingError
from lipscore.eval.store.appending import append_whole, check_appendable
from lipscore.eval.store.cells import cell
from lipscore.eval.store.judged import no_offset
from lipscore.media.files.aside import replace_whole
from lipscore.metrics import catalogue, standards
from lipscore.types import Alignment, GivenSound, ReferenceScore, Shot, Status, TrackScore, VideoScore

SCHEMA = 1
STATUSES: tuple[str, ...] = get_args(Status)
# these may be temporary (a full disk, a bug since fixed, a limit since raised), so the next run tries again
OVER_A_LIMIT = ("too_large", "timed_out")
TRY_AGAIN = ("media_error", "worker_lost", "error", *OVER_A_LIMIT)

# the columns of scores.csv before and after those of the scores
_ABOUT = (
    "video",
    "name",
    "sha256",
    "status",
    "reason",
    "protocol",
    "protocol_hash",
    "changed",
    "model",
    "detector",
    "comparable",
    "fps",
    "n_frames",
    "duration_s",
    "shots",
    "tracks",
)
_BEHIND = ("reference", "seconds", "signature", "offset_ms", "audio")  # add new ones at the end: no column may move


@dataclass(frozen=True, slots=True)
class Record:
    """A video's score, and the hashes of what it was made from.

    settings: the hash of protocol, model, weights and options, which is the same for every video of a run. key: the
    hash of the settings and of the video's own files; "" if the video could not be read.
    """

    score: VideoScore
    settings: str = ""
    key: str = ""


def hash_of(value: Mapping[str, Any] | Sequence[str]) -> str:
    """The first 16 hex digits of the SHA-256 of JSON-ready data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def as_json(record: Record) -> dict[str, Any]:
    """The record as JSON-ready data in the documented order, with null for NaN and infinity."""
    score = record.score
    fields: dict[str, Any] = {"schema": SCHEMA}
    for name in VideoScore.__dataclass_fields__:
        fields[name] = getattr(score, name)
    fields["shots"] = [[shot.start, shot.end] for shot in score.shots]
    fields["tracks"] = [track_as_json(track) for track in score.tracks]
    fields["alignment"] = asdict(score.alignment) if score.alignment else None
    fields["reference"] = asdict(score.reference) if score.reference else None
    fields["audio"] = asdict(score.audio) if score.audio else None
    if not score.scores:
        del fields["scores"]
    if score.offset_ms is not None and not no_offset(score):
        fields["within"] = standards.verdicts(score.offset_ms)  # read from offset_ms: from_json passes it over
    fields |= {"settings": record.settings, "key": record.key}
    clean: dict[str, Any] = _clean(fields)
    return clean


def from_json(data: Mapping[str, Any]) -> Record:
    """The inverse of as_json.

    Raises:
        ValueError: `data` is not a record of this schema; the message says what is wrong.
    """
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        raise ValueError(f"not a record of schema {SCHEMA}")
    fields = {name: data[name] for name in VideoScore.__dataclass_fields__ if name in data}
    if fields.get("status") not in STATUSES:
        raise ValueError(f"unknown status {fields.get('status')!r}; expected one of {', '.join(STATUSES)}")
    try:
        fields["shots"] = tuple(Shot(int(start), int(end)) for start, end in data["shots"])
        fields["tracks"] = tuple(_track_from_json(track) for track in data["tracks"])
        fields["alignment"] = _alignment(data["alignment"])
        fields["reference"] = _reference(data["reference"])
        fields["audio"] = GivenSound(**data["audio"]) if data.get("audio") else None
        fields["scores"] = {name: _number(value) for name, value in data.get("scores", {}).items()}
        fields["piece"] = tuple(data["piece"]) if data.get("piece") else None
        fields["seconds"] = {name: float(value) for name, value in data["seconds"].items()}
        fields |= {"notes": tuple(data["notes"]), "changed": tuple(data["changed"])}
        return Record(VideoScore(**_checked(VideoScore, fields)), str(data["settings"]), str(data["key"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"a field is missing or of the wrong kind ({error})") from error


def as_line(record: Record) -> bytes:
    """The record as one line of JSON, newline included; bytes of a file name that are not UTF-8 become escapes."""
    text = json.dumps(as_json(record), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode(errors="backslashreplace")


def read_records(path: Path) -> tuple[list[Record], list[tuple[int, str]]]:
    """(the records of a scores.jsonl, (line number, problem) of every other line).

    Raises:
        MissingError: the file exists and cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise MissingError(f"{path}: cannot be read ({error.strerror}); give another --out") from error
    records: list[Record] = []
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(from_json(json.loads(line)))
        except ValueError as error:
            problems.append((number, "half a line" if isinstance(error, json.JSONDecodeError) else str(error)))
    return records, problems


class RecordStore:
    """The records of an output folder: scores.jsonl is appended to, and scores.csv is written from it.

    Several runs may append to the same folder at once.

    Raises:
        MissingError: the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "scores.jsonl"
        check_appendable(self.path)
        records, self.problems = read_records(self.path)
        self._settings: set[str] = set()
        self._held: dict[str, dict[tuple[str, str, str], Record]] = {}
        for record in records:
            self._hold(record)

    def held(self, key: str, about: tuple[str, str, str] = ("", "", "")) -> Record | None:
        """The record with this key; None if the video must be scored, or tried again.

        Args:
            about: (path, name, folder) of the video. Copies of a video share a key, but each has its own record.
        """
        of_key = self._held.get(key, {})
        record = of_key.get(about) or next(reversed(tuple(of_key.values())), None)  # another thread may append
        return None if record is None or _passing(record.score) else record

    def keys(self, settings: str) -> frozenset[str]:
        """The keys for which `held` returns a record, with these settings."""
        found = ((key, self.held(key)) for key in tuple(self._held))
        return frozenset(key for key, record in found if record is not None and record.settings == settings)

    @property
    def settings_held(self) -> set[str]:
        """The settings hashes of all records; a run with other settings needs no keys."""
        return self._settings

    def append(self, record: Record) -> None:
        """Write one record; it is on disk when this returns.

        Raises:
            MissingError: the record cannot be written.
        """
        append_whole(self.path, as_line(record), keep_last=_is_json)
        self._hold(record)

    def write_csv(self) -> None:
        """Write scores.csv from scores.jsonl: each video's last record, by settings and then by video."""
        records, _ = read_records(self.path)
        latest = latest_of(records)
        first = {settings: place for place, settings in reversed(list(enumerate(one.settings for one in latest)))}
        ordered = sorted(
            latest, key=lambda one: (first[one.settings], one.score.video, one.score.piece or (), one.score.name)
        )
        replace_whole(self.folder / "scores.csv", as_csv(ordered))

    def _hold(self, record: Record) -> None:
        if record.key:
            score = record.score
            of_key = self._held.setdefault(record.key, {})
            of_key.pop((score.video, score.name, score.folder), None)
            of_key[score.video, score.name, score.folder] = record
            self._settings.add(record.settings)


def latest_of(records: Iterable[Record]) -> list[Record]:
    """The last record of each video or piece of one, by path, piece and settings.

    A manifest may name one file several times, against several sounds or references: each of those has its last record.
    """
    held: dict[tuple[str, tuple[float, float] | None, str], dict[str, Record]] = {}
    for record in records:
        of_file = held.setdefault((record.score.video, record.score.piece, record.settings), {})
        for name in [name for name, before in of_file.items() if _replaces(record, before)]:
            del of_file[name]
        of_file[record.score.name] = record
    return [record for of_file in held.values() for record in of_file.values()]


def _replaces(record: Record, before: Record) -> bool:
    """Whether a later record of a file stands for an earlier one: the same name or makings, or the file has changed."""
    if record.score.name == before.score.name or (record.key and record.key == before.key):
        return True
    return bool(record.score.sha256 and before.score.sha256) and record.score.sha256 != before.score.sha256


def _passing(score: VideoScore) -> bool:
    """Whether the next run is to try again: the video, or its reference, which a limit that is now higher broke off."""
    broken_off = score.reference is not None and score.reference.status in OVER_A_LIMIT
    return broken_off or score.status in TRY_AGAIN


def as_csv(records: Iterable[Record]) -> bytes:
    """The CSV text: a header, and a row per record with empty cells for missing numbers.

    Scores without their own field come last and only if a record has them, so that no column moves.
    """
    records = tuple(records)
    scores = catalogue.shown([record.score for record in records])
    fields = (score.name for score in scores if score.has_field and score.name not in _BEHIND)
    columns = (*_ABOUT, *fields, *_BEHIND, *(score.name for score in scores if not score.has_field))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        data = as_json(record)
        reference = record.score.reference
        data |= data.get("scores", {})
        data |= {
            "shots": len(record.score.shots),
            "tracks": len(record.score.tracks),
            "changed": "; ".join(record.score.changed),
            "reference": reference.reference or reference.status if reference else None,
            "audio": record.score.audio.path if record.score.audio else None,
            "seconds": round(sum(record.score.seconds.values()), 3) if record.score.seconds else None,
        }
        writer.writerow([cell(data.get(name)) for name in columns])
    return text.getvalue().encode(errors="backslashreplace")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _clean(value: Any) -> Any:
    """Plain JSON types all the way down; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(name): _clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def track_as_json(track: TrackScore) -> dict[str, Any]:
    """A track as JSON-ready data, with null for NaN."""
    data = asdict(track)
    clean: dict[str, Any] = _clean({"track": data.pop("track_id"), **data})
    return clean


def _track_from_json(data: Mapping[str, Any]) -> TrackScore:
    fields = _checked(TrackScore, dict(data))
    return TrackScore(
        track_id=int(fields.pop("track")),
        curve=tuple(_number(value) for value in fields.pop("curve")),
        lse_d=_number(fields.pop("lse_d")),
        lse_c=_number(fields.pop("lse_c")),
        **fields,
    )


def _checked(of: type, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, if those that are a number, a text or a yes or no are one.

    Raises:
        TypeError: one is something else.
    """
    for name, kinds in _plain_fields(of).items():
        value = fields.get(name)
        if name in fields and not (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))):
            raise TypeError(f"{name} is {json.dumps(value)[:40]}")
    return fields


@cache
def _plain_fields(of: type) -> dict[str, tuple[type, ...]]:
    """Name -> the kinds that JSON may give of each field of a dataclass that is one plain value."""
    found = {}
    for name, hint in get_type_hints(of).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if set(kinds) <= {str, bool, int, float, NoneType}:
            # JSON has a whole number where a float is whole, and null for one that is none
            found[name] = (*kinds, int, NoneType) if float in kinds else kinds
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _alignment(data: Mapping[str, Any] | None) -> Alignment | None:
    return None if data is None else Alignment(**_checked(Alignment, dict(data)))


def _reference(data: Mapping[str, Any] | None) -> ReferenceScore | None:
    if data is None:
        return None
    fields = _checked(ReferenceScore, dict(data))
    fields["values"] = {name: _number(value) for name, value in fields["values"].items()}
    return ReferenceScore(**{**fields, "alignment": _alignment(fields["alignment"])})
