"""Read training clips: videos and face boxes in, the protocols' own crops out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.demo.clips import make_clip
from lipscore.errors import MediaError, UsageError
from lipscore.media import read
from lipscore.media.files.scratch import scratch
from lipscore.syncnet.crops import CropFile, CropPath
from lipscore.syncnet.models.mini import grey_crops
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.window import FRAME_RATE, SAMPLE_RATE
from lipscore.training.batches import Clip
from lipscore.types import Frame, Shot, Track

LOSSY_PATH = PROTOCOLS["wav2lip"]
FRAME_JPEG = 95  # OpenCV's quality nearest to FFmpeg's -qscale:v 2
RENDERED, RENDERED_SEED, RENDERED_S, RENDERED_PX = 20, 1000, 5.6, 320


def read_boxes(path: Path) -> dict[str, Track]:
    """Clip name -> one track at 25 frames a second, interpolated between the boxes in the file.

    Args:
        path: JSON: clip name (a path below the clips' folder) -> {"n_frames_25fps": n, "frames": [0, 5, ...],
            "boxes": [[x1, y1, x2, y2, score] or null, ...]}, in pixels of the source.

    Raises:
        UsageError: the file cannot be read or has another format.
    """
    try:
        entries = json.loads(path.read_text())
        return {name: _track(entry) for name, entry in sorted(entries.items())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(
            f"{path}: not a file of boxes ({error}); docs/measures/model-card.md has its format"
        ) from error


def _track(entry: dict[str, object]) -> Track:
    n_frames, frames, boxes = entry["n_frames_25fps"], entry["frames"], entry["boxes"]
    assert isinstance(n_frames, int) and isinstance(frames, list) and isinstance(boxes, list)
    known = [(frame, box[:4]) for frame, box in zip(frames, boxes, strict=True) if box is not None]
    known_frames = np.array([frame for frame, _ in known], np.float64)
    corners = np.array([box for _, box in known], np.float64)
    numbers = np.arange(n_frames)
    dense = np.stack([np.interp(numbers, known_frames, corners[:, k]) for k in range(4)], 1)
    return Track(0, Shot(0, n_frames), numbers, dense)


def read_clip(path: Path, name: str, track: Track, *, lossy: bool = False) -> Clip:
    """One clip: its frames at their own rate, each cropped where the track is at that time.

    Args:
        lossy: add the crops at 25 fps through the codecs of LOSSY_PATH. The protocol's transcoding of the whole file
            is left out, because it moves the audio against the picture.

    Raises:
        MediaError: the clip cannot be read.
        NotScoredError: the clip has no audio.
    """
    fps = float(read.probe(path).fps)
    crop_path = CropPath.of(track)
    last = len(track.frames) - 1

    def cut(frames: Iterator[Frame]) -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(frames):
            yield _grey_crop(crop_path, frame, min(last, round(number / fps * FRAME_RATE)))

    frames, pcm = np.stack(list(cut(read.frames_at(path, None)))), read.read_pcm(path)
    through = _through_codecs(read.frames_at(path, FRAME_RATE), crop_path) if lossy else None
    return Clip(name, frames, fps, pcm, through)


def _grey_crop(crop_path: CropPath, frame: Frame, index: int) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = grey_crops(crop_path.cut(frame, index, LOSSY_PATH.crop_scale)[None])[0]
    return grey


def _through_codecs(frames: Iterator[Frame], crop_path: CropPath) -> NDArray[np.uint8]:
    """Crops uint8[T, 84, 84]: each frame as a JPEG, then its crop through the protocol's crop file and a JPEG."""
    with scratch() as folder:
        file = CropFile(folder, 0, LOSSY_PATH)
        for index, frame in zip(range(len(crop_path.half)), frames, strict=False):
            data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, FRAME_JPEG])[1]
            file.write(crop_path.cut(read.decode_jpeg(data.tobytes()), index, LOSSY_PATH.crop_scale)[None])
        file.finish(np.zeros(SAMPLE_RATE, np.int16))
        return np.concatenate([grey_crops(chunk) for chunk in file.chunks()])


def rendered_clips() -> list[Clip]:
    """Drawn heads; their seeds differ from the demonstration's."""
    return [_rendered(RENDERED_SEED + index) for index in range(RENDERED)]


def _rendered(seed: int) -> Clip:
    drawn = make_clip(seed=seed, seconds=RENDERED_S, size=(RENDERED_PX, RENDERED_PX))
    boxes = drawn.boxes[0].astype(np.float64)
    crop_path = CropPath.of(Track(0, Shot(0, len(boxes)), np.arange(len(boxes)), boxes))
    crops = [_grey_crop(crop_path, frame, index) for index, frame in enumerate(drawn.frames)]
    assert drawn.pcm is not None
    return Clip(f"rendered/{seed}", np.stack(crops), float(FRAME_RATE), drawn.pcm)


def read_clips(folder: Path, boxes: Path, progress: Callable[[str, int, int], None]) -> list[Clip]:
    """All clips that have boxes, sorted by name, with direct crops and crops through the codecs.

    Args:
        progress: called with ("reading clips", done, total).

    Raises:
        UsageError: the boxes cannot be read, or name a missing clip.
    """
    tracks = read_boxes(boxes)
    clips = []
    for done, (name, track) in enumerate(tracks.items(), 1):
        try:
            clips.append(read_clip(folder / name, name, track, lossy=True))
        except MediaError as error:
            raise UsageError(f"{boxes} names a clip that cannot be used: {error}") from error
        progress("reading clips", done, len(tracks))
    return clips
