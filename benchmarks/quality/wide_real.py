"""How often `lipscore detect` finds offsets of seconds in files of real people (docs/measures/long-range.md).

    python benchmarks/quality/wide_real.py --cache CACHE [--clips ../shared/clips/real]

The videos of the folder are embedded into CACHE as in wide_confidence.py. Files of 8 s are cut from each video, with
every second offset up to +-125 frames that is possible, and every third possible start. Both streams of a file are
equally long. The answer is that of the whole file, without the sound around it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from wide_confidence import KNOWN, SHARED, embed, load

from lipscore import load_models
from lipscore.media import read
from lipscore.metrics.longrange import REACH, cosine_map, find_peak, sums_of
from lipscore.training.fcn.evaluate import windows_in
from lipscore.training.fcn.streams import Stream

SECONDS, EVERY_OFFSET, EVERY_START = 8, 2, 3


def errors(stream: Stream) -> list[int]:
    """The errors in frames of all files of this stream."""
    (length, _), whole = windows_in(SECONDS), min(len(stream.lip), len(stream.audio))
    found = []
    for offset in range(-REACH, REACH + 1, EVERY_OFFSET):
        for start in range(max(0, -offset), whole - length - max(0, offset) + 1, EVERY_START):
            lip, audio = stream.lip[start:][:length], stream.audio[start + offset :][:length]
            peak = find_peak(sums_of(cosine_map(lip, audio, 0)))
            found.append(10**6 if peak is None else peak.offset - offset)
    return found


def main() -> None:
    """Embed what CACHE lacks, and print a line per track."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--clips", type=Path, default=SHARED / "real")
    wanted = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    wanted.cache.mkdir(parents=True, exist_ok=True)
    videos = [path for path in sorted(wanted.clips.iterdir()) if path.suffix in read.VIDEO_SUFFIXES]
    for path in videos:
        if not [*wanted.cache.glob(f"{path.stem}.*.npz")]:
            embed(path, wanted.cache, load_models("mini", device="cpu"))
    for stream in load(wanted.cache, KNOWN):
        off = np.abs(errors(stream))
        if len(off):
            print(f"{stream.name}: {len(off)} files, within 1 frame {100 * np.mean(off <= 1):.1f} %", flush=True)


if __name__ == "__main__":
    main()
