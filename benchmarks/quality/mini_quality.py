"""The built-in model's figures on clips that its trainings held out and on real people, and the tracks of known clips.

    python benchmarks/quality/mini_quality.py [--shared ../shared] [--weights FILE] [--detector yunet|hog] [--tracks]

The held-out figures are those of the training record next to the weights: `lipscore train mini` measures each fold of
scenes and recordings, and each family of generators, with a training that contained neither. The shipped weights were
trained on all of them. No face in ../shared/clips/real was part of any training; the speakers of the GRID corpus
(../shared/clips/more/real) were part of the training of the shipped weights. All clips count as in sync (offset 0),
except example.avi, whose offset is known to be 3.

--tracks scores the 164 clips of ../shared/clips/talking under wav2lip and mochabench instead, and counts.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import torch

from lipscore import Models, load_models, score_video
from lipscore.faces.given import GivenBoxes
from lipscore.syncnet.models.mini import WEIGHTS, MiniEmbedder, load_mini
from lipscore.syncnet.protocols import PROTOCOLS, change

REAL = ("phone_1080p_25fps.mp4", "phone_1080p_30fps.mp4", "interview.avi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--tracks", action="store_true")
    args = parser.parse_args()
    embedder = load_mini(torch.device("cpu"), args.weights)
    if args.tracks:
        tracks(embedder, args.shared, args.detector)
        return
    record = json.loads(args.weights.with_suffix(".json").read_text())
    held_out = record["held_out"]
    offsets = held_out.pop("offsets")
    print(json.dumps(held_out, indent=1))
    print("held-out clips whose offset is off by more than one frame:")
    for name, offset in offsets.items():
        if abs(offset) > 1:
            print(f"  {offset:+3d}  {name}")
    print("generators, each under the training that left it out:")
    for generator, row in record["left_out"].items():
        print(f"  {generator}:", {name: value for name, value in row.items() if name != "offsets"})
    real(embedder, args.shared, args.detector)
    grid(embedder, args.shared, args.detector)


def looking(embedder: MiniEmbedder, detector: str) -> Models:
    """The model with one of the detectors that need no file of boxes."""
    found = load_models("mini", detector=detector, device="cpu")
    return Models(embedder, found.detector_for, detector, found.weights, torch.device("cpu"))


def real(embedder: MiniEmbedder, shared: Path, detector: str) -> None:
    """Real people, from file to record: with given boxes and with a detector's, transcoded and not."""
    for protocol, boxes in (("lipscore-1", "mp4"), ("wav2lip", "avi")):
        given = GivenBoxes(shared / "conformance" / "detections" / boxes)
        with_given = Models(embedder, given.for_video, "given", (), torch.device("cpu"))
        for models in (with_given, looking(embedder, detector)):
            for name in REAL:
                chosen = change(PROTOCOLS[protocol], {"min_track": 30})
                score = score_video(shared / "clips" / "real" / name, chosen, models)
                found = f"offset {score.offset} ({score.offset_ms} ms), LSE-C {score.lse_c}"
                print(f"{name}, {protocol}, boxes {models.detector}: {score.status} {score.reason}, {found}")
    score = score_video(shared / "clips" / "real" / "example.avi", PROTOCOLS["wav2lip-lrs"], with_given)
    print(f"example.avi, wav2lip-lrs: offset {score.offset} ({score.offset_ms} ms), LSE-C {score.lse_c} (3, 10.02)")


def grid(embedder: MiniEmbedder, shared: Path, detector: str) -> None:
    """The GRID corpus under lipscore-1 and wav2lip; its clips last 3 seconds."""
    models = looking(embedder, detector)
    for protocol in ("lipscore-1", "wav2lip"):
        chosen = change(PROTOCOLS[protocol], {"min_track": 30})
        scores = [score_video(path, chosen, models) for path in sorted((shared / "clips/more/real").glob("*.mpg"))]
        print(f"GRID, {protocol}: offsets", sorted(Counter(score.offset for score in scores).items(), key=str))
        for score in scores:
            if score.offset is None or abs(score.offset) > 1:
                print(f"  {score.name}: {score.status} {score.reason} {score.offset}")


def tracks(embedder: MiniEmbedder, shared: Path, detector: str) -> None:
    """How many of the known clips are scored, with which offsets, and which one-person clips have several tracks."""
    models = looking(embedder, detector)
    clips = shared / "clips" / "talking"
    for protocol in ("wav2lip", "mochabench"):
        paths = sorted(clips.rglob("*.mp4"))
        scores = {path.relative_to(clips).as_posix(): score_video(path, PROTOCOLS[protocol], models) for path in paths}
        scored = {name: score for name, score in scores.items() if score.status == "ok"}
        within = sum(abs(score.offset or 0) <= 1 for score in scored.values())
        print(f"{protocol}: {len(scored)} of {len(scores)} scored, {within} within one frame of 0")
        for name, score in scores.items():
            if score.status != "ok":
                print(f"  {name}: {score.status}, {score.reason}")
            elif len(score.tracks) > 1 and name.startswith("1p"):
                print(f"  {name}: {[(t.first_frame, t.last_frame, t.offset, round(t.lse_c, 1)) for t in score.tracks]}")


if __name__ == "__main__":
    main()
