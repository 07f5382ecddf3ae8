"""Appending whole lines to files that several runs share.

A write is one os.write under a lock on a file opened for appending, followed by fsync: a killed run leaves whole lines,
and two runs at once interleave whole lines. The file itself is never replaced, because a file that is mounted into a
container on its own cannot be (EBUSY).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from lipscore.errors import MissingError
from lipscore.media.aside import unwritable

TAIL_BYTES = 1 << 16


def append_whole(path: Path, data: bytes, keep_last: Callable[[bytes], bool] | None = None) -> None:
    """Append data, which ends in a newline, in one write.

    Args:
        keep_last: asked about a last line without its newline (someone was killed, or an editor left it so): True ends
            the line, False takes it away. Default: it is kept.

    Raises:
        MissingError: the file cannot be written; the message says why and what to do. Nothing of data is then in it.
    """
    with _opened(path) as descriptor:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        size = _end_last_line(descriptor, keep_last) if regular else 0
        written = os.write(descriptor, data)
        if written < len(data):
            if regular:
                os.ftruncate(descriptor, size)
            raise MissingError(f"{path}: the disk is full; make room and run again, it goes on from here")
        if regular:
            os.fsync(descriptor)


def check_appendable(path: Path) -> None:
    """Make the file if it is not there yet, and see that it can be appended to.

    Raises:
        MissingError: it cannot.
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
        # some network file systems know no locks: appending in one write is all there is then
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        os.close(descriptor)


def _end_last_line(descriptor: int, keep_last: Callable[[bytes], bool] | None) -> int:
    """See that the file ends in a newline; returns its size."""
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
