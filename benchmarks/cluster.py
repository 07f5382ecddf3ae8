"""The cost of Ray compared with threads: the same clips, the same number at a time, both ways in turn.

    python benchmarks/cluster.py [VIDEO_OR_FOLDER...] [--workers 2] [--rounds 3]

Without videos, it draws 30 clips of unequal length. `steady` is the time from the end of the first third of the videos
to the end of the last one, when all workers have their networks. The whole time also contains the loading of the
networks and, for Ray, the start of the workers. The cluster itself is started before. Ray's workers have a core each,
so the threads get the same number of cores. A ratio of 1 means no cost. The script needs a quiet machine, and enough
videos that the first third outlasts the workers' start.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lipscore.demo.clips import render_clip
from lipscore.eval.options import InputOptions, ModelOptions, OutputOptions, ProtocolOptions, Request, RunOptions
from lipscore.eval.run.batch import run_batch
from lipscore.eval.run.jobs import Silent

N_CLIPS = 30


class Clock(Silent):
    """Notes when each video ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def videos(self, total: int) -> Clock:  # noqa: ARG002
        """Itself."""
        return self

    def finished(self, *_: object) -> None:
        """Noted."""
        self.ends.append(time.perf_counter())

    @property
    def steady(self) -> float:
        """Seconds from the end of the first third to the end."""
        return self.ends[-1] - self.ends[(len(self.ends) - 1) // 3]


def drawn(folder: Path) -> list[Path]:
    """Clips of 2.2 to 5.2 seconds."""
    clips = [folder / f"c{seed:02}.mp4" for seed in range(N_CLIPS)]
    for seed, clip in enumerate(clips):
        render_clip(clip, seed=seed, seconds=2.2 + seed % 4, size=(224, 224))
    return clips


def spent(inputs: Sequence[Path], on: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Seconds of one run: in all, and steady."""
    clock, start = Clock(), time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        request = Request(
            InputOptions(tuple(inputs), find_references=False),
            ProtocolOptions(arguments.protocol),
            ModelOptions(model=arguments.model, device="cpu", cores=arguments.workers if on == "threads" else 1),
            run=RunOptions(on=on, workers=arguments.workers),
            output=OutputOptions(Path(out), Path(out) / "all_scores.txt"),
        )
        counts = run_batch(request, clock).counts
    if counts.not_scored:
        raise RuntimeError(f"{on}: {len(counts.not_scored)} of {counts.total} videos were not scored")
    return time.perf_counter() - start, clock.steady


def main() -> None:
    """Print a line per round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--protocol", default="mochabench")
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    try:
        import ray
    except ModuleNotFoundError:
        print("Ray is not installed: pip install 'lipscore[ray]'")
        return
    ray.init(address="local", num_cpus=arguments.workers, include_dashboard=False, log_to_driver=False)
    ratios: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = arguments.inputs or drawn(Path(folder))
        spent(inputs[:2], "threads", arguments)  # reads the networks' files once
        for number in range(1, arguments.rounds + 1):
            here, there = (spent(inputs, on, arguments) for on in ("threads", "ray"))
            ratios.append((there[0] / here[0], there[1] / here[1]))
            print(
                f"round {number}: threads {here[0]:.1f} s ({here[1]:.1f} steady), ray {there[0]:.1f} s "
                f"({there[1]:.1f} steady); ray / threads {ratios[-1][0]:.3f} ({ratios[-1][1]:.3f})",
                flush=True,
            )
    whole, steady = (statistics.median(ratio[k] for ratio in ratios) for k in (0, 1))
    print(f"ray / threads: {whole:.3f} of all, {steady:.3f} of the steady part (medians of {len(ratios)} rounds)")
    ray.shutdown()


if __name__ == "__main__":
    main()
