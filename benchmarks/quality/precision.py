"""How far each source of difference moves LSE-D, LSE-C and offset, on the conformance clips with the kit's weights.

    python benchmarks/quality/precision.py [--weights FOLDER] [--ffmpeg /usr/bin/ffmpeg] [--clips NAME,NAME]

FOLDER is what ../shared/conformance/kit_weights.py wrote. The exact protocols are compared with the golden numbers of
the original implementations. The kit's SyncNet is fitted to exact pixels, so the other sources of difference are
measured with the built-in model: the largest and the median difference of its estimates. The table is in
docs/measures/precision.md.
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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lipscore import load_models, score_video
from lipscore.eval.setup import FAST_STRIDE
from lipscore.faces.given import GivenBoxes
from lipscore.syncnet.protocols import PROTOCOLS, Protocol, change
from lipscore.types import VideoScore

SHARED = Path(__file__).resolve().parents[3] / "shared"
KIT = SHARED / "conformance"
Row = tuple[int, float, float]  # offset, LSE-D, LSE-C


def clip_paths(names: list[str]) -> dict[str, Path]:
    """Conformance clip name -> file; the official demo clip is left out, it has no face boxes."""
    lines = (KIT / "clips.tsv").read_text().splitlines()
    paths = {name: SHARED / "clips" / path for name, path in (line.split("\t") for line in lines) if name != "example"}
    return {name: paths[name] for name in names or paths}


def make_kit_weights(folder: Path, *options: str) -> None:
    """Write the conformance kit's two weight files."""
    command = [sys.executable, str(KIT / "kit_weights.py"), str(folder), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def rows(record: VideoScore) -> list[Row]:
    """A record's tracks as rows."""
    return [(track.offset, track.lse_d, track.lse_c) for track in record.tracks]


def run(
    model: str,
    weights: Path,
    protocol: Protocol,
    clips: dict[str, Path],
    boxes: str = "avi",
    stride: int = 1,
    precision: str = "fp32",
) -> dict[str, list[Row]]:
    """Score the clips in this process; stride: the given boxes of every stride-th frame, as --fast takes S3FD's."""
    folder = KIT / "detections" / boxes
    models = load_models(
        model,
        protocol,
        weights_dir=weights,
        allow_unverified=True,
        detections=folder,
        device="auto" if precision in ("fp16", "tf32") else "cpu",
        precision=precision,
    )
    given = GivenBoxes(folder)
    models = replace(models, detector_for=lambda video: replace(given.for_video(video), stride=stride))
    return {name: rows(score_video(path, protocol, models)) for name, path in clips.items()}


def golden(protocol: str, clips: dict[str, Path]) -> dict[str, list[Row]]:
    """The original implementations' rows."""
    data = json.loads((KIT / "golden.json").read_text())["clips"]
    return {name: [(t["offset"], t["lse_d"], t["lse_c"]) for t in data[name][protocol]["tracks"]] for name in clips}


def report(title: str, ours: dict[str, list[Row]], theirs: dict[str, list[Row]]) -> None:
    """Print the differences over the tracks that both have."""
    pairs = [(a, b) for name in ours for a, b in zip(ours[name], theirs[name], strict=False)]
    uneven = sum(len(ours[name]) != len(theirs[name]) for name in ours)
    if not pairs:
        print(f"{title:34s} no tracks")
        return
    line = [f"{title:34s} {len(pairs):3d} tracks"]
    for label, column in (("LSE-D", 1), ("LSE-C", 2)):
        gaps = [abs(a[column] - b[column]) for a, b in pairs]
        line.append(f"{label} max {max(gaps):.2g} median {statistics.median(gaps):.2g}")
    moved = sum(a[0] != b[0] for a, b in pairs)
    line.append(f"offset moved in {moved}")
    if uneven:
        line.append(f"other number of tracks in {uneven} clips")
    print(", ".join(line), flush=True)


def in_child(
    environment: dict[str, str], arguments: argparse.Namespace, prefix: Sequence[str] = ()
) -> dict[str, list[Row]]:
    """Score with mini in a process of its own, for what is settled once per process (FFmpeg build, cores)."""
    command = [*prefix, sys.executable, __file__, "--weights", str(arguments.weights), "--child"]
    command += ["--clips", arguments.clips] if arguments.clips else []
    out = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout
    return {name: [tuple(row) for row in found] for name, found in json.loads(out).items()}  # type: ignore[misc]


def main() -> None:
    """Run every variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="default: generated for this run")
    parser.add_argument("--ffmpeg", help="another FFmpeg build to compare with")
    parser.add_argument("--clips", default="")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    clips = clip_paths([name for name in arguments.clips.split(",") if name])
    wav2lip, clean = PROTOCOLS["wav2lip"], PROTOCOLS["lipscore-1"]
    if arguments.weights is None:
        arguments.weights = Path(tempfile.mkdtemp())
        make_kit_weights(arguments.weights)
        atexit.register(shutil.rmtree, arguments.weights)
    weights = arguments.weights
    if arguments.child:
        print(json.dumps(run("mini", weights, wav2lip, clips)))
        return
    for name, boxes in (("wav2lip", "avi"), ("mochabench", "avi"), ("latentsync", "mp4")):
        exact = run("vgg", weights, PROTOCOLS[name], clips, boxes)
        report(f"{name}: ours - original", exact, golden(name, clips))
        if name == "wav2lip":
            one_by_one = run("vgg", weights, change(wav2lip, {"batch_size": 1}), clips)
            report("wav2lip: batches of 1 - of 4", one_by_one, exact)
            for precision in ("bf16", *(("tf32", "fp16") if torch.cuda.is_available() else ())):
                found = run("vgg", weights, wav2lip, clips, precision=precision)
                report(f"wav2lip: SyncNet in {precision} - in fp32", found, exact)
    usual = run("mini", weights, wav2lip, clips)
    variants = {
        f"mini: every {FAST_STRIDE}th frame": run("mini", weights, wav2lip, clips, stride=FAST_STRIDE),
        "mini: lipscore-1, min_track 100": run("mini", weights, change(clean, {"min_track": 100}), clips),
        "mini: one core": in_child({}, arguments, ["taskset", "-c", "0"]),
    }
    if arguments.ffmpeg:
        variants["mini: other FFmpeg"] = in_child({"LIPSCORE_FFMPEG": arguments.ffmpeg}, arguments)
    for title, found in variants.items():
        report(f"{title} - wav2lip", found, usual)


if __name__ == "__main__":
    main()
