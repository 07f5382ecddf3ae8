"""Videos and face boxes to training clips, in the very crops that the protocols make."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lipscore.errors import MediaError, UsageError
from lipscore.syncnet import media
from lipscore.syncnet.crops import CropPath
from lipscore.syncnet.mini import grey_crops
from lipscore.syncnet.training.batches import FPS, Clip
from lipscore.types import Frame, Shot, Track

CROP_SCALE = 0.4


def read_boxes(path: Path) -> dict[str, Track]:
    """Clip name -> one track at 25 frames a second, the boxes interpolated between those that the file gives.

    Args:
        path: JSON: clip name (a path below the clips' folder) -> {"n_frames_25fps": n, "frames": [0, 5, ...],
            "boxes": [[x1, y1, x2, y2, score] or null, ...]}, in pixels of the source.

    Raises:
        UsageError: the file is not that.
    """
    try:
        entries = json.loads(path.read_text())
        return {name: _track(entry) for name, entry in sorted(entries.items())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f"{path}: not a file of boxes ({error}); see docs/model-card.md for its format") from error


def _track(entry: dict[str, object]) -> Track:
    n_frames, frames, boxes = entry["n_frames_25fps"], entry["frames"], entry["boxes"]
    assert isinstance(n_frames, int) and isinstance(frames, list) and isinstance(boxes, list)
    known = [(frame, box[:4]) for frame, box in zip(frames, boxes, strict=True) if box is not None]
    at = np.array([frame for frame, _ in known], np.float64)
    corners = np.array([box for _, box in known], np.float64)
    numbers = np.arange(n_frames)
    dense = np.stack([np.interp(numbers, at, corners[:, k]) for k in range(4)], 1)
    return Track(0, Shot(0, n_frames), numbers, dense)


def read_clip(path: Path, name: str, track: Track) -> Clip:
    """One clip: its own frames, each cut where the track is at that time.

    Raises:
        MediaError: it cannot be read.
        NotScoredError: it has no audio.
    """
    fps = float(media.probe(path).fps)
    where = CropPath.of(track)
    last = len(track.frames) - 1

    def cut(frames: Iterator[Frame]) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        for number, frame in enumerate(frames):
            at = min(last, round(number / fps * FPS))
            yield grey_crops(where.cut(frame, at, CROP_SCALE)[None])[0]

    return Clip(name, np.stack(list(cut(media.frames_at(path, None)))), fps, media.read_pcm(path))


def read_clips(folder: Path, boxes: Path, progress: Callable[[str, int, int], None]) -> list[Clip]:
    """Every clip that has boxes, sorted by name.

    Args:
        progress: called with ("reading clips", how many are read, of how many).

    Raises:
        UsageError: the boxes cannot be read, or name a clip that is not there.
    """
    tracks = read_boxes(boxes)
    clips = []
    for done, (name, track) in enumerate(tracks.items(), 1):
        try:
            clips.append(read_clip(folder / name, name, track))
        except MediaError as error:
            raise UsageError(f"{boxes} names a clip that cannot be used: {error}") from error
        progress("reading clips", done, len(tracks))
    return clips
