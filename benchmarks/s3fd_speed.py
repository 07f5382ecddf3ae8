"""What S3FD costs a frame, beside what its arithmetic costs at the machine's sgemm rate, and beside the originals' way.

    python benchmarks/s3fd_speed.py [KIT_WEIGHTS_FOLDER]     (as ../shared/conformance/kit_weights.py writes it)

The original's way is the same network on one frame at a time in the default memory layout, without its slow priors and
suppression. Seconds are CPU seconds of one thread, which other processes on the machine disturb least; on a GPU, wall
seconds. The best of several interleaved rounds counts.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from lipscore.runtime import configure
from lipscore.syncnet.faces.s3fd import S3fdDetector

SHARED = Path(__file__).resolve().parents[2] / "shared" / "conformance"
ROUNDS = 3


def kit_weights(folder: Path) -> dict[str, torch.Tensor]:
    sys.argv = ["kit_weights.py", str(folder), "one-face"]
    runpy.run_path(str(SHARED / "kit_weights.py"), run_name="__main__")
    state: dict[str, torch.Tensor] = torch.load(folder / "sfd_face.pth", weights_only=True)
    return state


def best(*tasks: Callable[[], object], gpu: bool) -> list[float]:
    """Least seconds of each task, the tasks taking turns; the first round warms up."""
    clock = time.perf_counter if gpu else time.thread_time
    seconds = [[] for _ in tasks]
    for _ in range(ROUNDS + 1):
        for task, times in zip(tasks, seconds, strict=True):
            start = clock()
            task()
            if gpu:
                torch.cuda.synchronize()
            times.append(clock() - start)
    return [min(times[1:]) for times in seconds]


def main() -> None:
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    configure(threads=1)
    if sys.argv[1:]:
        state = torch.load(Path(sys.argv[1]) / "sfd_face.pth", weights_only=True)
    else:
        with tempfile.TemporaryDirectory() as folder:
            state = kit_weights(Path(folder))
    detector = S3fdDetector(state, device)
    square = torch.randn(2048, 2048, device=device)
    rehearsed = S3fdDetector(state, device)
    plain = S3fdDetector(state, device)
    plain.network.to(memory_format=torch.contiguous_format)
    picture = cv2.imread(str(SHARED / "frames" / "phone.jpg"))
    for width, height in ((528, 976), (1080, 1920)):
        frames = [cv2.resize(picture, (width, height))] * detector.batch_size
        n = len(frames)
        size = [round(side * detector.facedet_scale) for side in (height, width)]
        x = torch.rand(n, 3, *size, device=device) * 255 - 128
        batched = x if gpu else x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter:
                detector.network(batched[:1])
            flops = counter.get_total_flops()
            # The detector around answers that are there already: what it does beside the network
            answers = detector.network(batched)
            rehearsed.network.forward = lambda _, answers=answers: answers
        with torch.inference_mode():
            gemm, rest, network, original = best(
                lambda: square @ square,
                lambda frames=frames, n=n: rehearsed(frames, range(n)),
                lambda batched=batched: detector.network(batched),
                lambda x=x: [plain.network(one[None]) for one in x[:2]],
                gpu=gpu,
            )
        rate = 2 * len(square) ** 3 / gemm
        rest, network, original = rest / n, network / n, original / min(n, 2)
        print(f"{width}x{height} on {device}, network input {size[1]}x{size[0]}, batches of {n}")
        print(f"  sgemm {rate / 1e9:.0f} GFLOP/s; {flops / 1e9:.1f} GFLOP a frame, {flops / rate:.4f} s at that rate")
        print(f"  network {network:.4f} s a frame: {network * rate / flops:.2f} of its cost at the sgemm rate")
        print(f"  one frame at a time, default layout {original:.4f} s: {original / network:.2f} times as long")
        print(f"  shrinking, decoding, suppression {rest:.4f} s a frame: {rest / (rest + network):.1%} of the detector")
        faces = np.mean([len(found) for found in detector(frames, range(n))])
        print(f"  ({faces:.0f} faces a frame)")


if __name__ == "__main__":
    main()
