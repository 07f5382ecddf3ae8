"""The parts of gpu.py that check numbers and memory rather than speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from gpu_common import EXACT, KIT, ONE_FACE, SHARED, Bench, timed

from lipscore import load_models, score_video
from lipscore.device import Batches
from lipscore.faces.s3fd.detector import S3fdDetector
from lipscore.metrics.image.measure import Images
from lipscore.metrics.image.variants import psnr_of, ssim_of
from lipscore.runtime import PRECISIONS
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import VideoScore

SIZES = ((528, 976), (1080, 1920), (2160, 3840))  # width and height of a frame


def correct(bench: Bench) -> None:
    """The kit's golden numbers and S3FD's boxes, in each precision that the device has."""
    golden = json.loads((KIT / "golden.json").read_text())["clips"]
    for precision in PRECISIONS if bench.gpu else ("fp32", "bf16"):
        protocols = ("wav2lip", "mochabench", "latentsync") if precision == "fp32" and not bench.quick else ("wav2lip",)
        for protocol in protocols:
            with bench.attempt(f"{precision}_{protocol}"):
                bench.note(**{f"{precision} {protocol}": _against_golden(bench, protocol, precision, golden)})
        with bench.attempt(f"{precision}_boxes"):
            bench.note(**{f"{precision} S3FD boxes": _boxes(bench, precision)})


def boxes(bench: Bench) -> None:
    """S3FD's boxes in fp32 alone."""
    bench.note(**{"fp32 S3FD boxes": _boxes(bench, "fp32")})


def _against_golden(bench: Bench, name: str, precision: str, golden: dict[str, Any]) -> dict[str, Any]:
    protocol, boxes = PROTOCOLS[name], "mp4" if name == "latentsync" else "avi"
    models = load_models(
        "vgg",
        protocol,
        weights_dir=bench.weights / EXACT,
        allow_unverified=True,
        detections=KIT / "detections" / boxes,
        device=bench.device,
        precision=precision,
    )
    clips = bench.clips()

    def scored(path: Path) -> VideoScore:
        return score_video(path, protocol, models)

    with ThreadPoolExecutor(8) as pool:
        records = dict(zip(clips, pool.map(scored, clips.values()), strict=True))
    gaps: dict[str, list[float]] = {"LSE-D": [], "LSE-C": [], "curve": []}
    moved, uneven, not_ok = 0, [], []
    for clip, record in records.items():
        want = golden[clip][name]["tracks"]
        if len(record.tracks) != len(want):
            uneven.append(f"{clip}: {record.status} {len(record.tracks)} for {len(want)}")
        if record.status not in ("ok", "no_track"):
            not_ok.append(f"{clip}: {record.status}: {record.reason[:200]}")
        for track, expected in zip(record.tracks, want, strict=False):
            gaps["LSE-D"].append(abs(track.lse_d - expected["lse_d"]))
            gaps["LSE-C"].append(abs(track.lse_c - expected["lse_c"]))
            gaps["curve"].append(float(np.abs(np.array(track.curve) - expected["curve"]).max()))
            moved += track.offset != expected["offset"]
    largest = {key: max(values, default=float("nan")) for key, values in gaps.items()}
    well = not uneven and not not_ok and not moved and bool(gaps["LSE-D"])
    exact = {"passes": well and all(gap < 1e-3 for gap in largest.values())} if precision == "fp32" else {}
    return {
        "tracks": len(gaps["LSE-D"]),
        **largest,
        "offsets_moved": moved,
        "uneven": uneven,
        "not_ok": not_ok,
        **exact,
    }


def _boxes(bench: Bench, precision: str) -> dict[str, Any]:
    """S3FD against the original's boxes above 0.9 on the kit's frames."""
    state = torch.load(bench.weights / EXACT / "sfd_face.pth", weights_only=True)
    detector = S3fdDetector(state, bench.device, dtype=PRECISIONS[precision], tf32=precision == "tf32")
    cases = json.loads((KIT / "s3fd_golden.json").read_text())["cases"]
    found_n = wanted_n = near = 0
    largest_px = largest_score = 0.0
    for case in cases:
        frame = cv2.imread(str(KIT / "frames" / case["frame"]))
        want = np.array(case["boxes_conf_above_0_9"]).reshape(-1, 5)
        found = np.array([[*d.box_xyxy, d.score] for d in detector([frame], [0])[0]]).reshape(-1, 5)
        found_n, wanted_n = found_n + len(found), wanted_n + len(want)
        if not len(found) or not len(want):
            continue
        distance = np.abs(want[:, None, :4] - found[None, :, :4]).max(axis=2)
        partner = distance.argmin(axis=1)
        gaps = distance.min(axis=1)
        near += int((gaps < 1.0).sum())
        close = gaps < 1.0
        largest_px = max([largest_px, *gaps[close]])
        largest_score = max([largest_score, *np.abs(want[:, 4] - found[partner, 4])[close]])
    passes = {"passes": found_n == wanted_n == near and largest_px < 0.1} if precision == "fp32" else {}
    return {
        "found": found_n,
        "original": wanted_n,
        "within_1_px": near,
        "largest_px": largest_px,
        "largest_score_gap": largest_score,
        **passes,
    }


def memory(bench: Bench) -> None:
    """What S3FD and SyncNet hold on the device, by batch and frame size, and what they do when it runs out."""
    state = torch.load(bench.weights / ONE_FACE / "sfd_face.pth", weights_only=True)
    noise = np.random.default_rng(0)
    for width, height in SIZES[:1] if bench.quick else SIZES:
        frame = noise.integers(0, 256, (height, width, 3), np.uint8)
        for batch in (1, 2) if bench.quick else (1, 4, 16, None):
            with bench.attempt(f"{width}x{height} {batch}"):
                detector = S3fdDetector(dict(state), bench.device, batch_size=batch)
                n = batch or 32
                peak = _peak_mb(bench, lambda d=detector, n=n, f=frame: d([f] * n, range(n)))
                bench.note(**{f"S3FD {width}x{height}, {batch or 'default'} frames": peak})
    with bench.attempt("out of memory"):
        bench.note(out_of_memory=_out_of_memory(bench, dict(state), noise))


def _peak_mb(bench: Bench, task: Any) -> dict[str, float] | str:
    if not bench.gpu:
        task()
        return "not measured on a CPU"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    task()
    torch.cuda.synchronize()
    return {
        "allocated_MB": torch.cuda.max_memory_allocated() / 1e6,
        "reserved_MB": torch.cuda.max_memory_reserved() / 1e6,
    }


def _out_of_memory(bench: Bench, state: dict[str, torch.Tensor], noise: np.random.Generator) -> dict[str, Any]:
    """The same boxes from a device that has memory for a few frames at a time only."""
    n = 2 if bench.quick else 16
    frames = list(noise.integers(0, 256, (n, 976, 528, 3), np.uint8))
    expected = S3fdDetector(dict(state), bench.device)(frames, range(n))
    detector = S3fdDetector(dict(state), bench.device, batch_size=n)
    if bench.gpu:
        torch.cuda.empty_cache()
        held = torch.cuda.memory_reserved()
        limit = held + 160e6
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    else:
        network = detector.network.forward

        def small(x: torch.Tensor) -> Any:
            if len(x) > 1:
                raise torch.OutOfMemoryError("no memory for more than one")
            return network(x)

        detector.network.forward = small  # type: ignore[method-assign]
    found = detector(frames, range(n))
    if bench.gpu:
        torch.cuda.set_per_process_memory_fraction(1.0)
    sizes: Batches = detector._batches
    gaps = [
        float(np.abs(a.box_xyxy - b.box_xyxy).max())
        for one, other in zip(expected, found, strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    return {
        "asked": n,
        "batch_after": sizes.size,
        "halved": sizes.size < n,
        "boxes": len(gaps),
        "largest_px": max(gaps),
    }


def metrics(bench: Bench) -> None:
    """PSNR and SSIM, and the built-in model, on the device compared with the CPU."""
    rng = np.random.default_rng(1)
    size = (64, 64) if bench.quick else (1080, 1920)
    a = rng.integers(0, 256, (*size, 3), np.uint8)
    b = np.clip(a.astype(int) + rng.integers(-9, 10, a.shape), 0, 255).astype(np.uint8)

    def measured(device: str) -> tuple[float, float]:
        images = Images(a, b, device)
        return psnr_of(images, "luma"), ssim_of(images, "luma", "wang")

    with bench.attempt("psnr_ssim"):
        gaps = [abs(one - other) for one, other in zip(measured("cpu"), measured(bench.device), strict=True)]
        seconds = {device: timed(lambda device=device: measured(device), bench) for device in ("cpu", bench.device)}
        bench.note(psnr_ssim={"largest_gap": max(gaps), "seconds": seconds, "frame": list(size)})
    with bench.attempt("mini"):
        protocol = PROTOCOLS["lipscore-1"]
        video = next(iter(bench.clips().values()))
        records = {
            where: score_video(video, protocol, load_models("mini", protocol, device=where))
            for where in ("cpu", bench.device)
        }
        one, other = records["cpu"], records[bench.device]
        bench.note(mini={"cpu": [one.lse_d, one.lse_c, one.offset], "device": [other.lse_d, other.lse_c, other.offset]})
    with bench.attempt("mini_rate"):
        embedder = load_models("mini", PROTOCOLS["lipscore-1"], device=bench.device).embedder
        crops = rng.integers(0, 256, (32 if bench.quick else 1028, 224, 224, 3), np.uint8)
        bench.note(mini_windows_per_s=(len(crops) - 4) / timed(lambda: embedder.lip(crops), bench))


def tests(bench: Bench) -> None:
    """The tests that are marked `gpu`."""
    root = Path(__file__).resolve().parents[1]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
        "tests/runtime/test_gpu.py",
    ]
    environment = {**os.environ, "LIPSCORE_SHARED": str(SHARED)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    bench.note(exit_status=done.returncode, said=(done.stdout + done.stderr)[-1500:])
    if done.returncode not in (0, 5):
        sys.exit(1)
