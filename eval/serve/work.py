"""A job's work: score a video, search a wide range for its offset, and fix it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lipscore.errors import UsageError
from lipscore.eval import pictures
from lipscore.eval.options import DetectOptions
from lipscore.eval.report.page.page import axes_data, boxes_of, pictures_html
from lipscore.eval.report.page.results import command_of
from lipscore.eval.score import score_video
from lipscore.eval.serve.intake import Taken
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.eval.store.records import Record, as_json
from lipscore.eval.tools.fix import Fix, fix
from lipscore.eval.tools.longrange.detect import detect
from lipscore.eval.tools.longrange.mend import Mended as WideFix
from lipscore.eval.tools.longrange.mend import mend as mend_wide
from lipscore.eval.trace import Trace
from lipscore.syncnet.window import FRAME_RATE
from lipscore.types import VideoScore

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A video's result: the API's reply, and what the page shows in addition."""

    reply: dict[str, Any]
    page: dict[str, Any]


def analyse(taken: Taken, setup: Setup, stop: Stop, on_stage: OnStage) -> Answer:
    """Score a video.

    Raises:
        MissingError: FFmpeg or the temporary folder fails.
    """
    start = time.perf_counter()
    trace = Trace()
    record = score_video(taken.path, setup, name=taken.name, trace=trace, stop=stop, on_stage=on_stage)
    record = replace(record, video=taken.name, reason=record.reason.replace(str(taken.path), taken.name))
    wide = {"status": record.status} if record.status != "ok" else long_range(taken, setup, stop, on_stage)
    page = {} if record.status != "ok" else _page(taken, record, trace, setup, on_stage)
    seconds = round(time.perf_counter() - start, 2)
    return Answer(_reply(record, setup, wide, seconds), page)


def long_range(taken: Taken, setup: Setup, stop: Stop, on_stage: OnStage) -> dict[str, Any]:
    """The answer of `lipscore detect`, without the server's own path; "not available" if the model has no towers."""
    try:
        found = detect(taken.path, setup, stop=stop, on_stage=lambda _: on_stage("wide"))
        named = replace(found, video=taken.name, reason=found.reason.replace(str(taken.path), taken.name))
        return named.as_json()
    except UsageError as error:
        return {"status": "not available", "reason": str(error)}


@dataclass(frozen=True, slots=True)
class Mended:
    """The fixed file, or the reason why there is none."""

    message: str
    path: Path | None


def mend(taken: Taken, folder: Path, answer: Answer, setup: Setup, stop: Stop, on_stage: OnStage) -> Mended:
    """Move the audio by the measured offset, and keep the result if it is then in sync.

    Args:
        answer: the video's result; an offset beyond SyncNet's range is fixed as `lipscore fix --max-offset` does.

    Raises:
        LipscoreError: the result cannot be written.
    """

    def told(stage: str) -> None:
        stop.check()
        on_stage(stage)

    target = folder / f"mended{taken.suffix}"
    wide = answer.reply["long_range"]
    done: Fix | WideFix
    if wide["status"] == "found" and abs(wide["offset_frames"]) > setup.protocol.vshift:
        done = mend_wide(taken.path, target, setup, DetectOptions(), told)
    else:
        done = fix(taken.path, target, setup, on_stage=told)
    return Mended(done.message, target if done.verdict == "fixed" else None)


def _reply(record: VideoScore, setup: Setup, wide: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The keys of docs/commands/report.md, with the wide search's offset if it found one, else SyncNet's."""
    found = wide["status"] == "found"
    offset = wide["offset_frames"] if found else record.offset
    reply: dict[str, Any] = {
        "success": record.status == "ok",
        "video_name": record.name,
        "offset_frames": offset,
        "offset_seconds": None if offset is None else round(offset / FRAME_RATE, 3),
        "confidence": wide["confidence"] if found else record.lse_c,
        "confidence_is": "probability" if found else "LSE-C",
        "raw_offset": offset,
        "processing_time": seconds,
        "settings": {
            "protocol": setup.protocol.name,
            "model": setup.models.sync.name,
            "detector": setup.detector,
            "max_offset": wide["max_offset"] if found else setup.protocol.vshift,
        },
        "long_range": wide,
        "record": as_json(Record(record, setup.settings())),
    }
    if record.status != "ok":
        reply["error"] = f"{record.status}: {record.reason}"
    return reply


def _page(taken: Taken, record: VideoScore, trace: Trace, setup: Setup, on_stage: OnStage) -> dict[str, Any]:
    """The panel's data in addition to the record."""
    on_stage("pictures")
    found = pictures.gather(taken.path, record, trace, setup)
    curves = [track.curve for track in record.tracks if track.curve]
    settings = setup.as_record()
    identity = [
        ("signature", str(setup.signature)),
        ("protocol", f"{record.protocol} ({record.protocol_hash})"),
        ("model", record.model),
        ("detector", record.detector),
        ("weights", ", ".join(f"{one['name']} {one['sha256'][:12]}" for one in settings["weights"])),
        ("device", settings["device"]["name"]),
    ]
    return {
        "pictures": pictures_html(found, "job"),
        "boxes": boxes_of(found),
        "axes": axes_data(curves, "curve") if curves else None,
        "identity": identity,
        "command": command_of(record, {}),
    }
