"""Append whole lines to files that several runs share.

Each write is one os.write under a lock, to a file opened for appending, followed by fsync. A killed run therefore
leaves whole lines, and concurrent runs interleave whole lines. The file is never replaced, because a file that is
mounted into a container by itself cannot be replaced (EBUSY).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from lipscore.errors import MissingError
from lipscore.media.files.aside import unwritable

TAIL_BYTES = 1 << 16


def append_whole(path: Path, data: bytes, keep_last: Callable[[bytes], bool] | None = None) -> None:
    """Append data in one write.

    Args:
        data: ends in a newline.
        keep_last: decides about an existing last line without a newline, which a killed run or an editor may leave:
            True completes the line, False removes it. Default: complete it.

    Raises:
        MissingError: the file cannot be written, and contains no part of data; the message says why and what to do.
    """
    with _opened(path) as descriptor:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        size = _end_last_line(descriptor, keep_last) if regular else 0
        written = os.write(descriptor, data)
        if written < len(data):
            if regular:
                os.ftruncate(descriptor, size)
            raise MissingError(f"{path}: the disk is full; make room and run the same command, it continues from here")
        if regular:
            os.fsync(descriptor)


def check_appendable(path: Path) -> None:
    """Create the file if necessary, and check that it can be appended to.

    Raises:
        MissingError: the file cannot be created or written.
    """
    with _opened(path):
        pass


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        # some network file systems have no locks; then a single write has to suffice
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        os.close(descriptor)


def _end_last_line(descriptor: int, keep_last: Callable[[bytes], bool] | None) -> int:
    """Make the file end in a newline; returns its size."""
    size = os.fstat(descriptor).st_size
    start, tail = size, b""
    while start > 0 and b"\n" not in tail:
        step = min(TAIL_BYTES, start)
        start -= step
        tail = os.pread(descriptor, step, start) + tail
    last = tail[tail.rfind(b"\n") + 1 :]
    if not last:
        return size
    if keep_last is not None and not keep_last(last):
        os.ftruncate(descriptor, size - len(last))
        return size - len(last)
    os.write(descriptor, b"\n")
    return size + 1
