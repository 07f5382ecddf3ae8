"""How well `--same-person` distinguishes a person's face from others' faces and from the background.

    python benchmarks/quality/same_person.py [EVERY]      (every EVERY-th clip of ../shared/clips/talking; default 3)

Faces are the boxes of ../shared/clips/boxes.json, one per second; the background is a box of the same size in a corner
of the same frame that hardly overlaps the face. The first face of a clip is the person; each later one is accepted or
not, and an accepted one is learnt, as in a generation.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lipscore.generate.wav2lip.faces.person import FORK_LIMIT, LIMIT, Appearance, fork_distance
from lipscore.media.read import frames_at
from lipscore.types import Frame

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"
SECOND = 25  # frames of the boxes


def cuts(name: str, held: dict) -> tuple[list[Frame], list[Frame]]:
    """A clip's faces and pieces of background."""
    width, height = held["size_wh"]
    boxes = dict(zip(held["frames"], held["boxes"], strict=True))
    faces, corners = [], []
    for number, frame in enumerate(frames_at(CLIPS / "talking" / name, 25)):
        box = boxes.get(number) if number % SECOND == 0 else None
        if box is None:
            continue
        x1, y1, x2, y2 = (int(max(0, value)) for value in box[:4])
        x2, y2 = min(x2, width), min(y2, height)
        w, h = x2 - x1, y2 - y1
        if min(w, h) < 20:
            continue
        faces.append(frame[y1:y2, x1:x2].copy())
        for left, top in ((0, height - h), (width - w, height - h), (0, 0), (width - w, 0)):
            if abs(left - x1) > 0.8 * w or abs(top - y1) > 0.8 * h:
                corners.append(frame[top : top + h, left : left + w].copy())
                break
    return faces, corners


def main() -> None:
    """Measure and print."""
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    known = json.loads((CLIPS / "boxes.json").read_text())
    clips = [cuts(name, known[name]) for name in sorted(known)[::every]]
    clips = [(faces, corners) for faces, corners in clips if len(faces) > 1]
    kinds = ("the same person", "another person", "background")
    counts = {kind: [0, 0, 0] for kind in kinds}  # of how many, by appearance, by the fork's counts

    def count(kind: str, near: bool, fork: bool) -> None:
        for place, value in enumerate((True, near, fork)):
            counts[kind][place] += value

    for place, (faces, corners) in enumerate(clips):
        person = Appearance(faces[0])
        for face in faces[1:]:
            near = person.distance(face) <= LIMIT
            count(kinds[0], near, fork_distance(faces[0], face) <= FORK_LIMIT)
            if near:
                person.learn(face)
        others = [other[0] for at, (other, _) in enumerate(clips) if at != place]
        for kind, pieces in ((kinds[1], others), (kinds[2], corners)):
            for piece in pieces:
                count(kind, person.distance(piece) <= LIMIT, fork_distance(faces[0], piece) <= FORK_LIMIT)
    print(
        f"{len(clips)} clips; accepted by appearance (limit {LIMIT}) and by the fork's counts (limit {FORK_LIMIT:g}):"
    )
    for kind, (total, near, fork) in counts.items():
        print(f"{kind}: {near / total:.1%} and {fork / total:.1%} of {total}")


if __name__ == "__main__":
    main()
