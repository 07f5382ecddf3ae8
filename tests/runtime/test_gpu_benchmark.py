"""benchmarks/gpu.py on a CPU: its parts run, write what they found, and one that fails does not take the rest along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(shared: Path, out: Path, parts: str, *, seconds: float = 100) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--quick", "--out", str(out)]
    subprocess.run([*command, "--parts", parts, "--seconds", str(seconds)], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_the_checks_run_on_a_cpu(shared: Path, tmp_path: Path) -> None:
    found = run(shared, tmp_path / "gpu.json", "boxes,memory")
    assert found["boxes"]["fp32 S3FD boxes"]["passes"] is True
    assert found["memory"]["out_of_memory"]["halved"] is True
    assert found["memory"]["out_of_memory"]["largest_px"] < 0.1


@pytest.mark.slow
def test_a_part_that_has_no_time_is_stopped_and_said(shared: Path, tmp_path: Path) -> None:
    found = run(shared, tmp_path / "gpu.json", "correct", seconds=0)
    assert found["correct"]["status"].startswith("stopped after")


@pytest.mark.slow
def test_several_processes_score_their_shares(shared: Path, tmp_path: Path) -> None:
    found = run(shared, tmp_path / "gpu.json", "processes", seconds=300)["processes"]
    assert found["status"] == "ok" and found["2 processes"]["ok"] == found["2 processes"]["clips"] == 2
