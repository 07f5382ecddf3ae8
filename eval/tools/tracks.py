"""`lipscore tracks`: write the intermediate files of the original pipeline, for users who build on them.

File names and the columns of offsets.txt are those of joonson/syncnet_python, run_pipeline.py and (at 3c91e6c)
run_syncnet.py. The crop files are the ones that were scored. Pickles are replaced by JSON and .npz.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lipscore.errors import UsageError
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.store.records import track_as_json
from lipscore.eval.trace import Trace, TracedTrack
from lipscore.media.files.aside import replace_whole, unwritable, written_aside
from lipscore.syncnet.crops import CROP_FORMATS
from lipscore.syncnet.protocols import Protocol
from lipscore.types import Detection, Track, VideoScore

SCHEMA = 1
CROP_NAME = re.compile(r"\d{5}\.(avi|mp4)")


def write_tracks(path: Path, out: Path, setup: Setup, on_stage: Callable[[str], None] | None = None) -> VideoScore:
    """Score a video and write its crops and numbers below `out`; NAME is the video's stem.

    The files are pycrop/NAME/0000k.avi (.mp4 if the protocol writes MP4), pywork/NAME/offsets.txt, tracks.json,
    faces.json (the format of --detections, with five points per face if the detector finds them) and distances.npz (an
    array per track). Crops of an earlier run are deleted.

    Returns:
        The video's record; if its status is not "ok", at most faces.json is written.

    Raises:
        UsageError: the protocol writes no crop files.
        MissingError: `out` cannot be written.
    """
    protocol = setup.protocol
    if protocol.direct or protocol.crop_codec == "none":
        raise UsageError.about(
            "protocol", protocol.name, "writes no crop files; use a protocol that does, such as wav2lip"
        )
    crops, work = out / "pycrop" / path.stem, out / "pywork" / path.stem
    _clear(crops)

    def keep_crop(_: Track, made: Path) -> None:
        with written_aside(crops / made.name) as aside:
            shutil.copyfile(made, aside)

    trace = Trace(keep_crop)
    record = score_video(path, setup, trace=trace, on_stage=on_stage)
    if trace.faces is not None:
        boxes = [[_row(box) for box in frame] for frame in trace.faces.boxes]
        replace_whole(work / "faces.json", json.dumps(boxes).encode())
    if record.status == "ok":
        kept = trace.tracks
        replace_whole(work / "tracks.json", json.dumps(_tracks_json(record, kept, protocol), indent=1).encode())
        rows = [f"{_crop_name(k, protocol)}\t{k.score.offset}\t{k.score.lse_c:.3f}\n" for k in kept]
        replace_whole(work / "offsets.txt", ("FILENAME\tOFFSET\tCONF\n" + "".join(rows)).encode())
        arrays = io.BytesIO()
        np.savez(arrays, **{f"{k.score.track_id:05d}": k.curve.distances for k in kept})  # type: ignore[arg-type]
        replace_whole(work / "distances.npz", arrays.getvalue())
    return record


def _tracks_json(record: VideoScore, kept: list[TracedTrack], protocol: Protocol) -> dict[str, Any]:
    """The content of tracks.json; frames count at the protocol's rate, with a box and a confidence per track frame."""
    return {
        "schema": SCHEMA,
        "video": record.video,
        "sha256": record.sha256,
        "protocol": record.protocol,
        "protocol_hash": record.protocol_hash,
        "model": record.model,
        "comparable": record.comparable,
        "frame_rate": protocol.frame_rate,
        "shots": [[shot.start, shot.end] for shot in record.shots],
        "tracks": [
            {
                **track_as_json(k.score),
                "crop": f"pycrop/{Path(record.video).stem}/{_crop_name(k, protocol)}",
                "boxes_xyxy": [_floats(box) for box in k.track.boxes_xyxy] if k.track is not None else [],
                "confidence": [round(float(value), 4) for value in k.confidence],
            }
            for k in kept
        ],
    }


def _crop_name(kept: TracedTrack, protocol: Protocol) -> str:
    return CROP_FORMATS[protocol.crop_codec].name_of(kept.score.track_id)


def _row(face: Detection) -> list[float]:
    """The box, its score, and the five points if the detector finds them, in the format of --detections."""
    points = () if face.points is None else face.points.ravel()
    return [*_floats(face.box_xyxy), face.score, *_floats(points)]


def _floats(box: Any) -> list[float]:
    return [round(float(value), 3) for value in box]


def _clear(crops: Path) -> None:
    """Delete the crops of an earlier run; other files stay."""
    try:
        for path in crops.iterdir() if crops.is_dir() else ():
            if CROP_NAME.fullmatch(path.name):
                path.unlink()
    except OSError as error:
        raise unwritable(crops, error) from error
