"""The named protocols as data.

LSE values are comparable only within one protocol. Every protocol follows joonson/syncnet_python (6efbb1c) and differs
from it in named settings. FIELDS gives each setting's meaning and where the originals define it; `lipscore protocols
NAME` prints both.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from lipscore.errors import UsageError
from lipscore.syncnet.window import FRAME_RATE, VSHIFT

JOONSON = "joonson/syncnet_python@6efbb1c"
WAV2LIP = "Rudrabha/Wav2Lip@5c90fa9"
MOCHABENCH = "congwei1230/MoChaBench@043908d"
LATENTSYNC = "bytedance/LatentSync@a229c39"

FIELDS: dict[str, tuple[str, str]] = {
    "transcode": (
        "the first step: transcode to avi (MPEG-4 and MP3) or mp4 (H.264 and AAC), or none (decode once, in memory)",
        f"{JOONSON} run_pipeline.py; mp4: {LATENTSYNC} eval/syncnet_detect.py",
    ),
    "direct": (
        "use the file itself as SyncNet's input, at its own frame rate, frames resized to 224x224, without face search",
        f"{WAV2LIP} evaluation/scores_LSE/calculate_scores_LRS.py",
    ),
    "audio_from": (
        "the tracks' audio: transcoded, input (the input file), clock (the input file on the video's clock)",
        f"{JOONSON} run_pipeline.py; input: {MOCHABENCH} eval-lipsync",
    ),
    "frame_rate": (
        f"frames per second of the transcoded video: always {FRAME_RATE}, the rate that SyncNet was trained on",
        f"{JOONSON} run_pipeline.py --frame_rate",
    ),
    "facedet_scale": ("scale factor of frames before S3FD", f"{JOONSON} run_pipeline.py --facedet_scale"),
    "face_confidence": ("minimum score of an S3FD box (exclusive)", f"{JOONSON} run_pipeline.py inference_video"),
    "shot_threshold": ("threshold of the cut detector, ContentDetector", "scenedetect 0.6.0, its default"),
    "min_track": (
        "minimum detections per track (exclusive), and minimum frames per shot (inclusive)",
        f"{JOONSON} run_pipeline.py --min_track",
    ),
    "min_face_size": (
        "minimum of a track's mean width or height, whichever is larger, in pixels (exclusive)",
        f"{JOONSON} run_pipeline.py --min_face_size",
    ),
    "max_gap": (
        "maximum distance between two detections of a track, in frames",
        f"{JOONSON} run_pipeline.py --num_failed_det",
    ),
    "track_iou": (
        "minimum IoU of a track's next box with its last (exclusive)",
        f"{JOONSON} run_pipeline.py track_shot",
    ),
    "low_iou": (
        "if a box's IoU is too small: next_box (try the frame's next box), next_frame (go to the next frame)",
        f"{JOONSON} run_pipeline.py track_shot; next_frame: {MOCHABENCH} eval-lipsync",
    ),
    "iou_epsilon": ("added to the denominator of the IoU", f"{MOCHABENCH} eval-lipsync"),
    "crop_scale": (
        "margin around the face box, as a fraction of its half side",
        f"{JOONSON} run_pipeline.py --crop_scale",
    ),
    "crop_codec": (
        "the codec of the crop file: xvid (AVI with PCM), mp4v (MP4 with AAC), none (crops stay in memory)",
        f"{JOONSON} run_pipeline.py crop_video; mp4v: {LATENTSYNC} eval/syncnet_detect.py",
    ),
    "crop_audio": (
        "FFmpeg's timestamp correction on SyncNet's input: async (-async 1), aresample (-af aresample=async=1), none",
        f"{JOONSON} SyncNetInstance.py evaluate; aresample: {MOCHABENCH} eval-lipsync",
    ),
    "vshift": ("largest shift tried in each direction, in frames", f"{JOONSON} demo_syncnet.py --vshift"),
    "batch_size": (
        "windows per pass through the network, at most 4 on a CPU; changes the numbers by rounding only",
        f"{JOONSON} demo_syncnet.py --batch_size",
    ),
    "reduce": (
        "how a video's scores are computed from its tracks: mean, extremes (largest LSE-C and, independently, smallest "
        "LSE-D), mean_offset (means, and the truncated mean offset)",
        f"{WAV2LIP}, rows averaged; extremes: {MOCHABENCH} eval-lipsync; mean_offset: {LATENTSYNC} eval/",
    ),
}

Transcode = Literal["avi", "mp4", "none"]
AudioFrom = Literal["transcoded", "input", "clock"]
LowIou = Literal["next_box", "next_frame"]
CropCodec = Literal["xvid", "mp4v", "none"]
CropAudio = Literal["async", "aresample", "none"]
Reduce = Literal["mean", "extremes", "mean_offset"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """All settings that decide a video's numbers, except the weights; FIELDS gives each one's meaning."""

    name: str
    about: str
    source: str
    transcode: Transcode = "avi"
    direct: bool = False
    audio_from: AudioFrom = "transcoded"
    frame_rate: int = FRAME_RATE
    facedet_scale: float = 0.25
    face_confidence: float = 0.9
    shot_threshold: float = 27.0
    min_track: int = 100
    min_face_size: int = 100
    max_gap: int = 25
    track_iou: float = 0.5
    low_iou: LowIou = "next_box"
    iou_epsilon: float = 0.0
    crop_scale: float = 0.4
    crop_codec: CropCodec = "xvid"
    crop_audio: CropAudio = "async"
    vshift: int = VSHIFT
    batch_size: int = 20
    reduce: Reduce = "mean"
    changed: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that decide the numbers, by name."""
        return {name: getattr(self, name) for name in FIELDS if name != "batch_size"}

    @property
    def takes_sound(self) -> bool:
        """Whether the original takes a sound from another file, as MoChaBench's does with its speech WAV."""
        return self.audio_from == "input" and not self.direct

    @property
    def hash(self) -> str:
        """The first 12 hex digits of the settings' SHA-256; protocols with the same hash give the same numbers."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def published(self) -> bool:
        """Whether this is an unchanged published protocol, whose values can be compared with published ones."""
        named = PROTOCOLS.get(self.name)
        return named is not None and named.settings == self.settings and named.source != "lipscore"


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("wav2lip", "the numbers that papers report: a row per face track", f"{WAV2LIP} on {JOONSON}"),
        Protocol("joonson", "the official pipeline: a result per face track", JOONSON),
        Protocol(
            "wav2lip-lrs",
            "for files that are already face crops: the whole frame, without face detection",
            WAV2LIP,
            direct=True,
            transcode="none",
            audio_from="input",
            crop_codec="none",
        ),
        Protocol(
            "mochabench",
            "MoChaBench's, also PyPI syncnet-python 0.2.3",
            MOCHABENCH,
            audio_from="input",
            min_track=50,
            low_iou="next_frame",
            iou_epsilon=1e-8,
            crop_audio="aresample",
            reduce="extremes",
        ),
        Protocol(
            "latentsync",
            "LatentSync's evaluation",
            LATENTSYNC,
            transcode="mp4",
            min_track=50,
            crop_codec="mp4v",
            reduce="mean_offset",
        ),
        Protocol(
            "lipscore-1",
            "no lossy intermediate files: decoded once, in memory, by timestamps; for new work, not for comparison",
            "lipscore",
            transcode="none",
            audio_from="clock",
            min_track=50,
            crop_codec="none",
            crop_audio="none",
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """A protocol by name, or from a TOML file (`inherit = "wav2lip"` and the fields that differ).

    Raises:
        UsageError: no protocol has this name, or the file has an unknown field or an invalid value.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    path = Path(name)
    if path.suffix != ".toml":
        raise UsageError.about(
            "protocol", name, f"no such protocol; use one of {', '.join(PROTOCOLS)}, or a .toml file"
        )
    if path.exists() and not path.is_file():
        raise UsageError.about("protocol", name, "is not a regular file; name a .toml file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError.about("protocol", name, f"cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError.about("protocol", name, f"not valid TOML ({error})") from error
    inherit = table.pop("inherit", "wav2lip")
    if not isinstance(inherit, str) or inherit not in PROTOCOLS:
        raise UsageError(f"{name}: inherit = {inherit!r} is not a named protocol; use one of {', '.join(PROTOCOLS)}")
    titles = {"name": table.pop("name", path.stem), "about": table.pop("about", f"{inherit}, changed by {path.name}")}
    for title, value in titles.items():
        if not isinstance(value, str) or not value:
            raise UsageError(f"{name}: {title} = {value!r} is not text; write it in quotes")
    if titles["name"] in PROTOCOLS:
        raise UsageError(f"{name}: name = {titles['name']!r} is taken by a named protocol; give it a name of its own")
    changed = change(PROTOCOLS[inherit], table, where=name)
    return replace(changed, source=path.name, **titles)


def change(protocol: Protocol, values: dict[str, Any], where: str = "") -> Protocol:
    """The protocol with some fields changed; `changed` lists each field whose value differs.

    Raises:
        UsageError: a field is unknown, or a value has the wrong type or range.
    """
    types = get_type_hints(Protocol)
    prefix = f"{where}: " if where else ""
    for field, value in values.items():
        if field not in FIELDS:
            raise UsageError(f"{prefix}{field} is not a field of a protocol; the fields are {', '.join(FIELDS)}")
        choices = get_args(types[field])
        wanted = str if choices else types[field]
        if wanted is float and type(value) is int:
            values = {**values, field: float(value)}
        elif type(value) is not wanted:
            raise UsageError(f"{prefix}{field} = {value!r}: must be of type {wanted.__name__}")
        if choices and value not in choices:
            raise UsageError(f"{prefix}{field} = {value!r}: must be one of {', '.join(choices)}")
        if type(value) in (int, float) and (
            not math.isfinite(value) or value < 0 or (value == 0 and field in POSITIVE)
        ):
            raise UsageError(
                f"{prefix}{field} = {value!r}: must be {'more than 0' if field in POSITIVE else '0 or more'}"
            )
        if field == "frame_rate" and value != FRAME_RATE:
            raise UsageError(
                f"{prefix}frame_rate = {value}: must be {FRAME_RATE}, the rate of SyncNet's window; other rates give "
                "wrong scores. Leave it out: videos of any rate are resampled to it"
            )
    notes = tuple(
        f"{field}={value} ({protocol.name}: {getattr(protocol, field)})"
        for field, value in values.items()
        if getattr(protocol, field) != value and field != "batch_size"
    )
    return replace(protocol, **values, changed=protocol.changed + notes)


def mean_to_report(protocol: Mapping[str, Any]) -> Literal["rows", "videos"]:
    """Which mean of LSE a protocol's original reports: over its face tracks' rows, or over videos.

    Wav2Lip's scripts average rows. MoChaBench and LatentSync reduce a video's tracks first. lipscore-1, which has no
    original, gives all videos the same weight.

    Args:
        protocol: what as_record gives.
    """
    return "rows" if protocol["reduce"] == "mean" and protocol["audio_from"] != "clock" else "videos"


POSITIVE = ("frame_rate", "facedet_scale", "shot_threshold", "vshift", "batch_size")


def as_table(protocol: Protocol) -> list[tuple[str, Any, str, str]]:
    """(field, value, meaning, source) for each field."""
    return [(name, getattr(protocol, name), *FIELDS[name]) for name in FIELDS]


def as_record(protocol: Protocol) -> dict[str, Any]:
    """The protocol as JSON-ready data, with its hash."""
    record = asdict(protocol)
    record["changed"] = list(protocol.changed)
    record["hash"] = protocol.hash
    return record


assert {field.name for field in fields(Protocol)} == {*FIELDS, "name", "about", "source", "changed"}
