"""Peak memory of a whole run, FFmpeg's processes included, on a short and on a long 1080p video (Linux).

    python benchmarks/memory.py [--video VIDEO] [--times 6] [--protocol wav2lip] [--model mini] [SCORE OPTIONS ...]

VIDEO is scored unchanged and repeated `times` times, each in a separate process. A ratio above 1 shows memory that
grows with length.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lipscore.media import ffmpeg, read

POLL_S = 0.02
CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"
SHORT = CLIPS / "talking" / "1p_closeup_facingcamera" / "10_woman_doctor.mp4"


def children_of() -> dict[int, list[int]]:
    """Parent process -> its children, of all processes."""
    tree: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        tree.setdefault(parent, []).append(int(stat.parent.name))
    return tree


def resident_mb(root: int) -> float:
    """Memory of a process and all below it, in MB, pages that several share counted once (PSS).

    A child that has not begun its own program yet (between fork and exec) still has its parent's memory: not counted.
    """
    tree, todo, total = children_of(), [(root, b"")], 0
    while todo:
        pid, parents = todo.pop()
        try:
            own = Path(f"/proc/{pid}/cmdline").read_bytes()
            if own == parents:
                continue
            rolled_up = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) for line in rolled_up.splitlines() if line.startswith("Pss:"))
        except OSError:
            continue
        todo += [(child, own) for child in tree.get(pid, [])]
    return total * 1024 / 1e6


def measure(videos: Sequence[Path], options: list[str]) -> tuple[float, float]:
    """(peak MB, seconds) of one `lipscore score`."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "lipscore.eval", "score", *map(str, videos), "--out", out]
        command += ["--scores-file", f"{out}/all_scores.txt", *options]
        start, peak = time.perf_counter(), 0.0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None:
            peak = max(peak, resident_mb(process.pid))
            time.sleep(POLL_S)
        if process.returncode:  # 1: not scored, so that the figures mean nothing
            print(process.communicate()[1], file=sys.stderr)
        return peak, time.perf_counter() - start


def main() -> None:
    """Measure both lengths and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=CLIPS / "real" / "phone_1080p_25fps.mp4")
    parser.add_argument("--times", type=int, default=6)
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.mp4"
        repeat = ["-stream_loop", str(arguments.times - 1)]
        ffmpeg.run_ffmpeg([*repeat, *ffmpeg.input_args(arguments.video), "-c", "copy", str(long)], arguments.video)
        peaks = []
        for video in (arguments.video, long):
            info = read.probe(video)
            peak, seconds = measure([video], options or ["--model", "mini"])
            peaks.append(peak)
            print(
                f"{info.width}x{info.height}, {info.duration_s:.1f} s of video: peak {peak:.0f} MB, "
                f"{seconds:.1f} s, {info.duration_s / seconds:.2f} times real time"
            )
        print(f"{arguments.times} times as long: {peaks[1] / peaks[0]:.2f} times the memory")


if __name__ == "__main__":
    main()
