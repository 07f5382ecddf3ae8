"""What goes into the wheel and the sdist."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_every_module_goes_in(target: str) -> None:
    """Below src they are named one by one, so a new one is easily forgotten; the checkout works without it."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "src" / "lipscore").glob("*.py")}
    assert modules and modules <= set(build["targets"][target]["only-include"])
