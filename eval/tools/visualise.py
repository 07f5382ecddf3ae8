"""`lipscore visualise`: draw face boxes with their framewise confidence, and two charts per track.

The confidence is that of joonson/syncnet_python SyncNetInstance.py (evaluate, fconfm). The colour runs from red at 0 to
green at 10.2, as in its run_visualise.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lipscore.errors import MediaError, UsageError
from lipscore.eval.report.chart import Chart, png
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.trace import Trace, TracedTrack
from lipscore.media import edit, read, write
from lipscore.media.files.aside import replace_whole
from lipscore.media.files.scratch import scratch
from lipscore.metrics.catalogue import lse_text
from lipscore.syncnet.motion import is_still
from lipscore.types import Floats, Frame, MediaInfo, VideoScore

FONT = cv2.FONT_HERSHEY_SIMPLEX
CONFIDENT = 10.2  # all green from here on: run_visualise.py's 25 levels of colour per unit
NO_SYNC = 3.0  # LSE-C of a track below which its minimum may lie anywhere: `lipscore fix` refuses it too
TOGETHER = 0.03  # seconds by which the audio may start apart from the picture and still be copied
SOUND_RATE = 48000  # Hz, of audio that is put in its place
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")


@dataclass(frozen=True, slots=True)
class Label:
    """A track's drawing: boxes float[T, 4] in pixels from first_frame on, and confidence float32[T].

    pale: whether the track as a whole shows no sync, so that its numbers mean little.
    """

    number: int
    first_frame: int
    boxes: Floats
    confidence: Floats
    pale: bool = False


def visualise(
    path: Path, target: Path, setup: Setup, on_stage: Callable[[str], None] | None = None
) -> tuple[VideoScore, list[Path]]:
    """Score a video, and write it with boxes and numbers, plus charts named after the target (STEM.track00.png ...).

    The picture is resampled to the protocol's frame rate; a protocol that uses the file as the crop keeps the file's
    own rate. The audio is copied if the target's format allows it, else encoded as AAC.

    Returns:
        The record, and the written files; nothing is written unless its status is "ok".

    Raises:
        UsageError: the target is the video itself, or has an unsupported suffix.
        MissingError, MediaError: the target cannot be written.
    """
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError.about("out", target, f"end it in one of {' '.join(VIDEO_SUFFIXES)}")
    if target.resolve() == path.resolve():
        raise UsageError.about("out", target, "is the video itself; name another file")
    tell = on_stage or (lambda _: None)
    trace = Trace()
    record = score_video(path, setup, trace=trace, on_stage=tell)
    if record.status != "ok":
        return record, []
    kept = trace.tracks
    tell("drawing")
    info = read.probe(path)
    rate = info.fps if setup.protocol.direct else Fraction(setup.protocol.frame_rate)
    square = setup.protocol.audio_from == "clock"  # the published protocols see pixels as they are stored
    labels = [_label(k, *(info.display_size if square else (info.width, info.height))) for k in kept]
    with scratch() as folder:
        silent = folder / "silent.mp4"
        write.write_video(silent, annotate(read.frames_at(info, rate, square=square), labels), rate)
        tell("sound")
        _join(silent, info, target)
    written = [target]
    for k in kept:
        chart = target.with_name(f"{target.stem}.track{k.score.track_id:02d}.png")
        replace_whole(chart, png(charts(k, float(rate), record.model)))
        written.append(chart)
    return record, written


def annotate(frames: Iterator[Frame], labels: list[Label]) -> Iterator[Frame]:
    """Draw each frame's track boxes; the input frames are not changed."""
    for number, frame in enumerate(frames):
        visible = [label for label in labels if 0 <= number - label.first_frame < len(label.boxes)]
        image = frame.copy() if visible else frame
        for label in visible:
            index = number - label.first_frame
            _draw_box(image, label.boxes[index], label, float(label.confidence[index]))
        yield image


def colour(confidence: float, pale: bool = False) -> tuple[int, int, int]:
    """A colour in BGR: red at 0 and below, green at CONFIDENT and above; a pale one has three parts of white."""
    green = round(255 * min(1.0, max(0.0, confidence / CONFIDENT)))
    if not pale:
        return 0, green, 255 - green
    return 191, 191 + green // 4, 191 + (255 - green) // 4


def charts(kept: TracedTrack, rate: float, model: str = "") -> list[Chart]:
    """A track's two charts: the curve over offsets, and the framewise confidence over time; `model` scored the track.

    The curve is reversed, because its column k is the shift k - vshift and the offset is minus the best shift.
    """
    score = kept.score
    vshift = len(score.curve) // 2
    seconds = (score.first_frame + np.arange(len(kept.confidence))) / rate
    return [
        Chart(
            f"track {score.track_id}: {lse_text(score, model)}, offset {score.offset:+d}",
            "offset in frames (positive: the audio comes before the video)",
            "mean distance",
            list(range(-vshift, vshift + 1)),
            score.curve[::-1],
            mark=score.offset,
        ),
        Chart(
            f"track {score.track_id}: framewise confidence",
            "seconds",
            "confidence",
            list(seconds),
            list(kept.confidence),
        ),
    ]


def _join(silent: Path, info: MediaInfo, target: Path) -> None:
    """Join the drawn video with the audio's own packets, or with AAC if those cannot be copied.

    They cannot be copied if the target's format does not accept them, or if the audio's timestamps do not start with
    the first frame or have a gap.
    """
    start = info.audio_start_s or 0.0
    if abs(start) <= TOGETHER and not info.clock.joints:
        try:
            edit.join(silent, info.path, target, "copy", stream=info.own.audio)
        except MediaError:
            edit.join(silent, info.path, target, "aac", stream=info.own.audio)
        return
    with scratch() as folder:
        sound = folder / "sound.wav"
        write.write_wav(sound, read.read_pcm(info, SOUND_RATE), SOUND_RATE)
        edit.join(silent, sound, target, "aac")


def _label(kept: TracedTrack, width: int, height: int) -> Label:
    confidence = kept.confidence
    if kept.track is not None:
        boxes = kept.track.boxes_xyxy.astype(np.float32)
    else:
        boxes = np.tile(np.array([0, 0, width - 1, height - 1], np.float32), (len(confidence), 1))
    pale = kept.score.lse_c < NO_SYNC or is_still(kept.score.mouth_motion)
    return Label(kept.score.track_id, kept.score.first_frame, boxes, confidence, pale)


def _draw_box(image: Frame, box: Floats, label: Label, confidence: float) -> None:
    scale = max(image.shape[:2]) / 1000
    thick = max(1, round(3 * scale))
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour(confidence, label.pale), thick)
    text = f"Track {label.number}  {'no sync' if label.pale else f'{confidence:.2f}'}"
    size = 0.9 * scale
    (width, height), below = cv2.getTextSize(text, FONT, size, thick)
    left = min(max(0, x1), max(0, image.shape[1] - width))
    bottom = y1 - below if y1 - below - height >= 0 else y1 + height + below
    for ink, weight in (((0, 0, 0), thick + 2), ((255, 255, 255), thick)):
        cv2.putText(image, text, (left, bottom), FONT, size, ink, weight, cv2.LINE_AA)
