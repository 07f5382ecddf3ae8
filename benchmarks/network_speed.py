"""The time of S3FD and SyncNet, compared with their arithmetic at the machine's sgemm rate and with other methods.

    python benchmarks/network_speed.py [KIT_WEIGHTS_FOLDER]     (as ../shared/conformance/kit_weights.py writes it)

The originals' method is the same network on one frame at a time in the default memory layout, without S3FD's slow
priors and suppression. The arithmetic is that of the convolutions as written. Seconds are CPU seconds of one thread,
because other processes on the machine disturb these least; on a GPU, they are wall seconds. The best of several
interleaved rounds counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch
from precision import KIT, make_kit_weights
from torch.utils.flop_counter import FlopCounterMode

from lipscore.faces.s3fd.detector import S3fdDetector
from lipscore.pool import Pool
from lipscore.runtime import tune_process
from lipscore.syncnet.models.v2 import SyncNet, SyncNetEmbedder
from lipscore.types import Frame

ROUNDS = 3


def best(*tasks: Callable[[], object], gpu: bool) -> list[float]:
    """Least seconds of each task, the tasks taking turns; the first round warms up."""
    clock = time.perf_counter if gpu else time.process_time
    seconds = [[] for _ in tasks]
    for _ in range(ROUNDS + 1):
        for task, times in zip(tasks, seconds, strict=True):
            start = clock()
            task()
            if gpu:
                torch.cuda.synchronize()
            times.append(clock() - start)
    return [min(times[1:]) for times in seconds]


def s3fd(state: dict[str, torch.Tensor], device: torch.device, picture: Frame) -> None:
    """The detector's network, on frames of two sizes."""
    gpu = device.type == "cuda"
    square = torch.randn(2048, 2048, device=device)
    detector, rehearsed = S3fdDetector(state, device), S3fdDetector(state, device)
    halved = S3fdDetector(state, device, dtype=torch.float16 if gpu else torch.bfloat16)
    with patch("lipscore.faces.s3fd.detector.WIDE", ()):
        direct = S3fdDetector(state, device)
    with patch("lipscore.faces.s3fd.packed.available", lambda: False):
        plain = S3fdDetector(state, device)
    plain.network.to(memory_format=torch.contiguous_format)
    for width, height in ((528, 976), (1080, 1920)):
        n = 4
        frames = [cv2.resize(picture, (width, height))] * n
        size = [round(side * detector.facedet_scale) for side in (height, width)]
        x = torch.rand(n, 3, *size, device=device) * 255 - 128
        batched = x if gpu else x.contiguous(memory_format=torch.channels_last)
        parts = batched.split(detector.batch_size)
        with torch.inference_mode():
            flops = flops_of(plain.network, batched[:1])
            answers = [detector.network(part) for part in parts]
            rehearsed.network.forward = lambda _, answers=answers: answers[0]
            gemm, rest, network, convolved, half, original = best(
                lambda: square @ square,
                lambda frames=frames, n=n: rehearsed(frames, range(n)),
                lambda parts=parts: [detector.network(part) for part in parts],
                lambda parts=parts: [direct.network(part) for part in parts],
                lambda parts=parts: [halved.network(halved._place(part)) for part in parts],
                lambda x=x: [plain.network(one[None]) for one in x[:2]],
                gpu=gpu,
            )
        rate = 2 * len(square) ** 3 / gemm
        rest, network, convolved, half, original = rest / n, network / n, convolved / n, half / n, original / 2
        print(f"S3FD, {width}x{height} on {device}, network input {size[1]}x{size[0]}, batches of {len(parts[0])}")
        print(f"  sgemm {rate / 1e9:.0f} GFLOP/s; {flops / 1e9:.1f} GFLOP a frame, {flops / rate:.4f} s at that rate")
        print(f"  network {network:.4f} s a frame: {network * rate / flops:.2f} of its cost at the sgemm rate")
        print(f"  all of it convolved directly {convolved:.4f} s: {convolved / network:.2f} times as long")
        print(f"  at half precision {half:.4f} s: {network / half:.2f} times as fast")
        print(f"  one frame at a time, default layout {original:.4f} s: {original / network:.2f} times as long")
        print(f"  shrinking, decoding, suppression {rest:.4f} s a frame: {rest / (rest + network):.1%} of the detector")


def syncnet(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """SyncNet's lip and audio towers."""
    gpu = device.type == "cuda"
    square = torch.randn(2048, 2048, device=device)
    crops = np.random.default_rng(0).integers(0, 256, (36, 224, 224, 3), np.uint8)
    sound = np.random.default_rng(0).normal(size=(140, 13)).astype(np.float32)
    dtypes = (torch.float32, torch.float16 if gpu else torch.bfloat16)
    exact, halved = (SyncNetEmbedder(dict(state), device, dtype=dtype, pool=Pool(1)) for dtype in dtypes)
    with torch.inference_mode():
        flops = flops_of(exact._net.lip_tower, torch.rand(1, 15, 224, 224, device=device))
        flops += flops_of(exact._net.audio_tower, torch.rand(1, 1, 13, 20, device=device))
    original = SyncNet().eval()
    original.load_state_dict(state)
    original.to(device)
    windows = torch.rand(1, 3, 5, 224, 224, device=device)
    with torch.inference_mode():
        gemm, lip, audio, half, published = best(
            lambda: square @ square,
            lambda: exact.lip(crops),
            lambda: exact.audio(sound),
            lambda: halved.lip(crops),
            lambda: [original.forward_lip(windows) for _ in range(4)],
            gpu=gpu,
        )
    rate, n, m = 2 * len(square) ** 3 / gemm, len(crops) - 4, (len(sound) - 20) // 4 + 1
    lip, audio, half, published = lip / n, audio / m, half / n, published / 4
    print(f"SyncNet v2 on {device}: {flops / 1e9:.2f} GFLOP a window, {flops / rate:.4f} s at the sgemm rate")
    print(f"  lips {lip:.4f} s and audio {audio:.4f} s a window: {(lip + audio) * rate / flops:.2f} of that")
    print(f"  lips at half precision {half:.4f} s: {lip / half:.2f} times as fast")
    print(f"  lips as published, one window at a time {published:.4f} s: {published / lip:.2f} times as long")


def flops_of(network: torch.nn.Module, x: torch.Tensor) -> int:
    """The floating-point operations of one pass."""
    with FlopCounterMode(display=False) as counter:
        network(x)
    return int(counter.get_total_flops())


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tune_process(threads=1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1]) if sys.argv[1:] else Path(made)
        if not sys.argv[1:]:
            make_kit_weights(folder, "one-face")
        states = [torch.load(folder / name, weights_only=True) for name in ("sfd_face.pth", "syncnet_v2.model")]
    s3fd(states[0], device, cv2.imread(str(KIT / "frames" / "phone.jpg")))
    syncnet(states[1], device)


if __name__ == "__main__":
    main()
