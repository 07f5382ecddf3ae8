"""Write files under a temporary name and rename them when they are finished, so that they are complete or absent."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lipscore.errors import MissingError
from lipscore.media.files.scratch import locked_folder, sweep

PREFIX = ".lipscore-"


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """A path in the target's folder and with its suffix, which becomes the target when the block ends without an error.

    Readers see the old file or the new one, never a part. A block that writes nothing leaves the target unchanged. The
    target's folder is created if necessary.

    Raises:
        MissingError: the target cannot be written; the message says why and what to do.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, PREFIX)
        with locked_folder(target.parent, PREFIX) as folder:
            aside = folder / f"out{target.suffix}"
            yield aside
            if aside.exists():
                aside.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error


def replace_whole(path: Path, data: bytes) -> None:
    """Write a file's bytes, aside first.

    Raises:
        MissingError: as written_aside.
    """
    with written_aside(path) as aside:
        aside.write_bytes(data)


def unwritable(path: Path, error: OSError) -> MissingError:
    """The error for a file that cannot be written; the message says why and what to do."""
    if error.errno == errno.EISDIR:
        return MissingError(
            f"{path}: is a directory, not a file; remove it and make the file "
            f"(rmdir {path.name} && touch {path.name}): Docker makes a directory if the file to mount does not exist"
        )
    if error.errno == errno.EROFS:
        return MissingError(f"{path}: its file system is read-only; choose another place, or mount it writable")
    if error.errno in (errno.EACCES, errno.EPERM):
        return MissingError(
            f"{path}: not writable for user {os.getuid()}; change its owner or mode, or choose another place"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingError(f"{path}: the disk is full; make room and run again, it continues from here")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return MissingError(f"{path}: a part of its path is a file, not a folder; choose another place")
    return MissingError(f"{path}: cannot be written ({error.strerror}); choose another place")
