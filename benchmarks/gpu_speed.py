"""The parts of gpu.py that measure time: the networks alone, one clip by stages, many clips, the peer."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from gpu_common import ONE_FACE, Bench, cpu_seconds, timed
from memory import resident_mb

from lipscore import Models, load_models, score_video
from lipscore.device import arithmetic
from lipscore.faces.s3fd import detector as detector_module
from lipscore.faces.s3fd.detector import PLAIN, S3fdDetector
from lipscore.media import ffmpeg
from lipscore.pool import available_cores
from lipscore.runtime import PRECISIONS
from lipscore.syncnet.models.v2 import SyncNetEmbedder
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import VideoScore

PROTOCOL = PROTOCOLS["mochabench"]  # the peer's
TIMES = 8  # each clip, in the steady state
PEER = """
import json, sys, tempfile, time
start = time.perf_counter()
from syncnet_python.syncnet_pipeline import SyncNetPipeline
device, weights, *videos = sys.argv[1:]
names = {"s3fd_weights": weights + "/sfd_face.pth", "syncnet_weights": weights + "/syncnet_v2.model"}
pipeline = SyncNetPipeline(names, device=device)
print("RESULT " + json.dumps(["load", time.perf_counter() - start, 0, 0]), flush=True)
for video in videos:
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        _, _, _, most, least, _, _ = pipeline.inference(video_path=video, audio_path=None, cache_dir=cache)
    print("RESULT " + json.dumps([video, time.perf_counter() - start, least, most]), flush=True)
"""


def networks(bench: Bench) -> None:
    """Milliseconds a frame of S3FD and a window of SyncNet on the device, by precision and batch, and their memory."""
    state = torch.load(bench.weights / ONE_FACE / "sfd_face.pth", weights_only=True)
    lips = torch.load(bench.weights / ONE_FACE / "syncnet_v2.model", weights_only=True)
    device = torch.device(bench.device)
    bench.note(unit="ms a frame (S3FD: height x width x batch), ms a window (SyncNet), [ms, peak MB]")
    ways = {"fp32": PLAIN, "fp32, cuDNN alone": (), "tf32": PLAIN, "fp16": PLAIN} if bench.gpu else {"fp32": PLAIN}
    for name, plain in ways.items():
        precision = name.split(",")[0]
        dtype = PRECISIONS[precision]
        tf32 = precision == "tf32"
        with patch.object(detector_module, "PLAIN", plain):
            detector = S3fdDetector(dict(state), device, dtype=dtype, tf32=tf32)
        rates: dict[str, Any] = {}
        sizes = ((244, 132, (1, 4, 16, 32)), (480, 270, (1, 2, 4, 8))) if not bench.quick else ((244, 132, (1,)),)
        for height, width, batches in sizes:
            for n in batches:
                with bench.attempt(f"{name} {height}x{width}x{n}"), torch.inference_mode(), arithmetic(device, tf32):
                    x = detector._place(torch.rand(n, 3, height, width, device=device).mul_(255))
                    rates[f"{height}x{width}x{n}"] = _rate(partial(detector.network, x), n, bench)
        with bench.attempt(f"{name} SyncNet"), torch.inference_mode(), arithmetic(device, tf32):
            embedder = SyncNetEmbedder(dict(lips), device, dtype=dtype, tf32=tf32)
            n = 4 if bench.quick else 32
            y = torch.rand(n, 15, 224, 224, device=device).mul_(255).to(dtype)
            y = y.contiguous(memory_format=torch.channels_last)
            rates["SyncNet"] = _rate(partial(embedder._net.lip, y), n, bench)
        bench.note(**{name: rates})


def _rate(task: Callable[[], object], n: int, bench: Bench) -> list[float]:
    if bench.gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(task, bench, least_s=0.15)
    return [1000 * seconds / n, torch.cuda.max_memory_allocated() / 1e6 if bench.gpu else 0.0]


def _models(bench: Bench, *, fast: bool = False) -> Models:
    return load_models(
        "vgg", PROTOCOL, weights_dir=bench.weights / ONE_FACE, allow_unverified=True, device=bench.device, fast=fast
    )


def profile(bench: Bench) -> None:
    """One clip alone by stages; then several at once under torch's profiler: how busy the GPU is, and with what."""
    models = _models(bench)
    clips = bench.clips()
    for name in ("closeup_doctor", "phone_1080p"):
        if name in clips:
            score_video(clips[name], PROTOCOL, models)
            before = cpu_seconds()
            record = score_video(clips[name], PROTOCOL, models)
            own, children = (now - then for now, then in zip(cpu_seconds(), before, strict=True))
            stages = {**record.seconds, "CPU of this process": own, "CPU of FFmpeg": children}
            bench.note(**{f"{name} alone, {record.n_frames} frames": stages})
    jobs = list(clips.values())
    activities = [torch.profiler.ProfilerActivity.CUDA] if bench.gpu else [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profiler, _gil_waits() as waits:
        start = time.perf_counter()
        _scored(jobs, models, available_cores())
        bench.synchronize()
        wall = time.perf_counter() - start
    bench.note(profiled_clips=len(jobs), profiled_wall_s=wall, thread_wakes_late_ms=_quantiles(waits))
    if bench.gpu:
        spans, by_name = [], Counter[str]()
        for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
            if event.device_type() == torch.autograd.DeviceType.CUDA:
                spans.append((event.start_ns(), event.end_ns()))
                by_name[event.name()[:70]] += event.duration_ns()
        bench.note(gpu_busy=_union(spans) / 1e9 / wall, kernels=len(spans))
        bench.note(gpu_seconds_by_kernel={name: ns / 1e9 for name, ns in by_name.most_common(14)})


def _union(spans: list[tuple[int, int]]) -> int:
    """The length of what the spans cover together."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


@contextmanager
def _beside(look: Callable[[], None], pause_s: float) -> Iterator[None]:
    """Calls `look` again and again on a thread of its own while the block runs."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(pause_s):
            look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _gil_waits() -> Iterator[list[float]]:
    """How late a thread wakes that sleeps a millisecond at a time, in ms: what it waits for the interpreter."""
    late: list[float] = []

    def sleep() -> None:
        start = time.perf_counter()
        time.sleep(0.001)
        late.append(1000 * (time.perf_counter() - start) - 1)

    with _beside(sleep, 0):
        yield late


def _quantiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) for q in (50, 90, 99)} if values else {}


def _scored(videos: Sequence[Path], models: Models, workers: int) -> list[VideoScore]:
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda video: score_video(video, PROTOCOL, models), videos))


def steady(bench: Bench) -> None:
    """Each clip TIMES times, exact, models loaded once."""
    _steady(bench, fast=False)


def steady_fast(bench: Bench) -> None:
    """The same with --fast."""
    _steady(bench, fast=True)


def _steady(bench: Bench, *, fast: bool) -> None:
    models = _models(bench, fast=fast)
    clips = list(bench.clips().values())
    workers = 1 if bench.quick else available_cores()
    _scored(clips * (1 if bench.quick else 2), models, workers)
    times = 1 if bench.quick else TIMES
    numbers, records = _measured(clips * times, models, workers, bench)
    bench.note(**{f"{workers} at a time": numbers})
    bench.note(scores={record.name: [record.lse_d, record.lse_c] for record in records})
    if not fast and not bench.quick:
        more = workers * 3 // 2
        bench.note(**{f"{more} at a time": _measured(clips * 4, models, more, bench)[0]})


def _measured(jobs: list[Path], models: Models, workers: int, bench: Bench) -> tuple[dict[str, Any], list[VideoScore]]:
    """Wall time, cores, memory and the GPU's load while the jobs are scored, and their records.

    The longest first, so that no core waits for a long one at the end: a steady state has no end.
    """
    jobs = sorted(jobs, key=lambda path: path.stat().st_size, reverse=True)
    if bench.gpu:
        torch.cuda.reset_peak_memory_stats()
    usage, before, start = resource.getrusage(resource.RUSAGE_SELF), cpu_seconds(), time.perf_counter()
    with _watched(bench) as seen:
        records = _scored(jobs, models, workers)
        bench.synchronize()
    wall = time.perf_counter() - start
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - usage.ru_stime
    own, children = (now - then for now, then in zip(cpu_seconds(), before, strict=True))
    stages: Counter[str] = Counter()
    for record in records:
        stages.update(record.seconds)
    n = len(records)
    numbers = {
        "clips": n,
        "ok": sum(record.status == "ok" for record in records),
        "wall_s": wall,
        "s_a_clip": wall / n,
        "frames_per_s": sum(record.n_frames or 0 for record in records) / wall,
        "cores_busy": (own + children) / wall,
        "cpu_s_a_clip": {"own": own / n, "of it system": system / n, "ffmpeg": children / n},
        "stage_s_a_clip": {name: seconds / n for name, seconds in stages.items()},
        "host_MB": max(seen["host_MB"], default=0.0),
        "gpu_busy_nvml": float(np.mean(seen["gpu"])) / 100 if seen["gpu"] else None,
        **_device_peak(bench),
    }
    return numbers, records


def _device_peak(bench: Bench) -> dict[str, float]:
    if not bench.gpu:
        return {}
    return {
        "gpu_allocated_MB": torch.cuda.max_memory_allocated() / 1e6,
        "gpu_reserved_MB": torch.cuda.max_memory_reserved() / 1e6,
    }


@contextmanager
def _watched(bench: Bench) -> Iterator[dict[str, list[float]]]:
    """Memory of this process and its FFmpegs in MB, and the GPU's load in per cent, again and again."""
    seen: dict[str, list[float]] = {"host_MB": [], "gpu": []}

    def look() -> None:
        seen["host_MB"].append(resident_mb(os.getpid()))
        if bench.gpu:
            seen["gpu"].append(torch.cuda.utilization())

    with _beside(look, 0.7):
        yield seen


def peer(bench: Bench) -> None:
    """syncnet-python over the clips in one process: cold, then its first clip once more."""
    if not bench.gpu and not os.environ.get("LIPSCORE_PEER"):
        bench.note(skipped="on a CPU benchmarks/peer.py compares")
        return
    first, *others = sorted((str(path) for path in bench.clips().values()), key=lambda name: "1080p" not in name)
    if others:  # a small clip is the cold one, then the large one, then the small ones warm
        first, others = others[0], [first, *others]
    videos = [first, *(others or [first])]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ffmpeg").symlink_to(ffmpeg.ffmpeg_path())
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        command = [sys.executable, "-c", PEER, bench.device, str(bench.weights / ONE_FACE), *videos]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            rows = []
            for line in process.stdout:
                if line.startswith("RESULT "):
                    rows.append(json.loads(line[7:]))
                    bench.note(rows=[[Path(name).stem, *rest] for name, *rest in rows])
    if len(rows) == len(videos) + 1:
        (_, load, *_), (_, cold, *_), *rest = rows
        warm = [seconds for _, seconds, *_ in rest]
        again = next(seconds for name, seconds, *_ in rest if name == first)
        bench.note(whole_process_s=load + cold + sum(warm) - again)
        bench.note(steady_s_a_clip=sum(warm) / len(warm), clips=len(warm))


def whole(bench: Bench) -> None:
    """`lipscore score` over the clips as a user runs it, exact and --fast."""
    for name, options in (("exact", []), ("fast", ["--fast"])):
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-m", "lipscore.eval", "score", *map(str, bench.clips().values())]
            command += ["--out", out, "--scores-file", f"{out}/all_scores.txt", "--protocol", PROTOCOL.name]
            command += ["--device", bench.device, "--model", "vgg", "--allow-unverified"]
            command += ["--weights-dir", str(bench.weights / ONE_FACE), *options]
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            seconds = time.perf_counter() - start
            found: dict[str, Any] = {"s": seconds, "exit": done.returncode}
            if done.returncode > 1:
                found["said"] = done.stderr[-800:]
            bench.note(**{name: found})
