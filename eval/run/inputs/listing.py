"""`--manifest FILE`: the videos of a run from a CSV file, with a header and one video per line.

Columns: video (needed), reference, name, group. Paths are relative to the file's folder; video and reference may be
URLs. `average` keeps groups apart, as it does folders.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lipscore.errors import MissingError, UsageError
from lipscore.eval.run.inputs.fetch import path_of, url_of
from lipscore.eval.run.jobs import Job

COLUMNS = ("video", "reference", "name", "group")
NOT_YET = ("audio",)


def read_manifest(path: Path) -> list[Job]:
    """The jobs that a manifest lists, in its order.

    Raises:
        MissingError: the file cannot be read, or lists no video.
        UsageError: a column is unknown, a line has no video, or two lines have one name.
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
        if name in NOT_YET:
            raise UsageError.about("manifest", path, f"the column {name} is not supported yet; leave it out")
        if name not in COLUMNS:
            raise UsageError.about("manifest", path, f"unknown column {name!r}; columns are {', '.join(COLUMNS)}")
    if "video" not in columns:
        raise UsageError.about("manifest", path, "its first line names no column video")


def _each(path: Path, rows: csv.DictReader[str]) -> Iterator[Job]:
    for row in rows:
        if None in row:
            raise UsageError.about("manifest", path, f"line {rows.line_num} has more cells than the first line")
        video, reference = row["video"] or "", row.get("reference") or ""
        if not video:
            raise UsageError.about("manifest", path, f"line {rows.line_num} names no video")
        url, reference_url = url_of(video), url_of(reference)
        place = path_of(url) if url else path.parent / video
        yield Job(
            place,
            row.get("name") or place.stem,
            folder=row.get("group") or "",
            reference=path_of(reference_url) if reference_url else path.parent / reference if reference else None,
            problem="" if url or place.exists() else "no such file",
            url=url,
            reference_url=reference_url,
        )
