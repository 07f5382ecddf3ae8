"""lipscore on a GPU: correctness, speed against the peer, where the time goes, memory; one command, JSON, a table last.

    python benchmarks/gpu.py [--device cuda] [--out gpu.json] [--seconds 440] [--parts correct,steady] [--quick]

It needs the conformance kit and its clips (LIPSCORE_SHARED, or ../shared); the comparison needs syncnet-python 0.2.3 on
the path of this Python. Each part is a process of its own with a time limit, because a GPU that failed stays failed in
its process; what a part had measured until its limit is kept. Parts that measure no time run side by side.
--quick takes one clip and the smallest sizes, so that `--device cpu --quick` can be tested on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gpu_checks
import gpu_processes
import gpu_speed
from gpu_common import Bench, machine, make_weights

Part = Callable[[Bench], None]
PARTS: dict[str, tuple[Part, float]] = {  # name -> what it does, its limit in seconds
    "correct": (gpu_checks.correct, 100),
    "memory": (gpu_checks.memory, 80),
    "metrics": (gpu_checks.metrics, 60),
    "tests": (gpu_checks.tests, 100),
    "boxes": (gpu_checks.boxes, 30),
    "steady": (gpu_speed.steady, 85),
    "peer": (gpu_speed.peer, 170),
    "whole": (gpu_speed.whole, 80),
    "steady_fast": (gpu_speed.steady_fast, 60),
    "networks": (gpu_speed.networks, 60),
    "profile": (gpu_speed.profile, 60),
    "processes": (gpu_processes.processes, 170),  # last: it gets the time that is left, or `--parts processes` alone
}
BESIDE = ("correct", "memory", "metrics", "tests")  # measure no time, and run at once


def main() -> None:
    """Run the parts, write the JSON after each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--seconds", type=float, default=440, help="for all parts together")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="one clip, the smallest sizes")
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        bench = Bench(arguments.device, arguments.quick, arguments.weights, arguments.out)
        PARTS[arguments.child][0](bench)
        return
    chosen = [name for name in PARTS if name in arguments.parts.split(",")]
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **machine(arguments.device)}
    with tempfile.TemporaryDirectory(prefix="lipscore-gpu-") as made:
        end = time.monotonic() + arguments.seconds
        make_weights(Path(made))
        groups = [[name for name in chosen if name in BESIDE], *([name] for name in chosen if name not in BESIDE)]
        for group in filter(None, groups):
            start = time.monotonic()
            started = [_started(name, arguments, Path(made)) for name in group]
            for name, process in zip(group, started, strict=True):
                result[name] = _ended(name, process, Path(made), start, end)
            arguments.out.write_text(json.dumps(result, indent=1))
    print_table(result)


def _started(name: str, arguments: argparse.Namespace, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--child", name, "--device", arguments.device, "--weights", str(folder)]
    command += ["--out", str(folder / f"{name}.json"), *(["--quick"] if arguments.quick else [])]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def _ended(name: str, process: subprocess.Popen[bytes], folder: Path, start: float, end: float) -> dict[str, Any]:
    """What a part has measured, when it is done or its time is up."""
    try:
        code = process.wait(max(1.0, min(start + PARTS[name][1], end) - time.monotonic()))
        status = "ok" if code == 0 else f"failed with {code}"
    except subprocess.TimeoutExpired:
        status = f"stopped after {time.monotonic() - start:.0f} s"
        os.killpg(process.pid, 9)
        process.wait()
    written = folder / f"{name}.json"
    found: dict[str, Any] = json.loads(written.read_text()) if written.exists() else {}
    found |= {"status": status, "took_s": round(time.monotonic() - start, 1)}
    if status != "ok":
        found["log"] = (folder / f"{name}.log").read_text(errors="replace")[-3000:]
    return found


def print_table(result: dict[str, Any]) -> None:
    """A line per number."""
    for name, value in result.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
            continue
        print(f"== {name}: {value.get('status', '')} in {value.get('took_s')} s")
        for key, item in value.items():
            if key not in ("status", "took_s"):
                print(
                    f"   {key}: {json.dumps(item) if not isinstance(item, str) else item}"[
                        : 1500 if key == "log" else 700
                    ]
                )


if __name__ == "__main__":
    main()
