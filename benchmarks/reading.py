"""The time of reading, compared with the minimum: PyAV's own loop over the frames, and FFmpeg's pipe of the samples.

    python benchmarks/reading.py [--seconds 10] [--rounds 5]

For 528x976 and 1080p, it makes an H.264 file with AAC audio, and reads it both ways in turn. A ratio of 1 means no
cost. `frames` is probing and every frame as BGR, `sound` the samples at 16 kHz. `old` is the earlier way of reading,
which did not keep every frame on one clock: it reads the header, decodes in one loop, and calls FFmpeg once.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from lipscore.media import read, write
from lipscore.types import Frame

SIZES = ((528, 976), (1920, 1080))


def moving(width: int, height: int, n: int) -> Iterator[Frame]:
    """A blurred picture that drifts, with some noise."""
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 256, (height // 24, width // 12, 3)).astype(np.uint8), (2 * width, height))
    grain = rng.integers(0, 12, (4, height, width, 3)).astype(np.uint8)
    for k in range(n):
        left = 2 * k % width
        yield cv2.add(wide[:, left : left + width], grain[k % 4]).astype(np.uint8)


def plain_frames(path: Path) -> int:
    """The header, the first frame, and then every frame as BGR."""
    with av.open(str(path)) as container:
        next(container.decode(container.streams.video[0]))
    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            count += len(frame.to_ndarray(format="bgr24")) > 0
    return count


def plain_sound(path: Path) -> int:
    """FFmpeg's samples."""
    with av.open(str(path)) as container:
        next(container.decode(container.streams.video[0]))
    return len(read.pcm_pipe(path, ["-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "16000"]))


def our_frames(path: Path) -> int:
    """The same by lipscore, probing included."""
    return sum(1 for _ in read.frames_at(path, None))


def our_sound(path: Path) -> int:
    """The samples on the video's clock, probing included."""
    return len(read.read_pcm(path))


def spent(call: Callable[[Path], int], path: Path) -> tuple[float, float]:
    """What one call takes: seconds, and seconds of processors, FFmpeg's included."""
    start, used = time.perf_counter(), processors()
    if not call(path):
        raise RuntimeError(f"{path}: nothing read")
    return time.perf_counter() - start, processors() - used


def processors() -> float:
    """Seconds of processors that this process and its children have used."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    """Print a line per size and kind: the medians of both, and of the ratio of each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for width, height in SIZES:
            path = Path(folder) / f"{width}x{height}.mp4"
            n = round(arguments.seconds * 25)
            tone = (8000 * np.sin(np.arange(n * 640) * 0.2)).astype(np.int16)
            write.write_video(path, moving(width, height, n), 25, tone)
            for what, old, new in (("frames", plain_frames, our_frames), ("sound", plain_sound, our_sound)):
                pairs = [(spent(old, path), spent(new, path)) for _ in range(arguments.rounds)]
                wall, cpu = (statistics.median(ours[k] / theirs[k] for theirs, ours in pairs) for k in (0, 1))
                seconds = statistics.median(ours[0] for _, ours in pairs)
                print(
                    f"{width}x{height} {what}: {seconds:.3f} s, {wall:.3f} of the old time, {cpu:.3f} of its CPU time"
                )


if __name__ == "__main__":
    main()
