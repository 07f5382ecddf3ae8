"""`lipscore detect`: by how much sound and picture are apart, over seconds instead of SyncNet's +-15 frames.

Every face track is held against the sound of the whole file, and the tracks' sums are added up: one file has one
offset. Where none stands out the answer is `unknown`; another recording's sound must not get an offset.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError, NotScoredError, UsageError
from lipscore.eval.options import DetectOptions
from lipscore.eval.reasons import too_few_windows
from lipscore.eval.score import Stopwatch, seek
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.eval.tools.detection import EARLY_MS, LATE_MS, MS_PER_FRAME, Detection, Drift, Found, FoundTrack, Narrow
from lipscore.eval.tools.detection import Window as TraceWindow
from lipscore.eval.trace import Trace
from lipscore.media import read
from lipscore.metrics import longrange, lse
from lipscore.metrics.longrange import ShiftSums
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.crops import chunked, cut_tracks, track_pcm
from lipscore.syncnet.source import prepare
from lipscore.syncnet.sync_pass import Embedder
from lipscore.syncnet.wide_pass import STEP, Sound, WidePass, steadied
from lipscore.syncnet.window import FRAME_RATE
from lipscore.types import MediaInfo, SyncPass, Track

PIECE_S = 10  # seconds searched at a time for the drift: one of such files gets the right offset 97 times in 100
LEAST_PIECES = 3
TRACE_S = 5  # seconds around each second of the trace
Crops = NDArray[np.uint8]


def detect(
    path: Path | str,
    setup: Setup,
    options: DetectOptions | None = None,
    *,
    stop: Stop | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Detection:
    """Search one video; what goes wrong with it becomes the detection's status and reason, never an exception.

    Args:
        path: the video file.
        setup: the models, and a protocol for the shots, the face tracks and the crops; crops go to the model without
            the protocol's crop file. Under a direct protocol the whole frame is the crop.
        stop: breaks the search off (by Stopped) once it is set.
        on_stage: told the name of each stage that begins.

    Raises:
        UsageError: the model has no towers to search with, or the head belongs to others.
        MissingError: FFmpeg is not there, or the temporary folder cannot be written: not a fault of the video.
    """
    path, options, stop = Path(path), options or DetectOptions(), stop or Stop()
    towers = setup.models.sync
    if not isinstance(towers, Embedder):
        raise UsageError.about("model", towers.name, "has no towers for a wide search; use mini or vgg")
    watch = Stopwatch(on_stage, stop)
    notes: tuple[str, ...] = setup.models.weights_notes
    if towers.name != "mini":
        notes += (f"the confidence was calibrated with model mini's towers, not with {towers.name}'s",)
    done = replace(blank(path, setup, options, "unknown", ""), notes=notes)
    try:
        with watch.stage("probe"):
            info = read.probe(path)
        done = replace(done, fps=float(info.fps), duration_s=round(info.duration_s, 4))
        with tempfile.TemporaryDirectory(prefix="lipscore-") as folder:
            search = _Search(setup, towers, options, watch, stop)
            search.through(info, Path(folder))
        done = search.onto(done)
    except NotScoredError as error:
        done = replace(done, status=error.status, reason=error.reason)
    except MediaError as error:
        done = replace(done, status="media_error", reason=str(error))
    return replace(done, seconds=watch.seconds)


def blank(path: Path, setup: Setup, options: DetectOptions, status: str, reason: str) -> Detection:
    """A detection without an answer."""
    method = "root-n" if options.method == "auto" else options.method
    return Detection(str(path), status, reason, setup.models.sync.name, setup.protocol.name, method, options.max_offset)


class _Search:
    """One video's passes, and what they add up to."""

    def __init__(self, setup: Setup, towers: Embedder, options: DetectOptions, watch: Stopwatch, stop: Stop) -> None:
        self._setup, self._towers, self._options = setup, towers, options
        self._watch, self._stop = watch, stop
        self._wide: dict[int, WidePass] = {}
        self._narrow: dict[int, SyncPass] = {}
        self._ends: dict[int, tuple[int, int]] = {}
        self._notes: tuple[str, ...] = ()

    def through(self, info: MediaInfo, folder: Path) -> None:
        """Every face track's crops through the towers.

        Raises:
            NotScoredError: there is no sound, no face, no track, or too little of either.
        """
        protocol, watch = self._setup.protocol, self._watch
        if protocol.direct:
            with watch.stage("transcode"):
                pcm = read.read_pcm(info.path)
            crops = self._whole_frames(info.path)
            lengths: dict[int, Track | None] = {0: None}
        else:
            with watch.stage("transcode"):
                source = prepare(info, protocol, folder)
            pcm = source.pcm
            frames, found, self._notes = seek(source, self._setup, info.path, Trace(), watch, self._stop)
            tracks = [steadied(track) for track in found]
            crops = cut_tracks(frames, tracks, protocol.crop_scale)
            lengths = dict(enumerate(tracks))
        with watch.stage("embed"):
            sound = Sound(self._towers, mfcc(pcm), len(pcm))
        for index, chunk, last in watch.each("crops", crops):
            if index not in self._wide:
                self._open(index, lengths[index], sound, pcm, info.n_frames)
            with watch.stage("embed"):
                self._wide[index].feed(chunk)
                if last:
                    self._wide[index].finish()
            if index in self._narrow:
                with watch.stage("narrow"):
                    self._narrow[index].feed(chunk)
        if not any(one.n_windows for one in self._wide.values()) or not len(sound):
            raise too_few_windows(len(pcm), protocol)

    def _whole_frames(self, path: Path) -> Iterator[tuple[int, Crops, bool]]:
        """The file's frames as the crops of one track."""
        waiting: Crops | None = None
        for chunk in chunked(self._stop.through(read.frames_at(path))):
            if waiting is not None:
                yield 0, waiting, False
            waiting = chunk
        if waiting is not None:
            yield 0, waiting, True

    def _open(self, index: int, track: Track | None, sound: Sound, pcm: NDArray[np.int16], n_frames: int) -> None:
        first, last = (0, n_frames - 1) if track is None else (track.first_frame, track.last_frame)
        self._ends[index] = first, last
        self._wide[index] = WidePass(self._towers, sound, first, self._options.max_offset)
        if self._options.compare:
            beneath = pcm if track is None else track_pcm(pcm, track, FRAME_RATE)
            self._narrow[index] = self._setup.models.sync.open(beneath, last - first + 1, self._setup.protocol.vshift)

    def onto(self, done: Detection) -> Detection:
        """The detection with what was found."""
        reach, limit = self._options.max_offset, self._options.min_confidence
        totals = {index: one.total() for index, one in self._wide.items()}
        steps = self._by_second()
        drift, sums = drift_of(steps, limit), sum(totals.values(), ShiftSums.none(reach))
        if drift is not None and drift.steady:
            sums = _without_drift(steps, drift, reach)
        answer = answer_of(sums, limit)
        tracks = tuple(
            FoundTrack(index, *self._ends[index], answer_of(total, limit)) for index, total in sorted(totals.items())
        )
        notes = done.notes + self._notes
        others = sorted({t.found.peak.offset for t in tracks if t.found.peak is not None and not t.found.trouble})
        if len(others) > 1 and others[-1] - others[0] > 1:
            notes += (f"its face tracks differ: {', '.join(f'{offset:+d}' for offset in others)}",)
        return replace(
            done,
            status=answer.status,
            reason=answer.trouble,
            answer=answer,
            windows=sum(one.n_windows for one in self._wide.values()),
            tracks=tracks,
            drift=drift,
            trace=trace_of(steps, limit) if self._options.trace else None,
            narrow=self._compared(),
            notes=notes,
        )

    def _by_second(self) -> dict[int, ShiftSums]:
        """Second of the video -> the sums of the windows that begin in it, over all tracks."""
        seconds: dict[int, ShiftSums] = {}
        for one in self._wide.values():
            for number, sums in enumerate(one.steps):
                at = (one.first_frame + number * STEP) // FRAME_RATE
                seconds[at] = seconds[at] + sums if at in seconds else sums
        return seconds

    def _compared(self) -> Narrow | None:
        """The narrow search of the track that it is surest of."""
        found = []
        for one in self._narrow.values():
            curve = one.curve()
            if len(curve.distances):
                found.append((one.scores(curve)[1], lse.sync_of(curve.mean).offset))
        if not found:
            return None
        lse_c, offset = max(found)
        seconds = self._watch.seconds.get("narrow", 0.0)
        return Narrow(self._setup.models.sync.name, offset, lse_c, self._setup.protocol.vshift, seconds)


def answer_of(sums: ShiftSums, min_confidence: float) -> Found:
    """The best offset of some sums, and why it is no answer where it is none."""
    peak = longrange.find_peak(sums)
    if peak is None:
        return Found(None, 0.0, "no shift stands out: the sound or the picture does not change, or they never overlap")
    sure = longrange.confidence(peak)
    trouble = ""
    if peak.windows < longrange.ENOUGH:
        trouble = (
            f"the best offset, {peak.offset:+d}, rests on {peak.windows} windows; "
            f"{longrange.ENOUGH} (a second) are the least that is trusted"
        )
    elif sure < min_confidence:
        trouble = (
            f"the best offset, {peak.offset:+d}, is right with a probability of {sure:.2f}; "
            f"{min_confidence:g} is the limit (--min-confidence)"
        )
    elif peak.at_edge:
        trouble = (
            f"the best offset, {peak.offset:+d}, lies at the edge of the search; the true one may lie beyond: "
            f"search wider with --max-offset {2 * sums.reach}"
        )
    return Found(peak, sure, trouble)


def drift_of(seconds: dict[int, ShiftSums], min_confidence: float) -> Drift | None:
    """How the offset moves over pieces of PIECE_S seconds; None with fewer than LEAST_PIECES that have an answer."""
    pieces: dict[int, ShiftSums] = {}
    for at, sums in seconds.items():
        piece = at // PIECE_S
        pieces[piece] = pieces[piece] + sums if piece in pieces else sums
    times, offsets = [], []
    for piece, sums in sorted(pieces.items()):
        found = answer_of(sums, min_confidence)
        if found.peak is not None and not found.trouble:
            times.append((piece + 0.5) * PIECE_S)
            offsets.append(found.peak.subframe * MS_PER_FRAME)
    if len(times) < LEAST_PIECES:
        return None
    from scipy.stats import theilslopes  # here, because it takes half a second

    line = theilslopes(offsets, times)
    begin, end = 0.0, float(max(seconds) + 1)
    at_start, at_end = (float(line.intercept + line.slope * t) for t in (begin, end))
    travelled = abs(line.slope) * (times[-1] - times[0])
    steady = not (line.low_slope <= 0 <= line.high_slope) and travelled >= MS_PER_FRAME
    return Drift(
        pieces=len(times),
        per_minute=float(line.slope) * 60,
        low=float(line.low_slope) * 60,
        high=float(line.high_slope) * 60,
        at_start=at_start,
        at_end=at_end,
        detectable_at=_detectable(at_start, float(line.slope), end) if steady else None,
        steady=steady,
    )


def _detectable(at_start: float, slope: float, end: float) -> float | None:
    """Seconds until an offset that starts so, in ms, and moves by `slope` ms a second, is outside the limits."""
    if not -LATE_MS <= at_start <= EARLY_MS:
        return 0.0
    limit = EARLY_MS if slope > 0 else -LATE_MS
    at = (limit - at_start) / slope if slope else math.inf
    return at if at <= end else None


def _without_drift(seconds: dict[int, ShiftSums], drift: Drift, reach: int) -> ShiftSums:
    """The sums with every second's offset moved to that of the video's middle."""
    middle = (max(seconds) + 1) / 2
    frames_a_second = drift.per_minute / 60 / MS_PER_FRAME
    moved = (sums.moved(round(frames_a_second * (at + 0.5 - middle))) for at, sums in seconds.items())
    return sum(moved, ShiftSums.none(reach))


def trace_of(seconds: dict[int, ShiftSums], min_confidence: float) -> tuple[TraceWindow, ...]:
    """The offset around every second that has a face, from the TRACE_S seconds around it."""
    around = range(-(TRACE_S // 2), TRACE_S // 2 + 1)

    def near(at: int) -> Sequence[ShiftSums]:
        return [seconds[at + step] for step in around if at + step in seconds]

    found = []
    for at, sums in sorted(seconds.items()):
        found.append(TraceWindow(at + 0.5, answer_of(sum(near(at), ShiftSums.none(sums.reach)), min_confidence)))
    return tuple(found)
