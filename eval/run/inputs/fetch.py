"""Videos at URLs: fsspec fetches s3://, gs:// and http(s):// files, which are scored and then removed.

The command line turns its arguments into paths, and a path keeps only one slash of "//"; `url_of` restores the second.
Only a manifest preserves a URL that has another "//" after the host.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lipscore.errors import MediaError, MissingError
from lipscore.eval.run.jobs import Job
from lipscore.eval.store.records import Record
from lipscore.media.read import VIDEO_SUFFIXES

_URL = re.compile(r"(s3|gs|gcs|https?):/+(.+)", re.IGNORECASE | re.DOTALL)
CHUNK_BYTES = 1 << 22


def url_of(path: Path | str) -> str:
    """The URL that a path stands for; "" if it stands for none."""
    match = _URL.fullmatch(str(path))
    return f"{match[1].lower()}://{match[2]}" if match else ""


def path_of(url: str) -> Path:
    """A path with the URL's name and suffix, without its query."""
    return Path(url.partition("://")[0] + ":", *PurePosixPath(unquote(urlsplit(url).path).strip("/") or "video").parts)


def listed(url: str) -> list[str]:
    """The videos below a URL, sorted; the URL itself if it names a video, or is an http(s) URL, which has no listing.

    Raises:
        MediaError: the URL cannot be listed, or there is no video below it.
        MissingError: the package for this kind of URL is not installed.
    """
    if url.startswith("http") or Path(urlsplit(url).path).suffix.lower() in VIDEO_SUFFIXES:
        return [url]
    files, scheme = _file_system(url), url.partition("://")[0]
    try:
        found = sorted(name for name in files.find(url) if Path(name).suffix.lower() in VIDEO_SUFFIXES)
    except Exception as error:  # each of fsspec's file systems has errors of its own
        raise MediaError(f"cannot be listed ({_said(error)})") from error
    if not found:
        raise MediaError(f"contains no video ({' '.join(VIDEO_SUFFIXES)})")
    return [f"{scheme}://{name}" for name in found]


@contextmanager
def fetched(job: Job) -> Iterator[Job]:
    """The job with its URLs fetched into a temporary folder, which is removed at the end; a local job unchanged.

    If a URL cannot be fetched, the job's `problem` says so.

    Raises:
        MissingError: the package for this kind of URL is not installed.
    """
    wanted = {"path": job.url, "reference": job.reference_url, "audio": job.audio_url}
    if not any(wanted.values()):
        yield job
        return
    with tempfile.TemporaryDirectory(prefix="lipscore-") as folder:
        local = job
        for field, url in wanted.items():
            try:
                if url and not local.problem:
                    local = replace(local, **{field: _fetch(url, Path(folder, field))})  # type: ignore[arg-type]
            except MediaError as error:
                what = "" if field == "path" else f"its {field} {url} "
                local = replace(local, problem=f"{what}{error}")
        yield local


def restored(record: Record, job: Job, local: Job) -> Record:
    """The record with the job's URLs in place of the temporary files' paths."""
    places = {str(local.path): job.url, str(local.reference): job.reference_url, str(local.audio): job.audio_url}
    score = record.score

    def named(text: str | None) -> Any:
        for place, url in places.items():
            if url and text is not None:
                text = text.replace(place, url)
        return text

    score = replace(score, video=named(score.video), reason=named(score.reason))
    if score.reference is not None:
        where = replace(score.reference, reference=named(score.reference.reference))
        score = replace(score, reference=replace(where, reason=named(where.reason)))
    if score.audio is not None:
        score = replace(score, audio=replace(score.audio, path=named(score.audio.path)))
    return replace(record, score=score)


def _fetch(url: str, folder: Path) -> Path:
    files = _file_system(url)
    folder.mkdir()
    target = folder / path_of(url).name
    try:
        with files.open(url, "rb") as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, CHUNK_BYTES)
    except Exception as error:  # each of fsspec's file systems has errors of its own
        raise MediaError(
            f"cannot be fetched ({_said(error)}); check that the URL is right and that you may read it"
        ) from error
    return target


def _file_system(url: str) -> Any:
    scheme = url.partition("://")[0]
    try:
        return import_module("fsspec").filesystem(scheme)
    except (ImportError, ValueError) as error:
        raise MissingError(f"{url}: {_said(error)}; pip install 'lipscore[remote]'") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
