"""The Makefile's `make eval`: what it scores, what it hands on, and how it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FAKE = """#!/bin/bash
printf '%s|' "$@" >>said; echo >>said
if [ "$1" = demo ]; then touch "$2/clip.mp4"; fi
exit "${FAKE_STATUS:-0}"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile in a folder of its own, with a lipscore that only writes down how it was called."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "eval" / "data" / "reference").mkdir(parents=True)
    (tmp_path / "eval" / "data" / ".gitkeep").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    program = tmp_path / ".venv" / "bin" / "lipscore"
    program.write_text(FAKE)
    program.chmod(0o755)
    (tmp_path / ".venv" / ".lipscore-installed").touch()
    return tmp_path


def make(
    checkout: Path, *arguments: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """(what make did, how lipscore was called)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | environment
    done = subprocess.run(["make", *arguments], cwd=checkout, capture_output=True, text=True, env=env)
    said = checkout / "said"
    return done, [line.split("|")[:-1] for line in said.read_text().splitlines()] if said.exists() else []


def test_make_eval_renders_the_demonstration_where_there_is_nothing_to_score(checkout: Path) -> None:
    done, calls = make(checkout, "eval")
    assert done.returncode == 0 and "rendering demonstration clips" in done.stderr
    assert calls[0] == ["demo", "eval/data"] and calls[1][-2:] == ["--", "eval/data"]
    _, calls = make(checkout, "eval")
    assert len(calls) == 3, "the second run finds the clips"


def test_make_eval_hands_on_its_options(checkout: Path) -> None:
    done, calls = make(
        checkout, "eval", "INPUT=my 'videos'", "REF=my refs", "MODEL=mini", "OUT=o", "PROTOCOL=joonson", "ARGS=--fast"
    )
    assert done.returncode == 0, done.stderr
    expected = "score --reference|my refs|--protocol|joonson|--model|mini|--out|o|--scores-file|all_scores.txt|--fast"
    assert calls == [[*expected.replace(" --ref", "|--ref").split("|"), "--", "my 'videos'"]]


def test_make_names_the_status_that_lipscore_ended_with(checkout: Path) -> None:
    done, _ = make(checkout, "eval", "INPUT=gone", FAKE_STATUS="3")
    assert done.returncode == 2 and "Error 3" in done.stderr  # make itself ends with 2 whatever failed
