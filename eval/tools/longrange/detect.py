"""`lipscore detect`: find how far sound and picture are apart, over seconds instead of SyncNet's +-15 frames.

Every face track is compared with the sound of the whole file, and the tracks' sums are added up, because a file has one
offset. If no offset stands out, the answer is `unknown`, because the sound of another recording must get no offset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lipscore.errors import MediaError, NotScoredError, UsageError, WeightsError
from lipscore.eval.options import DetectOptions
from lipscore.eval.reasons import too_few_windows
from lipscore.eval.score import Stopwatch, seek
from lipscore.eval.setup import Models, Setup
from lipscore.eval.stop import Stop
from lipscore.eval.tools.longrange.answers import answer_of, drift_of, trace_of, without_drift
from lipscore.eval.tools.longrange.detection import Detection, FoundTrack, Narrow
from lipscore.eval.trace import Trace
from lipscore.media import notes as media_notes
from lipscore.media import read
from lipscore.media.files.scratch import scratch
from lipscore.metrics import lse
from lipscore.metrics.longrange import ShiftSums
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.crops import chunked, cut_tracks, track_pcm
from lipscore.syncnet.models.fcn import HeadPass, OffsetHead, Reading, load_head, reading
from lipscore.syncnet.models.published_fcn import PublishedFcn, load_published
from lipscore.syncnet.models.sync_pass import Embedder
from lipscore.syncnet.models.wide_pass import STEP, Sound, WidePass, steadied
from lipscore.syncnet.motion import MouthMotion, is_still
from lipscore.syncnet.source import prepare
from lipscore.syncnet.window import FRAME_RATE
from lipscore.types import MediaInfo, SyncPass, Track
from lipscore.weights.catalogue import S3FD

Crops = NDArray[np.uint8]


def detect(
    path: Path | str,
    setup: Setup,
    options: DetectOptions | None = None,
    *,
    stop: Stop | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Detection:
    """Search one video; a problem with the video becomes the detection's status and reason, not an exception.

    Args:
        path: the video file.
        setup: the models, and a protocol for the shots, the face tracks and the crops; crops go to the model without
            the protocol's crop file. Under a direct protocol the whole frame is the crop.
        stop: ends the search with Stopped when it is set.
        on_stage: called with the name of each stage that begins.

    Raises:
        UsageError: the model has no towers.
        WeightsError: the head cannot be read, or belongs to other towers.
        MissingError: FFmpeg is missing, or the temporary folder cannot be written.
    """
    path, options, stop = Path(path), options or DetectOptions(), stop or Stop()
    towers, about = towers_of(setup.models)
    watch = Stopwatch(on_stage, stop)
    notes: tuple[str, ...] = setup.models.weights_notes
    published = _published(options.head)
    if published is not None:
        return _by_published(path, setup, options, published, watch)
    if about["name"] != "mini":
        notes += (f"the confidence was calibrated with the towers of model mini, not with those of {about['name']}",)
    done = replace(blank(path, setup, options, "unknown", ""), notes=notes)
    head = None if options.head is None else _head_of(options.head, about["sha256"], options.max_offset)
    try:
        with watch.stage("probe"):
            info = read.probe(path)
        done = replace(done, fps=float(info.fps), duration_s=round(info.duration_s, 4))
        with scratch() as folder:
            search = _Search(setup, towers, options, watch, stop, head)
            search.through(info, folder)
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


def _published(head: Path | None) -> PublishedFcn | None:
    """The published checkpoint, if the head is one by its suffix; else None."""
    if head is None or head.suffix == ".safetensors":
        return None
    return load_published(head)


def _by_published(
    path: Path, setup: Setup, options: DetectOptions, published: PublishedFcn, watch: Stopwatch
) -> Detection:
    """A published checkpoint's reading of the whole frame; no answer, because its confidence is not calibrated."""
    done = blank(path, setup, options, "unknown", "")
    done = replace(done, model="published fcn", max_offset=published.net.reach, notes=(published.about,))
    try:
        with watch.stage("transcode"):
            rows = mfcc(read.read_pcm(path))
        with watch.stage("embed"):
            by_head, by_correlation = published.offset(read.frames_at(path), rows)
        reason = (
            f"{published.about}: offset {by_head:+.2f} by its head, {by_correlation:+d} by its correlation; it has no "
            "calibrated confidence, so neither is an answer"
        )
        done = replace(done, reason=reason)
    except NotScoredError as error:
        done = replace(done, status=error.status, reason=error.reason)
    except MediaError as error:
        done = replace(done, status="media_error", reason=str(error))
    except ValueError as error:
        done = replace(done, status="too_short", reason=str(error))
    return replace(done, seconds=watch.seconds)


def _head_of(path: Path, sha256: str, reach: int) -> OffsetHead:
    """A head for these towers.

    Raises:
        WeightsError: the head belongs to other towers, or was trained for another range.
    """
    head, trained = load_head(path, sha256)
    if trained != reach:
        raise WeightsError(f"{path}: trained for --max-offset {trained}, not {reach}; search with that range")
    return head


def towers_of(models: Models) -> tuple[Embedder, dict[str, str]]:
    """The towers of a model, and the name and SHA-256 of their weights.

    Raises:
        UsageError: the model has none.
    """
    towers = models.sync
    if not isinstance(towers, Embedder):
        raise UsageError.about("model", towers.name, "cannot search a wide range; use mini or vgg")
    weights = next(file for file in models.weights_record() if file["name"] != S3FD)
    return towers, {"name": models.sync.name, "sha256": str(weights["sha256"])}


class _Search:
    """One video's passes and their sums."""

    def __init__(
        self,
        setup: Setup,
        towers: Embedder,
        options: DetectOptions,
        watch: Stopwatch,
        stop: Stop,
        head: OffsetHead | None,
    ) -> None:
        self._setup, self._towers, self._options = setup, towers, options
        self._watch, self._stop, self._head = watch, stop, head
        self._readers: list[HeadPass] = []
        self._wide: dict[int, WidePass] = {}
        self._motions: dict[int, MouthMotion] = {}
        self._narrow: dict[int, SyncPass] = {}
        self._ends: dict[int, tuple[int, int]] = {}
        self._notes: tuple[str, ...] = ()
        self._silent = False

    def through(self, info: MediaInfo, folder: Path) -> None:
        """Run every face track's crops through the towers.

        Raises:
            NotScoredError: there is no sound, no face or no track, or too little sound or picture.
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
        self._silent = media_notes.silent(pcm)
        with watch.stage("embed"):
            sound = Sound(self._towers, mfcc(pcm), len(pcm))
        for index, chunk, last in watch.each("crops", crops):
            if index not in self._wide:
                # of a file that is the crop itself, as many frames as it has at FRAME_RATE
                self._open(index, lengths[index], sound, pcm, math.ceil(round(info.duration_s * FRAME_RATE, 3)))
            with watch.stage("embed"):
                self._wide[index].feed(chunk)
                self._motions[index].feed(chunk)
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
        self._ends[index], self._motions[index] = (first, last), MouthMotion()
        on_map = None
        if self._head is not None:
            self._readers.append(HeadPass(self._head))
            on_map = self._readers[-1].add
        self._wide[index] = WidePass(self._towers, sound, first, self._options.max_offset, on_map)
        if self._options.compare:
            beneath = pcm if track is None else track_pcm(pcm, track, FRAME_RATE)
            self._narrow[index] = self._setup.models.sync.open(beneath, last - first + 1, self._setup.protocol.vshift)

    def onto(self, done: Detection) -> Detection:
        """The detection with the results filled in."""
        reach, limit = self._options.max_offset, self._options.min_confidence
        totals = {index: one.total() for index, one in self._wide.items()}
        nothing = ""
        if self._silent:
            nothing = "no audible speech: the audio is silent"
        elif all(is_still(motion.value) for motion in self._motions.values()):
            nothing = "no speech-like motion: no mouth in the video moves"
        if nothing:
            return replace(done, reason=nothing, notes=done.notes + self._notes)
        steps = self._by_second()
        drift, sums = drift_of(steps, limit), sum(totals.values(), ShiftSums.none(reach))
        if drift is not None and drift.steady:
            sums = without_drift(steps, drift, reach)
        answer = answer_of(sums, limit, self._reading())
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

    def _reading(self) -> Reading | None:
        """The head's reading of all tracks together."""
        parts = [part for part in (reader.sums() for reader in self._readers) if part is not None]
        if self._head is None or not parts:
            return None
        with torch.inference_mode():
            return reading(self._head.logits(reduce(add, parts))[0])

    def _by_second(self) -> dict[int, ShiftSums]:
        """Second of the video -> the sums of the windows that begin in it, over all tracks."""
        seconds: dict[int, ShiftSums] = {}
        for one in self._wide.values():
            for number, sums in enumerate(one.steps):
                at = (one.first_frame + number * STEP) // FRAME_RATE
                seconds[at] = seconds[at] + sums if at in seconds else sums
        return seconds

    def _compared(self) -> Narrow | None:
        """The narrow search's result for its most confident track."""
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
