"""`lipscore score --chunk`: long videos piece by piece, each cut exactly at frames, and what the offset does over time.

Each piece is scored as a video of its own, so memory and disk do not grow with the length, a row is written as soon as
it is there, and an interrupted run goes on with the next piece.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lipscore.errors import MediaError, UsageError
from lipscore.eval.appending import replace_whole
from lipscore.eval.models import Models
from lipscore.eval.observer import Observer
from lipscore.eval.runner import Job, Piece
from lipscore.eval.score import MIN_FRAMES, score_video
from lipscore.eval.tools.plot import Chart, draw, png
from lipscore.syncnet import media, remux
from lipscore.syncnet.protocols import Protocol
from lipscore.types import Detection, Detector, Frame, MediaInfo, Shot, VideoScore

TRUSTED = 2.0  # LSE-C from which on a piece's offset counts for the drift
LEAST = 3  # pieces that a drift is told from


def plan(info: MediaInfo, chunk_s: float, overlap_s: float, protocol: Protocol) -> tuple[Piece, ...]:
    """Cut a video's time into pieces of chunk_s seconds, each overlapping the one before it by overlap_s.

    Both are rounded to frames of the video. A rest that is too short for a track goes to the piece before it. A video
    that one piece holds is not cut: none.

    Raises:
        UsageError: the overlap is not smaller than the chunk, or a chunk is too short for a track.
    """
    least = MIN_FRAMES if protocol.direct else protocol.min_track + 1
    if not 0 <= overlap_s < chunk_s:
        raise UsageError(f"--overlap {overlap_s:g}: must be 0 or more and less than --chunk {chunk_s:g}")
    if chunk_s * protocol.frame_rate < least:
        raise UsageError(
            f"--chunk {chunk_s:g}: a track needs more than {least - 1} frames; "
            f"give {least / protocol.frame_rate:g} seconds or more"
        )
    size, step = round(chunk_s * info.fps), max(1, round((chunk_s - overlap_s) * info.fps))
    shortest = (least + 1) * info.fps / protocol.frame_rate
    pieces: list[Piece] = []
    start = 0
    while True:
        rest = info.n_frames - (start + step)  # what the next piece would hold
        end = info.n_frames if rest < shortest or start + size >= info.n_frames else start + size
        pieces.append(Piece(info, start / info.fps, (end - start) / info.fps))
        if end == info.n_frames:
            return tuple(pieces) if len(pieces) > 1 else ()
        start += step


def split(job: Job, chunk_s: float, overlap_s: float, protocol: Protocol) -> list[Job]:
    """The jobs of a video's pieces, named NAME@START-END in seconds; the job itself where there is nothing to cut.

    Raises:
        UsageError: as plan() does.
    """
    if job.problem:
        return [job]
    try:
        info = media.probe(job.path)
    except MediaError:
        return [job]  # scoring it says what is wrong
    if info.sample_rate is None:
        return [job]
    pieces = plan(info, chunk_s, overlap_s, protocol)
    return [replace(job, name=f"{job.name}@{_span(piece)}", piece=piece) for piece in pieces] or [job]


def score_piece(
    job: Job, piece: Piece, protocol: Protocol, models: Models, observer: Observer | None = None
) -> VideoScore:
    """Score one piece; frame numbers in the record count from the video's start, at the protocol's frame rate.

    Raises:
        MediaError: the piece cannot be cut out.
        MissingError: as score_video does.
    """
    observer = observer or Observer()
    rate = piece.info.fps if protocol.direct else protocol.frame_rate
    first = round(piece.start * rate)
    there = replace(models, detector_for=lambda _: _Later(models.detector_for(job.path), first))
    with tempfile.TemporaryDirectory(prefix="lipscore-") as folder:
        observer.stage("cut")
        cut = Path(folder) / f"{job.path.stem}.mkv"
        remux.cut(piece.info, cut, piece.start, piece.seconds)
        record = score_video(cut, protocol, there, name=job.name, observer=observer)
    return replace(
        record,
        video=str(job.path),
        sha256=piece.info.sha256,
        piece=(round(float(piece.start), 4), round(float(piece.start + piece.seconds), 4)),
        shots=tuple(Shot(shot.start + first, shot.end + first) for shot in record.shots),
        tracks=tuple(
            replace(track, first_frame=track.first_frame + first, last_frame=track.last_frame + first)
            for track in record.tracks
        ),
    )


class _Later:
    """A video's detector, for a piece that begins at its frame `first`."""

    def __init__(self, whole: Detector, first: int) -> None:
        self.name, self.stride, self.bridge = whole.name, whole.stride, whole.bridge
        self.batch_size, self.turn = whole.batch_size, whole.turn
        self._whole, self._first = whole, first

    def __call__(self, frames: Sequence[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """The boxes, numbered as the piece's frames are."""
        found = self._whole(frames, [index + self._first for index in indices])
        return [[replace(box, frame=index) for box in boxes] for index, boxes in zip(indices, found, strict=True)]


@dataclass(frozen=True, slots=True)
class Drift:
    """How a video's offset moves: seconds (a piece's middle) and offsets of the pieces that count.

    per_minute, low, high: the Theil-Sen slope in frames a minute and its 95 % interval, None with fewer than LEAST.
    """

    video: str
    seconds: tuple[float, ...]
    offsets: tuple[int, ...]
    per_minute: float | None = None
    low: float | None = None
    high: float | None = None


def drifts(records: Sequence[VideoScore]) -> list[Drift]:
    """The drift of each video that was scored in pieces; a piece with an LSE-C below TRUSTED does not count.

    Theil-Sen (the median of the slopes between all pairs), because a silent piece may have any offset.
    """
    from scipy.stats import theilslopes  # here, because it takes half a second: most runs need none of it

    by_video: dict[str, list[VideoScore]] = defaultdict(list)
    for record in records:
        if record.piece is not None:
            by_video[record.video].append(record)
    found = []
    for video, pieces in by_video.items():
        counted = [p for p in pieces if p.offset is not None and p.lse_c is not None and p.lse_c >= TRUSTED]
        seconds = tuple(sum(p.piece) / 2 for p in counted if p.piece is not None)
        offsets = tuple(p.offset for p in counted if p.offset is not None)
        slope = theilslopes(offsets, np.array(seconds) / 60) if len(counted) >= LEAST else None
        numbers = (float(slope.slope), float(slope.low_slope), float(slope.high_slope)) if slope is not None else ()
        found.append(Drift(video, seconds, offsets, *numbers))
    return found


def sentence(drift: Drift) -> str:
    """The drift in words."""
    name = Path(drift.video).name
    if drift.per_minute is None or drift.low is None or drift.high is None:
        return f"{name}: {len(drift.offsets)} pieces with an LSE-C of {TRUSTED:g} or more: too few to tell a drift"
    ends = (
        f"offset {drift.offsets[0]:+d} at {clock(drift.seconds[0])}, "
        f"{drift.offsets[-1]:+d} at {clock(drift.seconds[-1])}, {len(drift.offsets)} pieces"
    )
    travelled = abs(drift.per_minute) * (drift.seconds[-1] - drift.seconds[0]) / 60
    if drift.low <= 0 <= drift.high or travelled < 1:
        return f"{name}: no steady drift of a frame or more ({ends})"
    return f"{name}: drifts by {drift.per_minute:+.2f} frames a minute ({drift.low:+.2f} to {drift.high:+.2f}; {ends})"


def write_charts(found: Sequence[Drift], folder: Path) -> list[Path]:
    """A PNG per video of the offset over time, drift-NAME.png below folder; equal names are numbered.

    Raises:
        MissingError: it cannot be written.
    """
    written: list[Path] = []
    for drift in found:
        if len(drift.offsets) < 2:
            continue
        stem = re.sub(r"[^\w.-]+", "_", Path(drift.video).stem)
        target = folder / f"drift-{stem}.png"
        if target in written:
            target = folder / f"drift-{stem}-{len(written)}.png"
        minutes = [seconds / 60 for seconds in drift.seconds]
        title = "offset over time (positive: the audio comes before the video)"
        replace_whole(target, png(draw([Chart(title, "minutes", "frames", minutes, drift.offsets, dots=True)])))
        written.append(target)
    return written


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour.

    >>> clock(3725.4), clock(65)
    ('1:02:05', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _span(piece: Piece) -> str:
    return f"{float(piece.start):.2f}-{float(piece.start + piece.seconds):.2f}"
