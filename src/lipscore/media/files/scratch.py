"""Temporary folders: each has a lock while it is in use, and the next run removes those without a lock.

A killed process cannot remove its folder. While a folder is in use, its file `.owner` is locked (flock); a dead process
holds no lock. On a file system without locks, only the owner removes a folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from lipscore.errors import MissingError

OWNER = ".owner"
PREFIX = "lipscore-"


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder for temporary files, removed when the block ends; first removes what dead runs left, once a process.

    Raises:
        MissingError: the folder cannot be created, or the disk is full.
    """
    try:
        place = Path(tempfile.gettempdir())
    except OSError as error:
        raise MissingError(f"no folder for temporary files ({error.strerror}); set TMPDIR to one") from error
    _sweep_once(place)
    with locked_folder(place, PREFIX) as folder:
        yield folder


@contextmanager
def locked_folder(place: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `place`, locked while the block runs.

    Raises:
        MissingError: the folder cannot be created.
    """
    try:
        folder, owner = _made(place, prefix)
    except OSError as error:
        raise MissingError(
            f"{place}: no temporary folder can be made ({error.strerror}); make room, or set TMPDIR to another place"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


def sweep(place: Path, prefix: str = PREFIX) -> list[Path]:
    """Remove the folders in `place` that this user's dead processes left; returns them."""
    swept = []
    for folder in place.glob(f"{prefix}*"):
        with suppress(OSError):  # gone meanwhile, or another user's
            if folder.stat().st_uid != os.getuid():
                continue
            owner = os.open(folder / OWNER, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                swept.append(folder)
            finally:
                os.close(owner)
    return swept


@lru_cache
def _sweep_once(place: Path) -> None:
    sweep(place)


def _made(place: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        try:
            owner = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with suppress(OSError):  # some network file systems know no locks
            fcntl.flock(owner, fcntl.LOCK_EX)
        if os.fstat(owner).st_nlink:  # a sweep between the two calls takes the file away
            with suppress(OSError):  # for people; the lock alone counts
                os.write(owner, f"{os.getpid()} on {socket.gethostname()}\n".encode())
            return folder, owner
        os.close(owner)
