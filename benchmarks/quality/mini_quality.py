"""The built-in model's figures: on clips that its trainings held out, and on real people through the whole program.

    python benchmarks/quality/mini_quality.py [--shared ../shared] [--weights FILE]

The held-out figures are those of the training record beside the weights: `lipscore train mini` measures each fold of
scenes and recordings with a training that met neither, and the weights that ship have met all of them. Nobody's face in
../shared/clips/real took part in any training. Their truth: the phone videos and the interview are taken to be in sync
(0), example.avi is known to be 3.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from lipscore import Models, score_video
from lipscore.faces.given import GivenBoxes
from lipscore.faces.hog import HogDetector
from lipscore.syncnet.models.mini import WEIGHTS, MiniEmbedder, load_mini
from lipscore.syncnet.protocols import PROTOCOLS, change

REAL = ("phone_1080p_25fps.mp4", "phone_1080p_30fps.mp4", "interview.avi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    held_out = json.loads(args.weights.with_suffix(".json").read_text())["held_out"]
    offsets = held_out.pop("offsets")
    print(json.dumps(held_out, indent=1))
    print("held-out clips whose offset is off by more than one frame:")
    for name, offset in offsets.items():
        if abs(offset) > 1:
            print(f"  {offset:+3d}  {name}")
    real(load_mini(torch.device("cpu"), args.weights), args.shared)


def real(embedder: MiniEmbedder, shared: Path) -> None:
    """Real people, from file to record: with given boxes and with the default detector, transcoded and not."""
    hog = HogDetector()
    for protocol, boxes in (("lipscore-1", "mp4"), ("wav2lip", "avi")):
        given = GivenBoxes(shared / "conformance" / "detections" / boxes)
        for detector_for, detector in ((given.for_video, "given"), (lambda _: hog, "hog")):
            models = Models(embedder, detector_for, detector, (), torch.device("cpu"))
            for name in REAL:
                chosen = change(PROTOCOLS[protocol], {"min_track": 30})
                score = score_video(shared / "clips" / "real" / name, chosen, models)
                found = f"offset {score.offset}, LSE-C {score.lse_c:.2f}" if score.lse_c else score.reason
                print(f"{name}, {protocol}, boxes {detector}: {score.status}, {found}")
    models = Models(embedder, given.for_video, "given", (), torch.device("cpu"))
    score = score_video(shared / "clips" / "real" / "example.avi", PROTOCOLS["wav2lip-lrs"], models)
    print(f"example.avi, wav2lip-lrs: offset {score.offset}, LSE-C {score.lse_c:.2f} (SyncNet: 3, 10.02)")


if __name__ == "__main__":
    main()
