"""The pictures of a video for a page: six face crops, boxes, confidence over time, cuts and silence.

A record holds numbers only. `lipscore score --keep-pictures` and `lipscore serve` gather the pictures from a trace, and
write or send them as JSON (docs/formats.md).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MissingError
from lipscore.eval.setup import Setup
from lipscore.eval.trace import Trace, TracedTrack
from lipscore.media import read
from lipscore.media.files.aside import replace_whole
from lipscore.syncnet.window import SAMPLE_RATE
from lipscore.types import Floats, Frame, VideoScore

FOLDER = "pictures"  # below a run's --out
SCHEMA = 1
N_CROPS = 6
CROP_SIZE, QUALITY = 96, 80  # pixels; of the JPEGs
MARGIN = 0.2  # of the face box, to each side of a crop
SILENT_DBFS = -50.0  # a block below this root mean square is silent
BLOCK_S, LEAST_SILENCE_S = 0.04, 0.2  # of the blocks; shorter silences are pauses between words


def gather(path: Path, record: VideoScore, trace: Trace, setup: Setup) -> dict[str, Any]:
    """The pictures of a video that was scored, as JSON-ready data; docs/formats.md describes the fields.

    Args:
        path: the video file.
        record: its record, with status "ok".
        trace: the scoring's intermediate results.

    Raises:
        MediaError: the file cannot be read again.
    """
    info = read.probe(path)
    rate = info.fps if setup.protocol.direct else Fraction(setup.protocol.frame_rate)
    kept = trace.tracks
    best = max(kept, key=lambda one: one.score.lse_c)
    numbers = np.linspace(best.score.first_frame, best.score.last_frame, N_CROPS).round().astype(int).tolist()
    return {
        "schema": SCHEMA,
        "video": str(path),
        "rate": float(rate),
        "size": [info.width, info.height],
        "duration_s": record.duration_s,
        "cuts": [round(float(shot.start / rate), 3) for shot in trace.shots[1:]],
        "silence": silences(read.read_pcm(path if record.audio is None else Path(record.audio.path))),
        "tracks": [_track(one) for one in kept],
        "crops": _crops(read.frames_at(path, rate), best, numbers, float(rate)),
    }


def silences(pcm: NDArray[np.int16]) -> list[list[float]]:
    """[start, end] in seconds of each stretch of at least LEAST_SILENCE_S whose blocks are all below SILENT_DBFS.

    Args:
        pcm: int16[N] at 16 kHz.
    """
    size = round(BLOCK_S * SAMPLE_RATE)
    blocks = pcm[: len(pcm) // size * size].reshape(-1, size).astype(np.float64) / 32768
    silent = np.sqrt((blocks**2).mean(axis=1)) < 10 ** (SILENT_DBFS / 20)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], silent, [False])).astype(np.int8)))
    stretches = edges.reshape(-1, 2) * BLOCK_S
    return [[round(float(a), 3), round(float(b), 3)] for a, b in stretches if b - a >= LEAST_SILENCE_S - BLOCK_S / 2]


def write(out: Path, settings: str, record: VideoScore, pictures: Mapping[str, Any]) -> None:
    """Write a video's pictures below a run's output folder.

    Raises:
        MissingError: they cannot be written.
    """
    text = json.dumps(pictures, allow_nan=False)
    replace_whole(place(out, record, settings), text.encode(errors="backslashreplace"))


def read_kept(out: Path, record: VideoScore, settings: str) -> dict[str, Any] | None:
    """A video's pictures; None if none were kept, or if the file is incomplete.

    Raises:
        MissingError: the file exists and cannot be read.
    """
    path = place(out, record, settings)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MissingError(f"{path}: cannot be read ({error.strerror}); delete it, or change its mode") from error
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA else None


def place(out: Path, record: VideoScore, settings: str) -> Path:
    """The path of a video's pictures, named after the hashes of the file, the settings and a given sound."""
    sound = "" if record.audio is None else f"-{record.audio.sha256[:16]}"
    return out / FOLDER / f"{record.sha256[:16]}-{settings}{sound}.json"


def _track(kept: TracedTrack) -> dict[str, Any]:
    boxes = None if kept.track is None else kept.track.boxes_xyxy.round().astype(int).tolist()
    return {
        "id": kept.score.track_id,
        "first_frame": kept.score.first_frame,
        "confidence": [round(float(value), 2) for value in kept.confidence],
        "boxes": boxes,
    }


def _crops(frames: Iterator[Frame], best: TracedTrack, numbers: Sequence[int], rate: float) -> list[dict[str, Any]]:
    """The face at these frames as JPEGs in base64, each with its time in seconds."""
    crops = []
    for number, frame in enumerate(frames):
        if number > numbers[-1]:
            break
        if number in numbers:
            box = None if best.track is None else best.track.boxes_xyxy[number - best.score.first_frame]
            ok, data = cv2.imencode(".jpg", _square(frame, box), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            assert ok, "OpenCV always encodes an image of 8 bits"
            crops.append({"at": round(number / rate, 2), "jpeg": base64.b64encode(data.tobytes()).decode()})
    return crops


def _square(frame: Frame, box: Floats | NDArray[np.float64] | None) -> Frame:
    """A square about the box (the frame's middle without one), CROP_SIZE pixels wide."""
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = (0.0, 0.0, float(width), float(height)) if box is None else map(float, box)
    half = max(x2 - x1, y2 - y1) / 2 * (1 if box is None else 1 + 2 * MARGIN)
    half = max(1.0, min(half, width / 2, height / 2))
    x, y = (min(max(middle, half), size - half) for middle, size in (((x1 + x2) / 2, width), ((y1 + y2) / 2, height)))
    part = frame[int(y - half) : int(y + half), int(x - half) : int(x + half)]
    return cv2.resize(part, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
