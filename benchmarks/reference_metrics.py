"""The cost of PSNR and SSIM for a 10-second 1080p pair, compared with FFmpeg's ssim and psnr filters together.

    python benchmarks/reference_metrics.py [--runs 3] [--video FILE]

Both run as separate processes on the same two cores, in turn, and the best of the runs counts. lipscore computes
the default record (PSNR on RGB and luma, Wang's SSIM on luma); FFmpeg computes PSNR and its own approximate SSIM (8x8
blocks in steps of 4, no Gaussian) on the decoder's planes. Then the same runs on a video four times as long: memory
must not grow. docs/measures/psnr-ssim.md has the numbers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lipscore.media import ffmpeg, read

VIDEO = Path(__file__).resolve().parents[2] / "shared" / "clips" / "real" / "phone_1080p_25fps.mp4"
CORES = 2
SCORE = """
import sys, time
from pathlib import Path
from lipscore.eval.options import ReferenceOptions
from lipscore.eval.reference import score_reference
start = time.perf_counter()
score = score_reference(*map(Path, sys.argv[1:3]), options=ReferenceOptions(all_variants=sys.argv[3] == "all"))
assert score.status == "ok", score
print(time.perf_counter() - start)
"""


def make_pair(video: Path, folder: Path, loops: int) -> tuple[Path, Path]:
    """A poorer copy and the video, 10 s times loops long, both H.264."""
    reference, generated = folder / f"reference{loops}.mp4", folder / f"generated{loops}.mp4"
    encode = ["-an", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-crf"]
    looped = ["-stream_loop", str(loops - 1), *ffmpeg.input_args(video), "-t", str(10 * loops)]
    ffmpeg.run_ffmpeg([*looped, *encode, "18", str(reference)], video)
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(reference), *encode, "28", str(generated)], video)
    return generated, reference


def timed(command: list[str]) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds and peak MB of a process, and what it printed."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"{command[0]} failed with {process.returncode}")
        out.seek(0)
        return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.read()


def main() -> None:
    """Print a line per measurement and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--video", type=Path, default=VIDEO)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="lipscore-bench-") as name:
        pairs = {loops: make_pair(args.video, Path(name), loops) for loops in (1, 4)}
        info = read.probe(pairs[1][1])
        print(f"{info.width}x{info.height}, {info.n_frames} frames, {len(os.sched_getaffinity(0))} cores")
        graph = "[0:v]split[a][b];[1:v]split[c][d];[a][c]ssim;[b][d]psnr"
        inputs = [arg for path in pairs[1] for arg in ffmpeg.input_args(path)]
        command = [ffmpeg.ffmpeg_path(), "-nostdin", *inputs, "-lavfi", graph, "-f", "null", "-"]
        jobs = {
            "FFmpeg ssim and psnr": command,
            "lipscore, default record": score_command(pairs[1], "default"),
            "lipscore, all variants": score_command(pairs[1], "all"),
            "lipscore, default, 40 s": score_command(pairs[4], "default"),
        }
        best: dict[str, tuple[float, float, float, str]] = {}
        for run in range(args.runs):
            for job, command in jobs.items():
                if run == 0 or job in list(jobs)[:2]:  # the ratio is between the first two
                    got = timed(command)
                    best[job] = min(best.get(job, got), got)
        for job, (wall, cpu, memory, said) in best.items():
            inside = f", {float(said):.2f} s without the start of Python" if said else ""
            print(f"{job}: {wall:.2f} s wall, {cpu:.2f} s CPU, {memory:.0f} MB{inside}")
        theirs, ours, _, longer = best.values()
        print(f"lipscore / FFmpeg: wall {ours[0] / theirs[0]:.2f}, CPU {ours[1] / theirs[1]:.2f}")
        print(f"lipscore / FFmpeg, without the start of Python: wall {float(ours[3]) / theirs[0]:.2f}")
        print(f"memory, 40 s / 10 s: {longer[2] / ours[2]:.2f}")


def score_command(pair: tuple[Path, Path], variants: str) -> list[str]:
    """A process that scores a pair and prints the seconds that it took after its imports."""
    return [sys.executable, "-c", SCORE, *map(str, pair), variants]


if __name__ == "__main__":
    main()
