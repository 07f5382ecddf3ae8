"""Score one video: the stages in order, from the file to its record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError, NotScoredError
from lipscore.eval.reasons import check_length, edge_notes, no_track, still_notes, too_few_windows
from lipscore.eval.reference import score_reference
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.eval.trace import Trace, TracedTrack
from lipscore.faces.scan import scan
from lipscore.media import read
from lipscore.media.decode.passes import FrameSource
from lipscore.media.files.scratch import scratch
from lipscore.media.limits import Limits, Watch, current, watching
from lipscore.metrics import catalogue, lse, subframe
from lipscore.metrics.reduce import most_confident, reduce_tracks
from lipscore.syncnet.crops import CropFile, chunked, cut_tracks, track_pcm
from lipscore.syncnet.motion import MouthMotion, is_still
from lipscore.syncnet.shots import find_shots
from lipscore.syncnet.source import Heed, Source, direct_input, prepare
from lipscore.syncnet.tracks import find_tracks
from lipscore.types import GivenSound, MediaInfo, SyncCurve, SyncPass, Track, TrackScore, VideoScore

T = TypeVar("T")
UNREAD = ("media_error", "too_large", "timed_out")  # statuses of what is not worth reading again


class Stopwatch:
    """Measures the seconds of each stage; repeated stages add up.

    Args:
        on_stage: called with the name of each stage that begins.
        stop: checked at the start of each stage.
    """

    def __init__(self, on_stage: Callable[[str], None] | None, stop: Stop) -> None:
        self.seconds: dict[str, float] = {}
        self._on_stage, self._stop = on_stage, stop

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """Time the iterator itself, not the work done with its items."""
        while True:
            with self.stage(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        self._stop.check()
        if self._on_stage is not None:
            self._on_stage(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 4)


def score_video(
    path: Path | str,
    setup: Setup,
    reference: Path | str | None = None,
    audio: Path | str | None = None,
    *,
    name: str | None = None,
    sha256: str | None = None,
    trace: Trace | None = None,
    stop: Stop | None = None,
    on_stage: Callable[[str], None] | None = None,
    limits: Limits | None = None,
) -> VideoScore:
    """Score one video; a problem with the video becomes the record's status and reason, not an exception.

    Args:
        path: the video file.
        setup: the protocol, the models and the reference options.
        reference: the reference video for PSNR and SSIM.
        audio: a file whose sound is scored instead of the video's own; it starts with the first frame.
        name: the video's name in the record; default: its stem.
        sha256: the file's hash, if the caller knows it.
        trace: receives boxes, shots, tracks and curves.
        stop: ends the scoring with Stopped when it is set.
        on_stage: called with the name of each stage that begins: probe, transcode, shots, faces, tracks, crops, embed
            or reference; stages may recur.
        limits: the largest time, frames, pixels and audio of the video.

    Raises:
        MissingError: FFmpeg is missing, or the temporary folder cannot be written.
    """
    path = Path(path)
    stop = stop or Stop()
    watch = Stopwatch(on_stage, stop)
    setup = setup.hearing([audio])
    record = replace(setup.blank(str(path), name if name is not None else path.stem), status="ok")
    job: _Job | None = None
    heed: Heed | None = None
    try:
        with watch.stage("probe"):
            sha256 = sha256 or read.file_sha256(path)
            guard = Watch(limits or Limits(), path.stat().st_size, setup.protocol.frame_rate, stop.check)
            with watching(guard):
                info = read.probe(path)
                if audio is not None:
                    given = given_sound(audio)
                    guard.hearing(Path(audio).stat().st_size)
                    info, record = read.hearing(info, Path(audio)), replace(record, audio=given)
            record = replace(record, sha256=sha256)
        record = replace(record, fps=float(info.fps), n_frames=info.n_frames, duration_s=round(info.duration_s, 4))
        guard.lasting(info.duration_s)
        with watching(guard), scratch() as folder:
            job = _Job(setup, watch, trace or Trace(), stop, folder)
            heed = Heed(info, setup.protocol)
            scores = _score_crop(info, job, heed) if setup.protocol.direct else _score_file(info, job, heed)
        record = _with_tracks(record, scores, setup)
    except NotScoredError as error:
        record = replace(record, status=error.status, reason=error.reason)  # type: ignore[arg-type]
    except MediaError as error:
        record = replace(record, status="media_error", reason=str(error))
    if job is not None:
        record = replace(record, shots=job.trace.shots, notes=record.notes + tuple(job.notes))
    if heed is not None:
        record = _heeding(record, heed)
    if reference is not None and record.status not in UNREAD:
        with watch.stage("reference"):
            compared = score_reference(
                path,
                Path(reference),
                setup.protocol.frame_rate,
                options=setup.reference,
                device=setup.models.device,
                pool=setup.models.pool,
                limits=limits,
            )
        record = replace(
            record,
            reference=compared,
            psnr=compared.psnr,
            ssim=compared.ssim,
            scores=record.scores | catalogue.without_field(compared.values),
            alignment=compared.alignment,
        )
    return replace(record, seconds=watch.seconds)


def given_sound(path: Path | str) -> GivenSound:
    """The record's entry about the sound file that a video is scored against.

    Raises:
        MediaError: it cannot be read.
    """
    return GivenSound(str(path), read.file_sha256(Path(path)))


def score_source(
    source: Source, setup: Setup, *, name: str = "", trace: Trace | None = None, stop: Stop | None = None
) -> VideoScore:
    """Score frames and samples by the protocol's steps after transcoding.

    Args:
        source: frames at the protocol's frame rate, and int16[N] samples at 16 kHz that start with the first frame.
    """
    stop = stop or Stop()
    watch = Stopwatch(None, stop)
    record = replace(setup.blank("", name), status="ok")
    with scratch() as folder:
        job = _Job(setup, watch, trace or Trace(), stop, folder)
        try:
            record = _with_tracks(record, _score_tracks(source, job), setup)
        except NotScoredError as error:
            record = replace(record, status=error.status, reason=error.reason)  # type: ignore[arg-type]
    frames = job.trace.shots[-1].end if job.trace.shots else None
    notes = record.notes + tuple(job.notes)
    return replace(record, shots=job.trace.shots, notes=notes, n_frames=frames, seconds=watch.seconds)


def _with_tracks(record: VideoScore, tracks: tuple[TrackScore, ...], setup: Setup) -> VideoScore:
    lse_d, lse_c, offset = reduce_tracks(tracks, setup.protocol.reduce)
    found_ms = subframe.reduce_ms(tracks, most_confident(tracks), setup.protocol.reduce)
    notes = record.notes + edge_notes(tracks) + still_notes(tracks, setup.models.estimates)
    return replace(record, tracks=tracks, lse_d=lse_d, lse_c=lse_c, offset=offset, offset_ms=found_ms, notes=notes)


def _heeding(record: VideoScore, heed: Heed) -> VideoScore:
    """The record with the notes about the file, and with the decoded length if it is known."""
    record = replace(record, notes=record.notes + heed.notes, silent=heed.silent and record.status == "ok")
    if not heed.counts.complete:
        return record
    return replace(record, n_frames=heed.counts.n_frames, duration_s=round(float(heed.counts.end), 4))


def _through(stop: Stop, stream: Iterable[T]) -> Iterator[T]:
    """The frames of one pass, which ends with an error if the run is stopped or the video exceeds a limit."""
    guard = current()
    return stop.through(stream if guard is None else guard.frames(stream))


class _Job:
    """The state that all stages of one video share; folder holds its temporary files, notes go into the record."""

    def __init__(self, setup: Setup, watch: Stopwatch, trace: Trace, stop: Stop, folder: Path) -> None:
        self.setup, self.watch, self.trace, self.stop, self.folder = setup, watch, trace, stop, folder
        self.protocol, self.models = setup.protocol, setup.models
        self.notes: list[str] = []

    def open_pass(self, pcm: NDArray[np.int16], n_frames: int) -> SyncPass:
        """Start a track's pass through the model."""
        return self.models.sync.open(pcm, n_frames, self.protocol.vshift)


def _score_file(info: MediaInfo, job: _Job, heed: Heed) -> tuple[TrackScore, ...]:
    with job.watch.stage("transcode"):
        source = prepare(info, job.protocol, job.folder, heed, jpegs=not job.models.estimates)
    return _score_tracks(source, job, info.path)


def seek(
    source: Source, setup: Setup, path: Path, trace: Trace, watch: Stopwatch, stop: Stop
) -> tuple[FrameSource, tuple[Track, ...], tuple[str, ...]]:
    """A prepared video's frames, its face tracks, and notes for its record; the trace gets shots and boxes.

    Args:
        path: the video, which selects the detector (boxes from files differ between videos).

    Raises:
        NotScoredError: the video is too short, has no face or no track, or exceeds a limit.
    """
    protocol = setup.protocol
    frames = FrameSource(lambda: _through(stop, source.frames.packed()), source.frames.unpack)
    with watch.stage("shots"):
        shots = tuple(find_shots(_through(stop, source.shot_frames()), protocol.shot_threshold))
    trace.shots = shots
    check_length(shots, protocol)
    detector = setup.models.detector_for(path)
    with detector.turn, watch.stage("faces"):
        faces = scan(frames, shots, detector, setup.models.pool)
    trace.faces = faces
    partly = f"{detector.name} looked at {faces.looked_at} of {len(faces.boxes)} frames"
    with watch.stage("tracks"):
        tracking = find_tracks(faces.boxes, shots, protocol)
    if not tracking.tracks:
        raise no_track(faces, tracking, protocol)
    return frames, tracking.tracks, (partly,) if detector.stride > 1 else ()


def _score_tracks(source: Source, job: _Job, path: Path = Path()) -> tuple[TrackScore, ...]:
    """The scores of a prepared video's face tracks; path selects the detector, as in `seek`."""
    protocol, watch = job.protocol, job.watch
    frames, tracks, notes = seek(source, job.setup, path, job.trace, watch, job.stop)
    job.notes += notes
    make = _InMemory if protocol.crop_codec == "none" else _ThroughFile
    scores: list[TrackScore] = []
    under_way: dict[int, _InMemory | _ThroughFile] = {}
    for index, chunk, last in watch.each("crops", cut_tracks(frames, tracks, protocol.crop_scale)):
        if index not in under_way:
            track = tracks[index]
            under_way[index] = make(track, track_pcm(source.pcm, track, protocol.frame_rate), job)
        under_way[index].feed(chunk)
        if last:
            scores.append(under_way.pop(index).finish())
    kept = tuple(score for score in sorted(scores, key=lambda score: score.track_id) if score.n_windows)
    if not kept:
        raise too_few_windows(len(source.pcm), protocol)
    return kept


class _InMemory:
    """Scores a track whose crops go straight to the model.

    Args:
        pcm: int16[N] at 16 kHz, the track's audio.
    """

    def __init__(self, track: Track, pcm: NDArray[np.int16], job: _Job) -> None:
        self._track, self._job = track, job
        self._pass, self._motion = job.open_pass(pcm, len(track.frames)), MouthMotion()

    def feed(self, chunk: NDArray[np.uint8]) -> None:
        """The track's next crops."""
        with self._job.watch.stage("embed"):
            self._pass.feed(chunk)
            self._motion.feed(chunk)

    def finish(self) -> TrackScore:
        """The track's score, once all crops were fed."""
        ends = self._track.first_frame, self._track.last_frame
        return _scored(self._track, *ends, self._pass, self._motion, self._job)


class _ThroughFile:
    """Scores a track whose crops go through the protocol's crop file."""

    def __init__(self, track: Track, pcm: NDArray[np.int16], job: _Job) -> None:
        self._track, self._pcm, self._job = track, pcm, job
        self._file = CropFile(job.folder, track.id, job.protocol)

    def feed(self, chunk: NDArray[np.uint8]) -> None:
        """The track's next crops."""
        with self._job.watch.stage("crops"):
            self._file.write(chunk)

    def finish(self) -> TrackScore:
        """The track's score, once all crops were fed."""
        track, job = self._track, self._job
        with job.watch.stage("crops"):
            self._file.finish(self._pcm)
        sync, motion, n_read = _run_pass(self._file.pcm(), self._file.chunks, len(track.frames), job)
        if n_read < len(track.frames):
            # OpenCV's writer does not say that the disk was full while it wrote
            raise NotScoredError(
                "error",
                f"{n_read} of the {len(track.frames)} frames of track {track.id} could be read back from the "
                f"temporary folder {job.folder.parent}; is its disk full? Make room, or set TMPDIR to another place",
            )
        if job.trace.on_crop is not None:
            job.trace.on_crop(track, self._file.path)
        self._file.path.unlink()
        return _scored(track, track.first_frame, track.last_frame, sync, motion, job)


def _score_crop(info: MediaInfo, job: _Job, heed: Heed) -> tuple[TrackScore, ...]:
    """Score the whole file as one track, under a protocol that takes the file itself as the crop."""
    with job.watch.stage("transcode"):
        pcm, frames = direct_input(info, job.protocol, heed)
    sync, motion, n_frames = _run_pass(pcm, lambda: chunked(_through(job.stop, frames())), info.n_frames, job)
    heed.settle()
    score = _scored(None, 0, n_frames - 1, sync, motion, job)
    if not score.n_windows:
        raise too_few_windows(len(pcm), job.protocol)
    return (score,)


def _run_pass(
    pcm: NDArray[np.int16], chunks: Callable[[], Iterator[NDArray[np.uint8]]], n_frames: int, job: _Job
) -> tuple[SyncPass, MouthMotion, int]:
    """(the pass, the mouth's motion, the number of crops read); repeats the pass if n_frames was another number."""
    while True:
        sync, motion = job.open_pass(pcm, n_frames), MouthMotion()
        read_ = 0
        for chunk in job.watch.each("crops", chunks()):
            read_ += len(chunk)
            with job.watch.stage("embed"):
                sync.feed(chunk)
                motion.feed(chunk)
        if read_ == n_frames:
            return sync, motion, n_frames
        n_frames = read_


def _scored(track: Track | None, first: int, last: int, sync: SyncPass, motion: MouthMotion, job: _Job) -> TrackScore:
    """A track's score; it is also added to the trace."""
    curve, unrelated = sync.curve(), job.models.sync.unrelated
    scores: Callable[[SyncCurve], tuple[float, float]] = sync.scores
    if unrelated is not None and is_still(motion.value):  # an estimate must not take a photograph for a speaker
        scores = partial(_always, unrelated)
    score = track_score(0 if track is None else track.id, first, last, curve, scores)
    score = replace(score, mouth_motion=motion.value)
    job.trace.add(TracedTrack(track, score, curve, scores, job.models.sync.name))
    return score


def _always(scores: tuple[float, float], _: SyncCurve) -> tuple[float, float]:
    return scores


def track_score(
    track_id: int, first: int, last: int, curve: SyncCurve, scores: Callable[[SyncCurve], tuple[float, float]]
) -> TrackScore:
    """A track's numbers from its curve.

    Args:
        track_id, first, last: copied into the result.
        scores: the pass's `scores`.
    """
    if not len(curve.distances):
        return TrackScore(track_id, first, last, 0, math.nan, math.nan, 0, ())
    lse_d, lse_c = scores(curve)
    mean = tuple(round(float(v), 6) for v in curve.mean)
    offset, found_ms = lse.sync_of(curve.mean).offset, round(subframe.offset_ms(curve.mean), 3)
    return TrackScore(track_id, first, last, offset, lse_d, lse_c, len(curve.distances), mean, found_ms)
