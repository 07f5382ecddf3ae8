"""How time and memory grow with a video's length and with the number of videos; FFmpeg's processes included (Linux).

    python benchmarks/growth.py [--video VIDEO] [--plot FILE.png] [SCORE OPTIONS ...]

VIDEO is cut or repeated to more and more seconds, then scored as more and more videos in one run, each slightly
different, because a copy would not be scored again. The script fits a line (the start plus a constant time per second)
and prints it with the largest deviation from it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from memory import SHORT, measure

from lipscore.eval.report.chart import Chart, png
from lipscore.media import ffmpeg, read

SECONDS = (5, 20, 60, 180, 600)
COPIES = (1, 2, 4, 8, 16)
Curve = list[tuple[float, float, float]]  # seconds of video in all, seconds it took, peak MB


def grown(
    title: str, steps: tuple[int, ...], make: Callable[[int], tuple[list[Path], float]], options: list[str]
) -> Curve:
    """Measure each step, print it, and say how far from a line they are."""
    curve = []
    for step in steps:
        videos, seconds = make(step)
        peak, took = measure(videos, options)
        curve.append((seconds, took, peak))
        print(f"{title} {step}: {took:.1f} s for {seconds:.1f} s of video, {peak:.0f} MB", flush=True)
    x, y, _ = np.array(curve).T
    slope, start = np.polyfit(x, y, 1, w=1 / y)
    worst = np.exp(np.abs(np.log(y / (start + slope * x))).max())
    print(f"{title}: {start:.1f} s, and {slope:.3f} s for each second of video, within a factor of {worst:.2f}")
    return curve


def main() -> None:
    """Both curves, and their plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=SHORT)
    parser.add_argument("--plot", type=Path)
    arguments, options = parser.parse_known_args()
    options = options or ["--model", "mini"]
    length = read.probe(arguments.video).duration_s
    with tempfile.TemporaryDirectory() as folder:

        def long(seconds: int) -> tuple[list[Path], float]:
            target = Path(folder) / f"{seconds}.mp4"
            looped = ["-stream_loop", str(int(seconds / length)), *ffmpeg.input_args(arguments.video)]
            ffmpeg.run_ffmpeg([*looped, "-t", str(seconds), "-c", "copy", str(target)], arguments.video)
            return [target], read.probe(target).duration_s

        def many(copies: int) -> tuple[list[Path], float]:
            below = Path(folder) / f"{copies} copies"
            below.mkdir()
            targets = [below / f"{k}.mp4" for k in range(copies)]
            for target in targets:
                named = [*ffmpeg.input_args(arguments.video), "-c", "copy", "-metadata", f"title={target.name}"]
                ffmpeg.run_ffmpeg([*named, str(target)], arguments.video)
            return targets, copies * length

        charts = []
        for title, steps, make in (("seconds", SECONDS, long), ("videos", COPIES, many)):
            length_s, took, peak = np.array(grown(title, steps, make, options)).T
            name, x = "one video" if title == "seconds" else "many videos", (length_s / 60).tolist()
            for what, unit, y in (("seconds that it takes", "seconds", took), ("peak memory", "MB", peak)):
                chart = Chart(f"{name}: {what}", "minutes of video", unit, x, y.tolist(), dots=True, from_zero=True)
                charts.append(chart)
    if arguments.plot:
        arguments.plot.write_bytes(png(charts))


if __name__ == "__main__":
    main()
