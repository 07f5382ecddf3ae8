"""What commands print: results on standard output, everything else on standard error.

Text from outside (names, paths, tags) cannot control a terminal: control characters are printed as escapes. With
--quiet, commands print only errors, warnings and the output of --json.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from shutil import get_terminal_size
from typing import IO

from lipscore.errors import MissingError

# C0 and C1 controls but for tab and newline, line separators, marks that turn the reading direction, lone surrogates
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_state = {"quiet": False}  # of the process: progress comes from several threads


@contextmanager
def quieted(quiet: bool) -> Iterator[None]:
    """Print only errors, warnings and JSON while in the block."""
    before = _state["quiet"]
    _state["quiet"] = quiet or before
    try:
        yield
    finally:
        _state["quiet"] = before


def is_quiet() -> bool:
    """Whether only errors, warnings and JSON are printed."""
    return _state["quiet"]


def width_of(stream: IO[str]) -> int | None:
    """The width in cells if the stream is a terminal; None otherwise, where lines are not broken."""
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):
        terminal = False
    return get_terminal_size().columns if terminal else None


def plain(stream: IO[str]) -> bool:
    """Whether to omit colour and bars: NO_COLOR is set (https://no-color.org), or the stream is not a terminal."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or width_of(stream) is None


def visible(text: str) -> str:
    r"""The text with its control characters as escapes, which JSON takes too.

    >>> print(visible("a\x1b[31mb"))
    a\u001b[31mb
    """
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str, *, painted: bool = False) -> None:
    """Print an error, a warning or a note on standard error, also with --quiet.

    Args:
        painted: whether the text contains colour codes; its parts from outside must then have passed visible().
    """
    with suppress(OSError, ValueError):  # a full disk or a closed stream behind it is no reason to stop scoring
        print(_encodable(text if painted else visible(text), sys.stderr), file=sys.stderr, flush=True)


def tell(text: str, *, painted: bool = False) -> None:
    """Print progress on standard error; nothing with --quiet."""
    if not is_quiet():
        say(text, painted=painted)


def show(text: str, *, painted: bool = False) -> None:
    """Print a result for a reader on standard output; nothing with --quiet."""
    if not is_quiet():
        emit(text, painted=painted)


def emit(text: str, *, painted: bool = False) -> None:
    """Print a result for a program (--json) on standard output, also with --quiet.

    Raises:
        MissingError: it cannot be written.
        BrokenPipeError: its reader has closed it.
    """
    try:
        print(_encodable(text if painted else visible(text), sys.stdout), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):  # what is left in its buffer would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise MissingError(f"standard output cannot be written ({error.strerror})") from error


def _encodable(text: str, stream: IO[str]) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
