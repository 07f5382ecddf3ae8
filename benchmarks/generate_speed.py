"""The time of Wav2Lip's network compared with its arithmetic, and of `lipscore generate` compared with the network.

    python benchmarks/generate_speed.py [VIDEO] [DETECTOR]      (default: a demonstration clip, hog)

The sound lasts 10 s; a shorter video is repeated. Seconds are CPU seconds including FFmpeg's processes, because other
processes on the machine disturb these least; on a GPU, they are wall seconds. The weights are random: the speed does
not depend on them. The arithmetic is 7.93 GFLOP per window, at the rate of a product of two 2048 x 2048 matrices.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import torch

from lipscore import runtime
from lipscore.demo.clips import render_demo
from lipscore.eval.tools.generate import load_setup
from lipscore.generate.wav2lip.checkpoint import Checkpoint
from lipscore.generate.wav2lip.flow import generate
from lipscore.generate.wav2lip.generator import Generator
from lipscore.generate.wav2lip.network import GFLOP, Wav2LipNet
from lipscore.generate.wav2lip.options import Options

ROUNDS, SECONDS = 3, 10


def clock() -> float:
    """CPU seconds of this process and of those that it ran; wall seconds where a GPU works."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    mine, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + others.ru_utime + others.ru_stime


def sgemm_rate(device: torch.device) -> float:
    """GFLOP/s."""
    square = torch.randn(2048, 2048, device=device)
    start = clock()
    for _ in range(4):
        square @ square
    return 4 * 2 * 2048**3 / (clock() - start) / 1e9


def main() -> None:
    """Measure and print."""
    device = runtime.pick_device("auto")
    torch.manual_seed(0)
    generator = Generator(Checkpoint(Wav2LipNet().state_dict(), Path("drawn"), "", ""), device)
    n = generator.batch_size
    rng = np.random.default_rng(0)
    mels = rng.uniform(-4, 4, (n, 1, 80, 16)).astype(np.float32)
    faces = rng.uniform(0, 1, (n, 6, 96, 96)).astype(np.float32)
    torch.set_num_threads(1)  # as in a pool of threads
    generator(mels, faces)
    rates, network = [], []
    for _ in range(ROUNDS):
        rates.append(sgemm_rate(device))
        start = clock()
        for _ in range(32 // n):
            generator(mels, faces)
        network.append((clock() - start) / (32 // n * n))
    arithmetic = GFLOP / max(rates)
    print(f"sgemm {max(rates):.0f} GFLOP/s, arithmetic {arithmetic * 1e3:.1f} ms a window")
    print(f"network {min(network) * 1e3:.1f} ms a window in batches of {n}: {min(network) / arithmetic:.2f} times that")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = Path(sys.argv[1]) if len(sys.argv) > 1 else render_demo(folder)[0].path
        detector = sys.argv[2] if len(sys.argv) > 2 else "hog"
        sound = folder / "sound.wav"
        with wave.open(str(sound), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(44100)
            out.writeframes((rng.standard_normal(SECONDS * 44100) * 3000).astype("<i2").tobytes())
        setup = load_setup(generator.checkpoint, detector, device=device)
        start, wall = clock(), time.perf_counter()
        made = generate(video, sound, folder / "out.mp4", generator, setup.detector_for, Options(missing="interpolate"))
        whole = clock() - start
        wall = time.perf_counter() - wall
        windows = len(made.states)
        print(
            f"the whole of {video.name}, {windows} frames of {made.size[0]}x{made.size[1]}, {detector}: {whole:.1f} s "
            f"({wall:.1f} s by the clock), {whole / (windows * min(network)):.2f} times the network's own"
        )


if __name__ == "__main__":
    main()
