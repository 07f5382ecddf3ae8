"""Text in CSV files that a spreadsheet may open: no name becomes a formula.

A spreadsheet runs what begins with = + - @ or a control character. Such a text gets an apostrophe before it, which
OWASP's page on CSV injection advises, and so does one that would be taken for a text with an apostrophe before it.
"""

from __future__ import annotations

import re
from typing import Any

_RUNS = re.compile(r"'*[=+\-@\t\r\n]")
_MARKED = re.compile(r"'+[=+\-@\t\r\n]")


def cell(value: Any) -> Any:
    """A value for csv.writer: text that a spreadsheet would run with an apostrophe before it, bool as true or false.

    >>> cell("=1+1"), cell("-dash"), cell(-1.5), cell(True), cell("it's")
    ("'=1+1", "'-dash", -1.5, 'true', "it's")
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and _RUNS.match(value) else value


def text_of(written: str) -> str:
    """The text that `cell` wrote.

    >>> text_of(cell("=1+1")), text_of("'tis")
    ('=1+1', "'tis")
    """
    return written[1:] if _MARKED.match(written) else written
