"""`lipscore score --chunk`: score long videos in pieces, which are cut exactly at frames.

Each piece is scored as a video of its own. Memory and disk use therefore do not grow with the length, each row is
written as soon as its piece is scored, and an interrupted run continues with the next piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from lipscore.errors import MediaError, UsageError
from lipscore.eval.reasons import MIN_FRAMES
from lipscore.eval.run.jobs import Job, Piece
from lipscore.eval.score import given_sound, score_video
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.eval.trace import Trace
from lipscore.media import edit, notes, read
from lipscore.media.files.scratch import scratch
from lipscore.media.limits import Limits
from lipscore.syncnet.protocols import Protocol
from lipscore.types import Detection, Detector, Frame, MediaInfo, Shot, VideoScore


def plan(info: MediaInfo, chunk_s: float, overlap_s: float, protocol: Protocol) -> tuple[Piece, ...]:
    """Cut a video's time into pieces of chunk_s seconds, each overlapping the one before it by overlap_s.

    Both are rounded to frames of the video. A remainder that is too short for a track is added to the last piece. The
    result is empty for a video that fits into one piece.

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
    n_frames = round(info.duration_s * info.fps)  # what there is to cut, whatever the container says that there is
    size, step = round(chunk_s * info.fps), max(1, round((chunk_s - overlap_s) * info.fps))
    shortest = (least + 1) * info.fps / protocol.frame_rate
    pieces: list[Piece] = []
    start = 0
    while True:
        rest = n_frames - (start + step)  # what the next piece would hold
        end = n_frames if rest < shortest or start + size >= n_frames else start + size
        pieces.append(Piece(info, start / info.fps, (end - start) / info.fps))
        if end == n_frames:
            return tuple(pieces) if len(pieces) > 1 else ()
        start += step


def split(job: Job, chunk_s: float, overlap_s: float, protocol: Protocol) -> list[Job]:
    """The jobs of a video's pieces, named NAME@START-END in seconds; only the job itself if the video is not cut.

    Raises:
        UsageError: as in plan().
    """
    if job.problem:
        return [job]
    try:
        info = read.probe(job.path)
        if job.audio is not None:
            info = read.hearing(info, job.audio)
    except MediaError:
        return [job]  # scoring it says what is wrong
    if info.heard.sample_rate is None:
        return [job]
    pieces = plan(info, chunk_s, overlap_s, protocol)
    return [replace(job, name=f"{job.name}@{_span(piece)}", piece=piece) for piece in pieces] or [job]


def score_piece(
    job: Job,
    piece: Piece,
    setup: Setup,
    sha256: str,
    *,
    trace: Trace | None = None,
    stop: Stop | None = None,
    on_stage: Callable[[str], None] | None = None,
    limits: Limits | None = None,
) -> VideoScore:
    """Score one piece; frame numbers in the record count from the video's start, at the protocol's frame rate.

    Args:
        sha256: the hash of the whole file. The other arguments are those of `score_video`.

    Raises:
        MediaError: the piece cannot be cut out.
        MissingError: as in score_video.
    """
    rate = piece.info.fps if setup.protocol.direct else setup.protocol.frame_rate
    first = round(piece.start * rate)
    whole = setup.models.detector_for
    there = setup.with_detector(lambda _: _Later(whole(job.path), first))
    with scratch() as folder:
        if on_stage is not None:
            on_stage("cut")
        cut = folder / f"{job.path.stem}.mkv"
        found = edit.cut(piece.info, cut, piece.start, piece.seconds)
        how: dict[str, Any] = {"name": job.name, "sha256": sha256, "stop": stop, "on_stage": on_stage, "limits": limits}
        record = score_video(cut, there, trace=trace, **how)
    if job.audio is not None:  # the piece has the given sound beneath it as its own
        blank = setup.hearing([job.audio]).blank()
        heard = replace(record, audio=given_sound(job.audio), comparable=blank.comparable, changed=blank.changed)
        record = replace(heard, signature=blank.signature)
    return replace(
        record,
        notes=(*record.notes, *notes.of_piece(piece.info, found)),
        video=str(job.path),
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
        self.batch_size, self.turn, self.doubtful = whole.batch_size, whole.turn, whole.doubtful
        self._whole, self._first = whole, first

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """The boxes, numbered as the piece's frames are."""
        found = self._whole(frames, [index + self._first for index in indices])
        return [[replace(box, frame=index) for box in boxes] for index, boxes in zip(indices, found, strict=True)]


def _span(piece: Piece) -> str:
    return f"{float(piece.start):.2f}-{float(piece.start + piece.seconds):.2f}"
