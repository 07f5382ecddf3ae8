"""Text in CSV files that a spreadsheet may open: no name becomes a formula.

A spreadsheet runs text that begins with = + - @ or a control character. Such a text gets an apostrophe in front, as
OWASP's page on CSV injection advises. A text that already looks like one with an added apostrophe gets one, too.
"""

from __future__ import annotations

import re
from typing import Any

_RUNS = re.compile(r"'*[=+\-@\t\r\n]")
_MARKED = re.compile(r"'+[=+\-@\t\r\n]")


def cell(value: Any) -> Any:
    """A value for csv.writer: text that a spreadsheet would run gets an apostrophe in front; bool is true or false.

    >>> cell("=1+1"), cell("-dash"), cell(-1.5), cell(True), cell("it's")
    ("'=1+1", "'-dash", -1.5, 'true', "it's")
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and _RUNS.match(value) else value


def text_of(written: str) -> str:
    """The original of a text that `cell` wrote.

    >>> text_of(cell("=1+1")), text_of("'tis")
    ('=1+1', "'tis")
    """
    return written[1:] if _MARKED.match(written) else written
