"""One video: the stages in order, from the file to its record."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError, NotScoredError
from lipscore.eval.models import Models
from lipscore.eval.observer import Observer
from lipscore.eval.reference import ReferenceOptions, score_reference
from lipscore.faces.scan import Faces, scan
from lipscore.media import read
from lipscore.media.passes import FrameSource
from lipscore.metrics import lse
from lipscore.syncnet.audio import SAMPLE_RATE, mfcc
from lipscore.syncnet.crops import CropFile, chunked, cut_tracks, track_pcm
from lipscore.syncnet.protocols import Protocol
from lipscore.syncnet.shots import find_shots
from lipscore.syncnet.source import Heed, Source, direct_input, prepare
from lipscore.syncnet.sync_pass import SyncPass
from lipscore.syncnet.tracks import Tracking, find_tracks
from lipscore.syncnet.window import N_FRAMES
from lipscore.types import MediaInfo, Shot, SyncCurve, Track, TrackScore, VideoScore

T = TypeVar("T")
MIN_FRAMES = N_FRAMES + 1  # the least that gives a window


class Stopwatch:
    """Seconds by stage; a stage that is entered twice counts both times. The observer is told of each entry."""

    def __init__(self, observer: Observer) -> None:
        self.seconds: dict[str, float] = {}
        self._observer = observer

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """Time what an iterator does between its items, not what is done with them."""
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
        self._observer.stage(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 4)


def score_video(
    path: Path | str,
    protocol: Protocol,
    models: Models,
    reference: Path | None = None,
    *,
    name: str | None = None,
    reference_options: ReferenceOptions | None = None,
    observer: Observer | None = None,
) -> VideoScore:
    """Score one video; what goes wrong with it becomes the record's status and reason, never an exception.

    Args:
        path: the video file.
        reference: the video to take PSNR and SSIM against.
        name: what the record calls the video; default its stem.
        observer: is shown boxes, crop files and distances on the way.

    Raises:
        MissingError: FFmpeg is not there, or the temporary folder cannot be written: no fault of the video.
    """
    path = Path(path)
    observer = observer or Observer()
    watch = Stopwatch(observer)
    record = VideoScore(
        video=str(path),
        name=name if name is not None else path.stem,
        sha256="",
        status="ok",
        reason="",
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        model=models.embedder.name,
        detector="none" if protocol.direct else models.detector,
        comparable=models.comparable(protocol),
        changed=protocol.changed + models.changed,
        notes=models.weights_notes,
    )
    try:
        with watch.stage("probe"):
            info = read.probe(path)
        record = replace(
            record,
            sha256=info.sha256,
            fps=float(info.fps),
            n_frames=info.n_frames,
            duration_s=round(info.duration_s, 4),
        )
        with tempfile.TemporaryDirectory(prefix="lipscore-") as folder:
            heed = Heed(info, protocol)
            job = _Job(info, protocol, models, watch, Path(folder), observer, heed)
            found = _Found()
            try:
                scores = (_score_direct(job),) if protocol.direct else _score_tracks(job, found)
            finally:
                record = replace(record, shots=found.shots, notes=record.notes + found.notes + heed.notes)
                if heed.counts.complete:
                    n_frames, end = heed.counts.n_frames, round(float(heed.counts.end), 4)
                    record = replace(record, n_frames=n_frames, duration_s=end)
            record = replace(record, tracks=scores, silent=heed.silent)
        lse_d, lse_c, offset = reduce_tracks(record.tracks, protocol.reduce)
        notes = record.notes + edge_notes(record.tracks)
        record = replace(record, lse_d=lse_d, lse_c=lse_c, offset=offset, notes=notes)
    except NotScoredError as error:
        record = replace(record, status=error.status, reason=error.reason)  # type: ignore[arg-type]
    except MediaError as error:
        record = replace(record, status="media_error", reason=str(error))
    if reference is not None and record.status != "media_error":
        with watch.stage("reference"):
            compared = score_reference(path, reference, protocol.frame_rate, options=reference_options)
        record = replace(
            record, reference=compared, psnr=compared.psnr, ssim=compared.ssim, alignment=compared.alignment
        )
    return replace(record, seconds=watch.seconds)


@dataclass(frozen=True, slots=True)
class _Job:
    """What every stage of one video needs; folder is for its temporary files."""

    info: MediaInfo
    protocol: Protocol
    models: Models
    watch: Stopwatch
    folder: Path
    observer: Observer
    heed: Heed


class _Found:
    """What is known of a video even if its scoring breaks off."""

    def __init__(self) -> None:
        self.shots: tuple[Shot, ...] = ()
        self.notes: tuple[str, ...] = ()


def _score_tracks(job: _Job, found: _Found) -> tuple[TrackScore, ...]:
    protocol, watch = job.protocol, job.watch
    with watch.stage("transcode"):
        source = _watched(prepare(job.info, protocol, job.folder, job.heed), job.observer)
    with watch.stage("shots"):
        found.shots = tuple(find_shots(source.shot_frames(), protocol.shot_threshold))
    _check_length(found.shots, protocol)
    detector = job.models.detector_for(job.info.path)
    with detector.turn, watch.stage("faces"):
        faces = scan(source.frames, found.shots, detector)
    job.observer.faces(faces, found.shots)
    if detector.stride > 1:
        found.notes = (f"{detector.name} looked at {faces.looked_at} of {len(faces.boxes)} frames",)
    with watch.stage("tracks"):
        tracking = find_tracks(faces.boxes, found.shots, protocol)
    if not tracking.tracks:
        raise _no_track(faces, tracking, protocol)
    scores: list[TrackScore] = []
    lanes: dict[int, _Lane] = {}
    for index, chunk, last in watch.each("crops", cut_tracks(source.frames, tracking.tracks, protocol.crop_scale)):
        if index not in lanes:
            lanes[index] = _Lane(tracking.tracks[index], source, job)
        lanes[index].feed(chunk)
        if last:
            scores.append(lanes.pop(index).finish())
    kept = tuple(score for score in sorted(scores, key=lambda score: score.track_id) if score.n_windows)
    if not kept:
        raise _too_few_windows(len(source.pcm), protocol)
    return kept


def _watched(source: Source, observer: Observer) -> Source:
    """The same source, whose streams tell the observer of every frame."""

    def told(stream: Iterator[T]) -> Iterator[T]:
        for item in stream:
            observer.working()
            yield item

    frames = FrameSource(lambda: told(source.frames.packed()), source.frames.unpack)
    return replace(source, frames=frames, shot_frames=lambda: told(source.shot_frames()))


class _Lane:
    """One track on its way from crops to its score, through the protocol's crop file where it has one."""

    def __init__(self, track: Track, source: Source, job: _Job) -> None:
        self._track, self._job = track, job
        self._pcm = track_pcm(source.pcm, track, job.protocol.frame_rate)
        self._file: CropFile | None = None
        self._pass: SyncPass | None = None
        if job.protocol.crop_codec == "none":
            self._pass = _open_pass(self._pcm, len(track.frames), job)
        else:
            self._file = CropFile(job.folder, track.id, job.protocol)

    def feed(self, chunk: NDArray[np.uint8]) -> None:
        """The track's next crops."""
        if self._pass is not None:
            with self._job.watch.stage("embed"):
                self._pass.feed(chunk)
        elif self._file is not None:
            with self._job.watch.stage("crops"):
                self._file.write(chunk)

    def finish(self) -> TrackScore:
        """The track's score, once all crops were fed."""
        if self._file is not None:
            with self._job.watch.stage("crops"):
                self._file.finish(self._pcm)
            sync = _run_pass(self._file.pcm(), self._file.chunks, len(self._track.frames), self._job)
            self._job.observer.crop_file(self._track, self._file.path)
            self._file.path.unlink()
        else:
            assert self._pass is not None
            sync = self._pass
        curve = _curve_of(sync)
        score = track_score(self._track.id, self._track.first_frame, self._track.last_frame, curve, self._job.models)
        self._job.observer.scored(self._track, score, curve)
        return score


def _score_direct(job: _Job) -> TrackScore:
    """The whole file as one track."""
    with job.watch.stage("transcode"):
        pcm, frames = direct_input(job.info, job.protocol, job.heed)
    sync = _run_pass(pcm, lambda: chunked(frames()), job.info.n_frames, job)
    curve = _curve_of(sync)
    job.heed.settle()
    if not len(curve.distances):
        raise _too_few_windows(len(pcm), job.protocol)
    score = track_score(0, 0, sync.n_frames - 1, curve, job.models)
    job.observer.scored(None, score, curve)
    return score


def _open_pass(pcm: NDArray[np.int16], n_frames: int, job: _Job) -> SyncPass:
    return SyncPass(job.models.embedder, mfcc(pcm), len(pcm), n_frames, job.protocol.vshift, lse.shifted_distances)


def _run_pass(
    pcm: NDArray[np.int16],
    chunks: Callable[[], Iterator[NDArray[np.uint8]]],
    n_frames: int,
    job: _Job,
) -> SyncPass:
    """A pass over crops that are read from a file: once more where the file holds another number than was expected."""
    while True:
        sync = _open_pass(pcm, n_frames, job)
        read = 0
        for chunk in job.watch.each("crops", chunks()):
            read += len(chunk)
            with job.watch.stage("embed"):
                sync.feed(chunk)
        if read == n_frames:
            return sync
        n_frames = read


def _curve_of(sync: SyncPass) -> SyncCurve:
    distances = sync.distances()
    return SyncCurve(distances, lse.mean_curve(distances), sync.lip(), sync.mfcc)


def track_score(track_id: int, first: int, last: int, curve: SyncCurve, models: Models) -> TrackScore:
    """A track's numbers from its curve; first and last frame are passed on."""
    if not len(curve.distances):
        return TrackScore(track_id, first, last, 0, math.nan, math.nan, 0, ())
    sync = lse.sync_of(curve.mean)
    lse_d, lse_c = models.embedder.estimate(curve) or (sync.lse_d, sync.lse_c)
    return TrackScore(
        track_id,
        first,
        last,
        sync.offset,
        lse_d,
        lse_c,
        len(curve.distances),
        tuple(round(float(v), 6) for v in curve.mean),
    )


def reduce_tracks(tracks: Sequence[TrackScore], rule: str) -> tuple[float, float, int]:
    """A video's (LSE-D, LSE-C, offset) from its tracks, by the protocol's `reduce`.

    The offset is the most confident track's, except under mean_offset (LatentSync), where it is the truncated mean.
    """
    lse_d, lse_c = [track.lse_d for track in tracks], [track.lse_c for track in tracks]
    if rule == "extremes":
        numbers = min(lse_d), max(lse_c)
    else:
        numbers = float(np.mean(lse_d)), float(np.mean(lse_c))
    if rule == "mean_offset":
        return *numbers, int(np.mean([track.offset for track in tracks]))
    return *numbers, max(tracks, key=lambda track: track.lse_c).offset


def edge_notes(tracks: Sequence[TrackScore]) -> tuple[str, ...]:
    """Said where a track's best shift is the first or the last that was tried."""
    edges = sorted({track.offset for track in tracks if track.n_windows and abs(track.offset) == len(track.curve) // 2})
    if not edges:
        return ()
    found = ", ".join(f"{offset:+d}" for offset in edges)
    wider = 2 * max(map(abs, edges))
    return (
        f"the best shift, {found} frames, lies at the edge of what was tried; the true one may lie beyond: "
        f"--vshift {wider}",
    )


def _check_length(shots: Sequence[Shot], protocol: Protocol) -> None:
    """Turn a video down before any face is looked for where no shot can hold a track."""
    longest = max((shot.end - shot.start for shot in shots), default=0)
    if longest > protocol.min_track:
        return
    what = f"{longest} frames" if len(shots) == 1 else f"{len(shots)} shots, the longest of {longest} frames"
    advice = f": --min-track {_shorter(longest)}" if longest > 2 * MIN_FRAMES else ""
    status = "too_short" if len(shots) == 1 else "no_track"
    raise NotScoredError(status, f"{what}; this protocol needs more than {protocol.min_track}{advice}")


def _no_track(faces: Faces, tracking: Tracking, protocol: Protocol) -> NotScoredError:
    """Why no track came of the boxes: what was measured, and which option would change it."""
    with_face = [frame for frame in faces.boxes if frame]
    if not with_face:
        return NotScoredError("no_face", f"no face in any of {len(faces.boxes)} frames ({faces.looked_at} looked at)")
    sizes = [max(box[2] - box[0], box[3] - box[1]) for frame in with_face for box in (frame[0].box_xyxy,)]
    seen = f"a face in {len(with_face)} of {len(faces.boxes)} frames, {np.mean(sizes):.0f} px on average"
    if tracking.longest > protocol.min_track:
        size = tracking.largest_px
        return NotScoredError(
            "no_track",
            f"{seen}; tracks need more than {protocol.min_face_size} px: --min-face-size {max(0, int(size) - 1)}",
        )
    return NotScoredError(
        "no_track",
        f"{seen}, {tracking.longest} in a row; tracks need more than {protocol.min_track} detections: "
        f"--min-track {_shorter(tracking.longest)}",
    )


def _shorter(longest: int) -> int:
    """A min_track with room for frames without a face: the 50 of other lineages, where that is short enough."""
    return 50 if longest > 60 else longest // 2


def _too_few_windows(n_samples: int, protocol: Protocol) -> NotScoredError:
    return NotScoredError(
        "too_short",
        f"{n_samples / SAMPLE_RATE:.2f} s of audio beneath the video; "
        f"{MIN_FRAMES} frames ({MIN_FRAMES / protocol.frame_rate:.2f} s) are the least that can be scored",
    )
