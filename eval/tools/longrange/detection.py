"""The results of `lipscore detect`, and their text and JSON."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipscore.metrics.longrange import Peak
from lipscore.metrics.standards import verdicts
from lipscore.syncnet.window import FRAME_RATE

MS_PER_FRAME = 1000 // FRAME_RATE
CLOSE = 2  # frames by which two searches may differ and still be called close


@dataclass(frozen=True, slots=True)
class Found:
    """The best offset, the probability that it is right to a frame, and the reason why it is no answer, or ""."""

    peak: Peak | None
    confidence: float
    trouble: str

    @property
    def status(self) -> str:
        """found or unknown."""
        return "unknown" if self.trouble else "found"


@dataclass(frozen=True, slots=True)
class FoundTrack:
    """One face track's own answer; its first and last frame count at 25 per second."""

    track_id: int
    first_frame: int
    last_frame: int
    found: Found


@dataclass(frozen=True, slots=True)
class Window:
    """The offset around a second of the video. seconds: the middle of the part that was searched."""

    seconds: float
    found: Found


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of the offset, from pieces of the video that were searched one by one.

    per_minute, low, high: the Theil-Sen slope in milliseconds per minute and its 95 % interval (positive: the sound
    gets earlier and earlier). at_start, at_end: the fitted offsets in milliseconds. detectable_at: the first second at
    which viewers detect the fitted offset (ITU-R BT.1359-1), or None. steady: whether the interval excludes 0 and the
    line spans at least a frame.
    """

    pieces: int
    per_minute: float
    low: float
    high: float
    at_start: float
    at_end: float
    detectable_at: float | None
    steady: bool

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data; ppm: how much faster the sound plays than the picture, in millionths."""
        to_ppm = 1000 / 60
        return {
            "pieces": self.pieces,
            "ms_per_minute": round(self.per_minute, 2),
            "ms_per_minute_interval": [round(self.low, 2), round(self.high, 2)],
            "ppm": round(self.per_minute * to_ppm, 1),
            "ppm_interval": [round(self.low * to_ppm, 1), round(self.high * to_ppm, 1)],
            "steady": self.steady,
            "offset_ms_at_start": round(self.at_start, 1),
            "offset_ms_at_end": round(self.at_end, 1),
            "detectable_at_s": None if self.detectable_at is None else round(self.detectable_at, 1),
        }


@dataclass(frozen=True, slots=True)
class Narrow:
    """The result of SyncNet's own search over +-vshift frames, the smallest mean distance."""

    model: str
    offset: int
    lse_c: float
    vshift: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One video's answer.

    status: "found", "unknown", or one of `lipscore.types.Status` except "ok". reason: why there is no offset. answer:
    the answer over all face tracks together; None if nothing could be searched; if the offset drifts, that of the
    middle. seconds: wall time by stage. windows: the number of lip windows.
    """

    video: str
    status: str
    reason: str
    model: str
    protocol: str
    method: str
    max_offset: int
    answer: Found | None = None
    windows: int = 0
    fps: float | None = None
    duration_s: float | None = None
    tracks: tuple[FoundTrack, ...] = ()
    drift: Drift | None = None
    trace: tuple[Window, ...] | None = None
    narrow: Narrow | None = None
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def offset(self) -> int | None:
        """In frames, positive where the audio comes before the video; None unless it was found."""
        peak = self.answer.peak if self.answer is not None and self.status == "found" else None
        return None if peak is None else peak.offset

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data; offsets are null unless the status is "found"; `best` is the best one in any case."""
        peak = self.answer.peak if self.answer is not None else None
        offset = self.offset
        return {
            "video": self.video,
            "status": self.status,
            "reason": self.reason,
            "offset_frames": offset,
            "offset_seconds": None if offset is None else offset / FRAME_RATE,
            "offset_subframe": None if offset is None or peak is None else round(peak.subframe, 2),
            "audio_leads": offset > 0 if offset else None,
            "verdicts": None if offset is None else verdicts(offset * MS_PER_FRAME),
            "confidence": None if self.answer is None else round(self.answer.confidence, 4),
            "best": peak_json(peak),
            "overlap_windows": None if peak is None else peak.windows,
            "second_best": None if peak is None else peak.second,
            "at_edge": None if peak is None else peak.at_edge,
            "windows": self.windows,
            "fps": self.fps,
            "duration_s": self.duration_s,
            "model": self.model,
            "protocol": self.protocol,
            "method": self.method,
            "max_offset": self.max_offset,
            "tracks": [
                {
                    "track_id": track.track_id,
                    "first_frame": track.first_frame,
                    "last_frame": track.last_frame,
                    **_found_json(track.found),
                }
                for track in self.tracks
            ],
            "drift": None if self.drift is None else self.drift.as_json(),
            **({} if self.trace is None else {"trace": [_window_json(window) for window in self.trace]}),
            **({} if self.narrow is None else {"compare": self._compared()}),
            "notes": list(self.notes),
            "processing_time": round(math.fsum(self.seconds.values()), 2),
            "seconds": self.seconds,
        }

    def _compared(self) -> dict[str, Any]:
        assert self.narrow is not None
        return {
            "model": self.narrow.model,
            "vshift": self.narrow.vshift,
            "offset_frames": self.narrow.offset,
            "lse_c": round(self.narrow.lse_c, 3),
            "processing_time": round(self.narrow.seconds, 2),
            "agreement": agreement(self),
        }


def agreement(detection: Detection) -> str:
    """Whether the wide search and SyncNet's own search agree, in words."""
    narrow = detection.narrow
    if narrow is None:
        return "not compared"
    offset = detection.offset
    if offset is None:
        return "no answer to compare"
    if abs(offset) > narrow.vshift:
        return f"outside +-{narrow.vshift}: SyncNet's search cannot see it"
    apart = abs(offset - narrow.offset)
    return "agree" if apart == 0 else "close" if apart <= CLOSE else f"{apart} frames apart"


def sentence(offset: int) -> str:
    """An offset in words: which stream is early, by how much, and what corrects it.

    >>> sentence(50)
    'the audio is 2.00 s early: delay the audio by 2.00 s'
    """
    seconds = abs(offset) / FRAME_RATE
    if offset == 0:
        return "in sync to the frame"
    if offset > 0:
        return f"the audio is {seconds:.2f} s early: delay the audio by {seconds:.2f} s"
    return f"the audio is {seconds:.2f} s late: advance the audio by {seconds:.2f} s"


def mend_hint(detection: Detection) -> str:
    """The command that fixes the video; "" if it needs no fix, or if no single shift fixes it."""
    offset, drifts = detection.offset, detection.drift is not None and detection.drift.steady
    if not offset or drifts:
        return ""
    wide = f"--max-offset {detection.max_offset} --protocol {detection.protocol}"
    return f"lipscore fix {shlex.quote(detection.video)} --out FIXED{Path(detection.video).suffix} {wide}"


def drift_sentence(drift: Drift) -> str:
    """The drift in words."""
    if not drift.steady:
        return f"no steady drift ({drift.pieces} pieces, {drift.low:+.1f} to {drift.high:+.1f} ms a minute)"
    text = (
        f"drifts by {drift.per_minute:+.1f} ms a minute ({drift.low:+.1f} to {drift.high:+.1f}, {drift.pieces} pieces) "
        f"from {drift.at_start:+.0f} to {drift.at_end:+.0f} ms"
    )
    if drift.detectable_at is None:
        return f"{text}; never detectable"
    return f"{text}; detectable from {drift.detectable_at:.0f} s on"


def peak_json(peak: Peak | None) -> dict[str, Any] | None:
    """A peak as JSON-ready data."""
    if peak is None:
        return None
    return {"offset_frames": peak.offset, "z": round(peak.z, 3), "second_z": _finite(peak.second_z)}


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _found_json(found: Found) -> dict[str, Any]:
    peak = found.peak
    taken = peak is not None and not found.trouble
    return {
        "status": found.status,
        "offset_frames": peak.offset if peak is not None and taken else None,
        "confidence": round(found.confidence, 4),
        "best": peak_json(peak),
    }


def _window_json(window: Window) -> dict[str, Any]:
    return {"seconds": round(window.seconds, 2), **_found_json(window.found)}
