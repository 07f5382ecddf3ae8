"""Read training clips: videos and face boxes in, the protocols' own crops out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.demo.clips import make_clip
from lipscore.errors import MediaError, NotScoredError, UsageError
from lipscore.faces.yunet import YunetDetector
from lipscore.media import read
from lipscore.media.files.scratch import scratch
from lipscore.syncnet.crops import CropFile, CropPath
from lipscore.syncnet.models.mini import grey_crops
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.window import FRAME_RATE, SAMPLE_RATE
from lipscore.training.batches import Clip
from lipscore.training.generators import LEADS, generator_of
from lipscore.training.speaker import follow
from lipscore.types import Frame, Shot, Track

LOSSY_PATH = PROTOCOLS["wav2lip"]
FRAME_JPEG = 95  # OpenCV's quality nearest to FFmpeg's -qscale:v 2
# MoChaBench's clips whose boxes in the file follow a listener, seen from the side or from behind
LISTENERS = frozenset(
    f"2p_1clip_1talk/{name}.mp4" for name in ("15_woman_writinginanotebook", "30_man_sword_tavern", "3_man_suit_beer")
)
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
    info = read.probe(path)
    fps, first, last = float(info.fps), track.first_frame, track.last_frame
    crop_path = CropPath.of(track)
    numbers: list[int] = []

    def cut(frames: Iterator[Frame]) -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(frames):
            at = round(number / fps * FRAME_RATE)
            if first <= at <= last + 1:
                numbers.append(number)
                yield _grey_crop(crop_path, frame, min(last, at) - first)

    frames = np.stack(list(cut(read.frames_at(info, None))))
    pcm = read.read_pcm(info)[round(numbers[0] / fps * SAMPLE_RATE) :]
    if numbers[-1] < info.n_frames - 1:
        pcm = pcm[: round(len(numbers) / fps * SAMPLE_RATE)]
    through = _through_codecs(islice(read.frames_at(info, FRAME_RATE), first, None), crop_path) if lossy else None
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


def read_clips(folder: Path, boxes: Path, more: Path | None, progress: Callable[[str, int, int], None]) -> list[Clip]:
    """All clips that have boxes, sorted by name, then those below `more`; crops are direct and through the codecs.

    The crops follow YuNet's boxes, as in a run. Known boxes only choose whose they are; they are used themselves where
    YuNet sees nobody.

    Args:
        more: a folder of videos of one speaker each, of other generators and of real people
            (`training.generators`); their names are paths below it.
        progress: called with ("reading clips", done, total).

    Raises:
        UsageError: the boxes cannot be read, or name a missing clip; a video below `more` shows no face.
    """
    tracks = read_boxes(boxes)
    others = [] if more is None else _videos(more)
    detector = YunetDetector()
    clips: list[Clip] = []
    for name, known in tracks.items():
        try:
            found = follow(folder / name, detector, known, listener=name in LISTENERS)
            clips.append(read_clip(folder / name, name, known if found is None else found.track, lossy=True))
        except MediaError as error:
            raise UsageError(f"{boxes} names a clip that cannot be used: {error}") from error
        progress("reading clips", len(clips), len(tracks) + len(others))
    for name, path in others:
        try:
            found = follow(path, detector)
            if found is None:
                raise UsageError(f"{path}: nobody's face is seen for long enough to train on; take the file away")
            clip = read_clip(path, name, found.track, lossy=True)
        except (MediaError, NotScoredError) as error:
            raise UsageError(f"{path}: cannot be trained on: {error}") from error
        generator = generator_of(name)
        clips.append(replace(clip, generator=generator, lead=LEADS.get(generator, 0.0)))
        progress("reading clips", len(clips), len(tracks) + len(others))
    return clips


def _videos(folder: Path) -> list[tuple[str, Path]]:
    """The videos below a folder with their paths below it, sorted."""
    if not folder.is_dir():
        raise UsageError.about("more", folder, "not a folder; name one of videos of other generators or of real people")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in read.VIDEO_SUFFIXES)
    return [(path.relative_to(folder).as_posix(), path) for path in found]
