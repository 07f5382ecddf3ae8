"""The part of gpu.py that asks whether one process is the limit: the steady state on several that share the GPU.

Each process loads the networks and scores its share of the clips on its share of the cores. Where several are faster
than one, the threads of one process are in each other's way; where they are not, decoding is the limit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from gpu_common import ONE_FACE, Bench, cpu_seconds
from gpu_speed import PROTOCOL, TIMES

from lipscore import load_models, score_video
from lipscore.pool import available_cores

COUNTS = (1, 2, 4, 8)


def processes(bench: Bench) -> None:
    """Seconds a clip, cores and memory of the GPU for 1, 2, 4 and 8 processes with the same cores together."""
    jobs = list(bench.clips().values()) * (2 if bench.quick else TIMES)
    for count in (2,) if bench.quick else COUNTS:
        with bench.attempt(f"{count} processes"):
            bench.note(**{f"{count} processes": _together(jobs, count, bench)})


def _together(jobs: list[Path], count: int, bench: Bench) -> dict[str, Any]:
    """Start the processes, let them warm up, then time them all."""
    longest_first = sorted(jobs, key=lambda path: path.stat().st_size, reverse=True)
    cores = max(1, available_cores() // count)
    started = []
    for number in range(count):
        order = {
            "device": bench.device,
            "weights": str(bench.weights / ONE_FACE),
            "cores": cores,
            "jobs": [str(path) for path in longest_first[number::count]],
        }
        command = [sys.executable, __file__, json.dumps(order)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    try:
        for process in started:
            _line(process)
        free = torch.cuda.mem_get_info()[0] if bench.gpu else 0
        start = time.perf_counter()
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ends = [json.loads(_line(process)) for process in started]
        wall = time.perf_counter() - start
    finally:
        for process in started:
            process.kill()
            process.wait()
    cpu = sum(end["cpu_s"] for end in ends)
    return {
        "clips": len(jobs),
        "ok": sum(end["ok"] for end in ends),
        "s_a_clip": wall / len(jobs),
        "cores_busy": cpu / wall,
        "cpu_s_a_clip": cpu / len(jobs),
        "gpu_reserved_MB": sum(end["reserved_MB"] for end in ends),
        "gpu_free_MB_after_warm_up": free / 1e6,
    }


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a process ended with {process.wait()} before it answered")
    return line


def _share() -> None:
    """One of the processes: load, score a clip, say so, wait for a line, score the share, say what it took."""
    order = json.loads(sys.argv[1])
    models = load_models(
        "vgg",
        PROTOCOL,
        weights_dir=Path(order["weights"]),
        allow_unverified=True,
        device=order["device"],
        cores=order["cores"],
    )
    jobs = [Path(job) for job in order["jobs"]]
    score_video(jobs[-1], PROTOCOL, models)
    print("ready", flush=True)
    sys.stdin.readline()
    before = sum(cpu_seconds())
    with ThreadPoolExecutor(order["cores"]) as pool:
        records = list(pool.map(lambda job: score_video(job, PROTOCOL, models), jobs))
    on_gpu = order["device"].startswith("cuda")
    print(
        json.dumps(
            {
                "ok": sum(record.status == "ok" for record in records),
                "cpu_s": sum(cpu_seconds()) - before,
                "reserved_MB": torch.cuda.max_memory_reserved() / 1e6 if on_gpu else 0.0,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    _share()
