"""The built-in model's figures, on clips that took no part in making it, and on real people through the whole program.

    python benchmarks/mini_quality.py [--shared ../shared] [--weights FILE] [--lossy N]

Truth: a talking clip decoded directly (frames by timestamp, audio on the video's clock) is in sync, offset 0; the phone
videos and the interview are taken to be in sync, 0 too; example.avi is known to be 3. The test clips are those that the
training record names. --lossy N also scores the first N of them through protocol wav2lip's transcoding, with the given
boxes; that path moves audio against video by a frame or two by itself, which is not corrected for.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lipscore.eval.models import Models
from lipscore.eval.score import score_video
from lipscore.syncnet.faces.given import GivenBoxes
from lipscore.syncnet.mini import WEIGHTS, MiniEmbedder, load_mini
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.training import figures
from lipscore.syncnet.training.calibrate import read_published
from lipscore.syncnet.training.data import read_boxes, read_clip

REAL = ("phone_1080p_25fps.mp4", "phone_1080p_30fps.mp4", "interview.avi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--lossy", type=int, default=0)
    args = parser.parse_args()
    embedder = load_mini(torch.device("cpu"), args.weights)
    record = json.loads(args.weights.with_suffix(".json").read_text())
    talking(embedder, record["data"]["test"], args.shared / "clips")
    real(embedder, args.shared)
    if args.lossy:
        lossy(embedder, record["data"]["test"][: args.lossy], args.shared / "clips")


def talking(embedder: MiniEmbedder, names: list[str], clips: Path) -> None:
    """The test clips, decoded directly."""
    published = read_published(clips / "published_scores.csv")
    tracks = read_boxes(clips / "boxes.json")
    data = [read_clip(clips / "talking" / name, name, tracks[name]) for name in names]
    found = figures.summary(embedder, data, published)
    offsets = found.pop("offsets")
    print(json.dumps(found, indent=1))
    print("clips whose offset is off by more than one frame (published LSE-C, LSE-C estimate):")
    for clip in data:
        if abs(offsets[clip.name]) > 1:
            _, estimate = embedder.estimate(figures.curve_of(embedder, clip))
            known = f"{published[clip.name][1]:.2f}" if clip.name in published else "none"
            print(f"  {offsets[clip.name]:+3d}  {known:>5}  {estimate:5.2f}  {clip.name}")


def real(embedder: MiniEmbedder, shared: Path) -> None:
    """Real people, from file to record: protocol lipscore-1 with given boxes, and example.avi under wav2lip-lrs."""
    given = GivenBoxes(shared / "conformance" / "detections" / "mp4")
    models = Models(embedder, given.for_video, "given", (), torch.device("cpu"))
    for name in REAL:
        score = score_video(shared / "clips" / "real" / name, PROTOCOLS["lipscore-1"], models)
        print(f"{name}: {score.status} {score.reason} offset {score.offset}, LSE-C estimate {score.lse_c}")
    score = score_video(shared / "clips" / "real" / "example.avi", PROTOCOLS["wav2lip-lrs"], models)
    print(f"example.avi: {score.status} offset {score.offset}, LSE-C estimate {score.lse_c} (SyncNet: 3, 10.02)")


def lossy(embedder: MiniEmbedder, names: list[str], clips: Path) -> None:
    """The same clips through protocol wav2lip's transcoding, JPEGs and crop file."""
    tracks = read_boxes(clips / "boxes.json")
    published = read_published(clips / "published_scores.csv")
    protocol = replace(PROTOCOLS["wav2lip"], min_track=50)
    offsets, errors = [], []
    for name in names:
        boxes = [[[*map(float, box), 1.0]] for box in tracks[name].boxes_xyxy]
        with tempfile.TemporaryDirectory() as folder:
            spare = [boxes[-1]] * 5  # the transcoded file has a frame or two more
            (Path(folder) / f"{Path(name).stem}.json").write_text(json.dumps(boxes + spare))
            models = Models(embedder, GivenBoxes(Path(folder)).for_video, "given", (), torch.device("cpu"))
            score = score_video(clips / "talking" / name, protocol, models)
        if score.offset is None or score.lse_c is None:
            print(f"  {name}: {score.status} {score.reason}")
            continue
        offsets.append(score.offset)
        if name in published:
            errors.append(abs(score.lse_c - published[name][1]))
    values, counts = np.unique(offsets, return_counts=True)
    print("through protocol wav2lip's files, offsets:", dict(zip(values.tolist(), counts.tolist(), strict=True)))
    print(f"  LSE-C estimate's mean error there: {np.mean(errors):.2f}")


if __name__ == "__main__":
    main()
