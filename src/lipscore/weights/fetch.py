"""Find, fetch, verify and load the published weight files."""

from __future__ import annotations

import hashlib
import http.client
import os
import queue
import ssl
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch
from filelock import FileLock
from torch import Tensor

from lipscore.errors import UsageError, WeightsError
from lipscore.weights.catalogue import ON_REQUEST, PUBLISHED, Published, WeightFile

CONNECT_SECONDS = 4.0  # the time for one source to answer, and the longest stall of a running download
PATIENCE_SECONDS = 8.0  # the time without a byte, over all sources together; `--model auto` waits this long
CHUNK = 1 << 18  # bytes per read
ATTEMPTS = 5  # requests per source, as long as each one brings more of the file

Progress = Callable[[str, int, int], None]  # (file name, bytes so far, total bytes)


def _home_cache() -> Path:
    """~/.cache; for a user without a home (a container's --user) a folder in the temporary one."""
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Search:
    """Where to look for weight files: `folders` in order, then `cache`, which also receives downloads.

    offline: never open a connection. catalogue: file name -> the published file.
    """

    cache: Path
    folders: tuple[Path, ...] = ()
    offline: bool = False
    catalogue: Mapping[str, Published] = field(default_factory=lambda: PUBLISHED)

    @classmethod
    def from_environment(cls, weights_dir: Path | None = None, environment: Mapping[str, str] | None = None) -> Search:
        """weights_dir, then LIPSCORE_WEIGHTS, then the cache (below XDG_CACHE_HOME); offline by LIPSCORE_OFFLINE=1.

        Raises:
            WeightsError: weights_dir or LIPSCORE_WEIGHTS is not a folder.
        """
        env = os.environ if environment is None else environment
        named = (("weights_dir", weights_dir), ("LIPSCORE_WEIGHTS", env.get("LIPSCORE_WEIGHTS")))
        folders = []
        for option, value in named:
            if value:
                folder = Path(os.path.expanduser(value))  # noqa: PTH111 - Path's fails where there is no home
                if not folder.is_dir():
                    raise WeightsError.about(
                        option, folder, f"not a folder; name one that contains {' or '.join(PUBLISHED)}"
                    )
                folders.append(folder)
        # The XDG specification says to ignore a relative XDG_CACHE_HOME.
        base = Path(env.get("XDG_CACHE_HOME", ""))
        cache = (base if base.is_absolute() else _home_cache()) / "lipscore"
        return cls(cache, tuple(folders), env.get("LIPSCORE_OFFLINE", "") not in ("", "0"))

    def published(self, name: str) -> Published:
        """The published file of a name, from the catalogue or from the files that are fetched on request.

        Raises:
            UsageError: no weight file has that name.
        """
        known = {**ON_REQUEST, **self.catalogue}
        if name not in known:
            raise UsageError(f"{name}: unknown weight file; use one of {', '.join([*self.catalogue, *ON_REQUEST])}")
        return known[name]


def find(name: str, search: Search) -> WeightFile | None:
    """The first file of that name in the search order, with its hash; None if no folder has one.

    The first file counts even if it is not the published one: a user's own file is never skipped silently, and
    `load_state_dict` refuses it.

    Raises:
        UsageError: no weight file has that name.
        WeightsError: the file exists but cannot be read.
    """
    published = search.published(name)
    for folder in (*search.folders, search.cache):
        if (folder / name).is_file():
            return _examine(folder / name, published)
    return None


def listing(search: Search) -> list[tuple[Published, WeightFile | None]]:
    """Every published file with the result of `find`, for `lipscore weights list` and `verify`."""
    return [(published, find(name, search)) for name, published in search.catalogue.items()]


def on_request(search: Search) -> list[tuple[Published, WeightFile | None]]:
    """`listing` for the files that no score needs, and that are fetched only if they are named."""
    return [(published, find(name, search)) for name, published in ON_REQUEST.items()]


def load_state_dict(weight_file: WeightFile, search: Search, allow_unverified: bool = False) -> dict[str, Tensor]:
    """A weight file's tensors by name, on the CPU.

    The file is hashed again through the handle that it is loaded from, so a file that was replaced in the meantime is
    noticed.

    Raises:
        WeightsError: the file is not the published one (and allow_unverified is False), or holds no tensors.
    """
    published = search.published(weight_file.name)
    try:
        with weight_file.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            return _tensors(file, weight_file.path, found, published, allow_unverified)
    except OSError as error:
        raise WeightsError(f"{weight_file.path} cannot be read: {error.strerror}") from error


def _tensors(
    file: IO[bytes], path: Path, found: str, published: Published, allow_unverified: bool
) -> dict[str, Tensor]:
    if found != published.sha256 and not allow_unverified:
        raise WeightsError(
            f"{path} is not the published {published.name}: its SHA-256 is {found}, "
            f"the published one is {published.sha256}. Delete it and run `lipscore weights fetch`, "
            f"or use it nevertheless with --allow-unverified (scores are then marked not comparable)."
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch may raise anything on a malformed file
        raise WeightsError(f"{path}: torch cannot load it as a state dict: {error}") from error
    if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
        raise WeightsError(f"{path}: not a state dict (tensors by name)")
    return state


def by_hand(published: Published, search: Search) -> str:
    """Instructions for installing a file by hand: URL, size, SHA-256, and where to put it."""
    return (
        f"By hand: get {published.urls[0]} ({published.size:,} bytes, SHA-256 {published.sha256}) "
        f"and put it at {search.cache / published.name}, or into a folder that --weights-dir or LIPSCORE_WEIGHTS names."
    )


def fetch(name: str, search: Search, progress: Progress | None = None) -> WeightFile:
    """Download a weight file into the cache, unless the published one is there already.

    Sources are tried in order. A broken download is resumed from the next source, or by the next call. The partial
    file's name contains the expected hash, a lock keeps other processes waiting, and the file gets its final name only
    when its hash is right.

    Raises:
        UsageError: no weight file has that name.
        WeightsError: `search` is offline, the cache cannot be written, or no source gave the published file; the
            message says what each source answered, and how to install the file by hand.
    """
    published = search.published(name)
    target = search.cache / name
    if search.offline:
        raise WeightsError(f"{name} is not fetched: LIPSCORE_OFFLINE is set. {by_hand(published, search)}")
    try:
        search.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(search.cache / f".{name}.lock"):
            if target.is_file() and (cached := _examine(target, published)).verified:
                return cached
            partial = search.cache / f".{name}.{published.sha256[:12]}.part"
            problems = _download(published, partial, progress)
            if problems:
                tried = "".join(f"  {problem}\n" for problem in problems)
                raise WeightsError(f"{name} could not be fetched. Tried:\n{tried}{by_hand(published, search)}")
            partial.replace(target)
    except OSError as error:
        raise WeightsError(
            f"{name}: the cache {search.cache} cannot be written ({error}); set XDG_CACHE_HOME to a writable folder. "
            f"{by_hand(published, search)}"
        ) from error
    return WeightFile(name, target, published.sha256, verified=True)


def obtain(name: str, search: Search, progress: Progress | None = None) -> WeightFile:
    """`find` the file, or else `fetch` it; raises what they raise."""
    return find(name, search) or fetch(name, search, progress)


def _examine(path: Path, published: Published) -> WeightFile:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    return WeightFile(published.name, path, found, verified=found == published.sha256)


def _download(published: Published, partial: Path, progress: Progress | None) -> list[str]:
    """Fill the partial file from the sources; returns [] on success, else one problem per source."""
    problems = []
    patience = PATIENCE_SECONDS
    for url in published.urls:
        for _ in range(ATTEMPTS):
            before, started = _size(partial), time.monotonic()
            problem = _continue(url, published, partial, progress, min(CONNECT_SECONDS, patience))
            if problem is None:
                found = _examine(partial, published)
                if found.verified:
                    return []
                problem = f"SHA-256 {found.sha256} instead of {published.sha256}"
                partial.unlink()
                if before:  # the part from an earlier download may have been wrong: try once more from the start
                    continue
            if _size(partial) <= before:
                patience -= time.monotonic() - started
                break
        problems.append(f"{url}: {problem}")
        if patience <= 0:
            break
    return problems


def _continue(url: str, published: Published, partial: Path, progress: Progress | None, seconds: float) -> str | None:
    """Append the missing bytes; returns None when the partial file has the published size, else the problem.

    If a source sends a complete file of another size, that file is kept, so that the message can give its hash.
    """
    have = _size(partial)
    if have >= published.size:
        return None
    request = urllib.request.Request(url, headers={"User-Agent": "lipscore"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with _open(request, seconds) as response:
            resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            have = have if resumed else 0
            announced = response.headers.get("Content-Length")
            with partial.open("ab" if resumed else "wb") as file:
                while have <= published.size and (chunk := response.read(CHUNK)):
                    file.write(chunk)
                    have += len(chunk)
                    if progress:
                        progress(published.name, min(have, published.size), published.size)
                file.flush()
                os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the partial file does not fit this source's file
            partial.unlink(missing_ok=True)
        return f"HTTP {error.code} {error.reason}"
    except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
        return str(getattr(error, "reason", "") or error or type(error).__name__)
    if have > published.size:
        partial.unlink()
        return f"more than the {published.size} bytes of the published file"
    complete = have == published.size or (not resumed and announced == str(have))
    return None if complete else f"broke off after {have} of {published.size} bytes"


def _open(request: urllib.request.Request, seconds: float) -> http.client.HTTPResponse:
    """urlopen with a total time limit; its own timeout does not cover name resolution and several addresses."""
    answers: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=seconds))
        except Exception as error:  # handed to the waiting thread
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
