"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import lipscore

HOME = Path(lipscore.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(["lipscore", *path.relative_to(HOME).with_suffix("").parts])
    for folder in (HOME, *(path for path in HOME.iterdir() if path.is_dir()))  # rglob alone follows no links
    for path in (folder.glob("*.py") if folder == HOME else folder.rglob("*.py"))
    if ">>>" in path.read_text()
)


def test_there_are_examples() -> None:
    assert len(WITH_EXAMPLES) >= 4


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module.removesuffix(".__init__")), verbose=False)
    assert found.attempted > 0
    assert found.failed == 0, "doctest prints the difference"
