"""Windows per second of the built-in model and of SyncNet v2 (with random weights) on the same crops, without decoding.

python benchmarks/mini_speed.py [windows]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from lipscore.pool import Pool, available_cores
from lipscore.syncnet.models.mini import load_mini
from lipscore.syncnet.models.sync_pass import Embedder
from lipscore.syncnet.models.v2 import SyncNet, SyncNetEmbedder

CHUNK = 32  # crops at a time, as the program feeds them


def windows_per_second(embedder: Embedder, windows: int) -> float:
    """Lips and audio together, chunk by chunk; the best of three runs."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (CHUNK + 4, 224, 224, 3), np.uint8)
    mfcc = rng.normal(size=(4 * (CHUNK - 1) + 20, 13)).astype(np.float32)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(windows // CHUNK):
            embedder.lip(crops)
            embedder.audio(mfcc)
        times.append(time.perf_counter() - start)
    return windows // CHUNK * CHUNK / min(times)


def main() -> None:
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    device = torch.device("cpu")
    mini = windows_per_second(load_mini(device, pool=Pool(1)), windows)
    official = windows_per_second(SyncNetEmbedder(SyncNet().state_dict(), device), windows)
    print(f"windows a second: mini {mini:.0f} on one thread,")
    print(f"SyncNet v2 {official:.0f} on {available_cores()} cores: {mini / official:.1f} times as many")


if __name__ == "__main__":
    main()
