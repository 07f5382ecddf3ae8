"""lipscore against PyPI's syncnet-python 0.2.3 (protocol mochabench): whole processes, same clips, weights and FFmpeg.

    python benchmarks/peer.py --peer PEER_VENV/bin/python [--clips 10] [--runs 1]

PEER_VENV holds syncnet-python==0.2.3 (installed without its dependencies), ffmpeg-python, pandas and the versions of
constraints.txt. Exact, --fast and mini are each run in turn with the peer; wall time, peak memory with all child
processes, and the largest difference in LSE-D and LSE-C are printed as ratios to it. mini runs twice: under the peer's
protocol, and under lipscore-1, which decodes once instead of transcoding. The share of time outside decoding and
networks is computed from the stages' seconds.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import POLL_S, resident_mb
from precision import clip_paths, make_kit_weights

from lipscore.media import ffmpeg

PEER = """
import json, sys, tempfile
from syncnet_python.syncnet_pipeline import SyncNetPipeline
device, weights, *videos = sys.argv[1:]
names = {"s3fd_weights": weights + "/sfd_face.pth", "syncnet_weights": weights + "/syncnet_v2.model"}
pipeline = SyncNetPipeline(names, device=device)
for video in videos:
    with tempfile.TemporaryDirectory() as cache:
        offsets, _, _, most, least, _, _ = pipeline.inference(video_path=video, audio_path=None, cache_dir=cache)
    print("RESULT " + json.dumps([least, most]), flush=True)
"""
Pair = tuple[float | None, float | None]  # LSE-D, LSE-C


def watched(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """(seconds, peak MB of the process and all below it, its standard output)."""
    start, peak = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=said, env=environment)
        while process.poll() is None:
            peak = max(peak, resident_mb(process.pid))
            time.sleep(POLL_S)
        seconds = time.perf_counter() - start
        if process.returncode > 1:  # 1: a video could not be scored
            said.seek(0)
            sys.exit(f"{command[:4]} failed with {process.returncode}:\n{said.read()[-2000:]}")
        out.seek(0)
        return seconds, peak, out.read()


def run_peer(
    python: Path, device: str, weights: Path, videos: list[Path], ffmpeg_dir: Path
) -> tuple[float, float, list[Pair]]:
    """The peer over all clips in one process."""
    environment = {**os.environ, "PATH": f"{ffmpeg_dir}:{os.environ['PATH']}"}
    command = [str(python), "-c", PEER, device, str(weights), *map(str, videos)]
    seconds, peak, out = watched(command, environment)
    results = [json.loads(line[7:]) for line in out.splitlines() if line.startswith("RESULT ")]
    return seconds, peak, [(least, most) for least, most in results]


def run_ours(videos: list[Path], options: list[str]) -> tuple[float, float, list[Pair], float]:
    """`lipscore score` over all clips; also the share of the stages other than transcode, faces and embed."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "lipscore.eval", "score", *map(str, videos)]
        command += ["--out", out, "--scores-file", f"{out}/all_scores.txt", *options]
        seconds, peak, _ = watched(command, dict(os.environ))
        records = [json.loads(line) for line in (Path(out) / "scores.jsonl").read_text().splitlines()]
    by_video = {record["video"]: (record["lse_d"], record["lse_c"]) for record in records}
    stages = [(name, value) for record in records for name, value in record["seconds"].items()]
    rest = sum(value for name, value in stages if name not in ("transcode", "faces", "embed"))
    return seconds, peak, [by_video[str(video)] for video in videos], rest / sum(value for _, value in stages)


def largest_gap(ours: list[Pair], theirs: list[Pair]) -> float:
    """Over the videos that both scored; a video that only one scored counts as infinitely far."""
    gaps = [0.0]
    for a, b in zip(ours, theirs, strict=True):
        for one, other in zip(a, b, strict=True):
            if one is not None and other is not None:
                gaps.append(abs(one - other))
            elif (one is None) != (other in (None, 0, 0.0)):
                gaps.append(float("inf"))
    return max(gaps)


def main() -> None:
    """Run the variants against the peer and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="the peer's Python")
    parser.add_argument("--clips", type=int, default=10, help="number of conformance clips, from the first on")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="of both: cpu or cuda")
    arguments = parser.parse_args()
    if arguments.peer is None:
        sys.exit(
            "skipped: --peer must name the Python of an environment with syncnet-python 0.2.3 (see this file's top)"
        )
    videos = list(clip_paths([]).values())[: arguments.clips]
    weights = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, weights)
    make_kit_weights(weights, "one-face")
    here = ["--device", arguments.device]
    same = ["--protocol", "mochabench", *here]
    official = [*same, "--model", "vgg", "--weights-dir", str(weights), "--allow-unverified"]
    variants = {
        "exact": official,
        "--fast": [*official, "--fast"],
        "mini": [*same, "--model", "mini"],
        "mini, lipscore-1": ["--protocol", "lipscore-1", "--model", "mini", *here],
    }
    times: dict[str, list[float]] = {name: [] for name in ("peer", *variants)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ffmpeg").symlink_to(ffmpeg.ffmpeg_path())
        for _ in range(arguments.runs):
            seconds, peer_peak, theirs = run_peer(arguments.peer, arguments.device, weights, videos, Path(folder))
            times["peer"].append(seconds)
            print(f"peer: {seconds:.1f} s, {peer_peak:.0f} MB", flush=True)
            for name, options in variants.items():
                seconds, peak, ours, rest = run_ours(videos, options)
                times[name].append(seconds)
                gap = "" if "mini" in name else f", LSE within {largest_gap(ours, theirs):.2g} of it"
                used = f"{peak:.0f} MB, {peak / peer_peak:.2f} of its memory"
                print(f"{name}: {seconds:.1f} s, {used}{gap}; other stages {rest:.1%}", flush=True)
    for name in variants:
        ratios = [a / b for a, b in zip(times["peer"], times[name], strict=True)]
        print(f"{name}: {statistics.median(ratios):.2f} times as fast as the peer over {len(videos)} clips")


if __name__ == "__main__":
    main()
