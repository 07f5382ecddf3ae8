"""`--manifest FILE`: the videos of a run from a CSV file, with a header and one video per line.

Columns: video (required), audio (a sound to score instead of the video's own), reference, name, group. Paths are
relative to the file's folder; video, audio and reference may be URLs. `average` separates groups as it does folders.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lipscore.errors import MissingError, UsageError
from lipscore.eval.run.inputs.fetch import path_of, url_of
from lipscore.eval.run.jobs import Job
from lipscore.eval.store.cells import text_of

COLUMNS = ("video", "audio", "reference", "name", "group")


def read_manifest(path: Path) -> list[Job]:
    """The jobs that a manifest lists, in its order.

    Raises:
        MissingError: the file cannot be read, or lists no video.
        UsageError: a column is unknown, a line has no video, or two lines have the same name.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _jobs(path, csv.DictReader(file, strict=True))
    except OSError as error:
        raise MissingError.about("manifest", path, f"cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError.about("manifest", path, f"is no CSV file in UTF-8 ({error})") from error


def _jobs(path: Path, rows: csv.DictReader[str]) -> list[Job]:
    _check_columns(path, rows.fieldnames or [])
    jobs: list[Job] = []
    lines: dict[str, int] = {}
    for job in _each(path, rows):
        if job.name in lines:
            both = f"lines {lines[job.name]} and {rows.line_num} are both named {job.name}"
            raise UsageError.about("manifest", path, f"{both}; give each a name of its own in the column name")
        lines[job.name] = rows.line_num
        jobs.append(job)
    if not jobs:
        raise MissingError.about("manifest", path, "lists no video")
    return jobs


def _check_columns(path: Path, names: object) -> None:
    columns = list(names) if isinstance(names, list | tuple) else []
    for name in columns:
        if name not in COLUMNS:
            raise UsageError.about("manifest", path, f"unknown column {name!r}; columns are {', '.join(COLUMNS)}")
    if "video" not in columns:
        raise UsageError.about("manifest", path, "its first line has no column video")


def _each(path: Path, rows: csv.DictReader[str]) -> Iterator[Job]:
    for row in rows:
        if None in row:
            raise UsageError.about("manifest", path, f"line {rows.line_num} has more cells than the first line")
        row = {name: text_of(value or "") for name, value in row.items()}
        if not row["video"]:
            raise UsageError.about("manifest", path, f"line {rows.line_num} names no video")
        video, url = _place(path.parent, row["video"])
        reference, reference_url = _place(path.parent, row.get("reference"))
        audio, audio_url = _place(path.parent, row.get("audio"))
        assert video is not None
        problem = "" if url or video.exists() else "no such file"
        if not problem and audio is not None and not (audio_url or audio.exists()):
            problem = f"its audio {audio} is not there"
        yield Job(
            video,
            row.get("name") or video.stem,
            folder=row.get("group") or "",
            reference=reference,
            problem=problem,
            url=url,
            reference_url=reference_url,
            audio=audio,
            audio_url=audio_url,
        )


def _place(folder: Path, cell: str | None) -> tuple[Path | None, str]:
    """The path that a cell names, and the URL if it is one."""
    if not cell:
        return None, ""
    url = url_of(cell)
    return path_of(url) if url else folder / cell, url
