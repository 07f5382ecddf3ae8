"""A run: from a request to records in the output folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lipscore.errors import MediaError, MissingError, UsageError
from lipscore.eval import pictures
from lipscore.eval.options import InputOptions, ModelOptions, Request, RunOptions
from lipscore.eval.reference import missing_reference
from lipscore.eval.run import floor, pieces
from lipscore.eval.run.backends import Backend, Made
from lipscore.eval.run.inputs.fetch import url_of
from lipscore.eval.run.inputs.listing import read_manifest
from lipscore.eval.run.inputs.partners import Kind, expected, partners
from lipscore.eval.run.inputs.paths import REFERENCE_FOLDER, Found, collect, shard_of
from lipscore.eval.run.jobs import Job, Progress, Reporter, Task
from lipscore.eval.run.runner import Outcome, run
from lipscore.eval.run.threads import at_a_time
from lipscore.eval.run.work import Done, Score, on_threads
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.eval.store import summary
from lipscore.eval.store.appending import check_appendable
from lipscore.eval.store.manifest import write_manifest
from lipscore.eval.store.records import RecordStore
from lipscore.eval.trace import Trace
from lipscore.faces.given import read_boxes
from lipscore.media.limits import Limits
from lipscore.media.read import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from lipscore.syncnet import protocols
from lipscore.types import VideoScore

Keep = Callable[[VideoScore, dict[str, Any]], None]  # (a video's record, its pictures)
REFERENCES = Kind("reference", "reference", VIDEO_SUFFIXES)
DETECTIONS = Kind("detections", "file of boxes", (".json",))
# MoChaBench's speech of CATEGORY/NAME.mp4 is CATEGORY/NAME_speech.wav
# (congwei1230/MoChaBench@043908d eval-lipsync/script/run_syncnet_pipeline_on_mocha_generation_on_mocha_bench.py)
AUDIO = Kind("audio", "sound", (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES), tails=("", "_speech"), beside=True)


@dataclass(frozen=True, slots=True)
class Ran:
    """A run's outcome, its counts, and the setup that it was made with."""

    outcome: Outcome
    counts: summary.Summary
    made: Made
    floors: tuple[floor.Floor, ...] = ()

    @property
    def exit_status(self) -> int:
        """0: all scored, 1: some not, 130: interrupted."""
        if self.outcome.interrupted is not None:
            return self.outcome.interrupted
        return 1 if self.counts.not_scored else 0


def run_batch(request: Request, reporter: Reporter, command: Sequence[str] = ()) -> Ran:
    """Score the inputs, and write the results if there is an output folder or a scores file.

    The options are checked before the first video is read.

    Args:
        reporter: receives lines for the user and the progress.
        command: the command line, for run.json.

    Raises:
        LipscoreError: wrong options, or something that is needed is missing.
    """
    if request.output.floor and request.run.shard:
        raise UsageError(
            "--floor: needs all videos in one run, because it scores each with another's sound; leave out --shard"
        )
    if request.run.on != "threads" and request.output.floor:
        raise UsageError(f"--on {request.run.on}: keeps no embeddings, which --floor needs; leave out --floor or --on")
    started = datetime.now(UTC)
    protocol = request.protocol.resolve()
    jobs = find_jobs(request.inputs, request.models, request.run, protocol, reporter.say)
    if request.inputs.reference is not None and not any(job.reference for job in jobs):
        reporter.say(f"{request.inputs.reference}: contains no reference for any of the {len(jobs)} videos")
    out, lines_to = request.output.out, request.output.lines_to
    store = None if out is None else RecordStore(out)
    if lines_to is not None:
        check_appendable(lines_to)
    if store is not None:
        for line, problem in store.problems:
            reporter.say(f"{store.path}, line {line}: {problem}; skipped")
    with _engine(request, jobs, reporter) as engine:
        made = engine.made
        if made.note:
            reporter.say(made.note)
        task = Task(made.blank, made.settings, lines_to, request.run.resume)
        with reporter.videos(len(jobs)) as progress:
            outcome = run(jobs, engine.backend(task, store, progress), task, store, progress)
    counts = summary.summarise(outcome.records, len(jobs))
    if out is not None:
        write_manifest(
            out / manifest_name(request.run.shard),
            made.record | {"signature": str(made.signature.with_n(counts.scored, len(jobs)))},
            command=command,
            times=(started.isoformat(timespec="seconds"), datetime.now(UTC).isoformat(timespec="seconds")),
            interrupted=outcome.interrupted is not None,
            resumed=outcome.resumed,
            counts=summary.as_json(counts),
        )
    floors = [] if outcome.interrupted is not None else engine.floors(outcome)
    return Ran(outcome, counts, made, tuple(floors))


class Engine(Protocol):
    """The part of a run that scores its videos."""

    made: Made

    def backend(self, task: Task, store: RecordStore | None, progress: Progress) -> Backend[Done]:
        """The work on all jobs."""

    def floors(self, outcome: Outcome) -> list[floor.Floor]:
        """The floors of a finished run, also written to its folder; empty without --floor."""


class Threaded:
    """The engine that scores on threads of this process."""

    def __init__(self, request: Request, jobs: Sequence[Job], reporter: Reporter) -> None:
        setup = Setup.load(request.protocol, request.models, request.reference, reporter.fetching)
        self._setup = setup.hearing([job.audio for job in jobs])
        self._request, self._jobs, self._reporter = request, jobs, reporter
        self.made = Made.of(self._setup)
        out = request.output
        self._kept = floor.Kept(out.out, self.made.settings) if out.floor and out.out is not None else None
        self._score: Score

    def backend(self, task: Task, store: RecordStore | None, progress: Progress) -> Backend[Done]:
        """The jobs on threads."""
        out, stop = self._request.output, Stop()
        keep = None
        if out.keep_pictures and out.out is not None:
            keep = partial(pictures.write, out.out, self.made.settings)
        self._score = scorer_of(self._setup, stop, progress.stage, self._kept, keep, self._request.run.limits)
        on_gpu = self._setup.models.device.type == "cuda"
        workers = at_a_time(len(self._jobs), self._request.run.workers, gpu=on_gpu)
        return on_threads(self._jobs, self._score, task, store, progress, workers=workers, stop=stop)

    def floors(self, outcome: Outcome) -> list[floor.Floor]:
        """Each video's lips with another's sound."""
        out = self._request.output.out
        if self._kept is None or out is None:
            return []
        found = floor.of_run(outcome.records, self._jobs, self._kept, self._score, self._setup, self._reporter)
        floor.write(found, out, str(self._setup.signature))
        return found


def _engine(request: Request, jobs: Sequence[Job], reporter: Reporter) -> AbstractContextManager[Engine]:
    if request.run.on == "threads":
        return nullcontext(Threaded(request, jobs, reporter))
    try:
        from lipscore.eval.run.cluster.driver import Cluster
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise MissingError("--on ray: Ray is not installed; pip install 'lipscore[ray]'") from error
    return Cluster(request, jobs, reporter)


def find_jobs(
    inputs: InputOptions,
    models: ModelOptions,
    run_: RunOptions,
    protocol: protocols.Protocol,
    say: Callable[[str], object] = lambda _: None,
) -> list[Job]:
    """The videos that a run scores, each with its reference, boxes and sound; with --chunk, their pieces.

    Args:
        say: called with lines about what the user may not expect.

    Raises:
        UsageError: the options contradict each other.
        MissingError: there is no video to score.
    """
    if inputs.manifest is not None:
        if inputs.inputs or any(one is not None for one in (inputs.reference, inputs.audio, models.detections)):
            raise UsageError(
                "--manifest: the file already lists the videos; leave out INPUT, --reference, --audio and --detections"
            )
        jobs = read_manifest(inputs.manifest)
        if not inputs.find_references:
            jobs = [replace(job, reference=None, reference_url="") for job in jobs]
    else:
        apart = [place for place in (inputs.reference, inputs.audio) if place is not None]
        jobs = _jobs(collect(inputs.inputs, apart), inputs, models)
    if run_.shard:
        jobs = shard_of(jobs, run_.shard)
    if run_.chunk is None:
        return jobs
    if any(job.url or job.audio_url for job in jobs):
        raise UsageError("--chunk: takes local files only; fetch the videos first, or leave it out")
    if any(job.reference for job in jobs) or inputs.reference is not None:
        if inputs.reference is not None or inputs.manifest is not None:
            raise UsageError("--chunk: takes no references; leave them out, or compare with `lipscore compare`")
        say(f"--chunk: pieces are not compared with references, so {REFERENCE_FOLDER}/ is ignored (--no-reference)")
    jobs = [replace(job, reference=None, reference_folder=None) for job in jobs]
    return [piece for job in jobs for piece in pieces.split(job, run_.chunk, run_.overlap, protocol)]


def scorer_of(
    setup: Setup,
    stop: Stop,
    on_stage: Callable[[str, str], None],
    kept: floor.Kept | None = None,
    keep: Keep | None = None,
    limits: Limits | None = None,
) -> Score:
    """The function that scores a job.

    Args:
        stop: stops the scoring when it is set.
        on_stage: called with a job's name and each stage that begins.
        kept: receives the embeddings of each video; None: they are not kept.
        keep: called with each whole video's record and its pictures; None: no pictures are gathered.
        limits: the limits of each video.
    """

    def score_job(job: Job, sha256: str) -> VideoScore:
        if kept is not None:
            return kept.scoring(setup, lambda keeping: score_with(keeping, job, sha256))
        return score_with(setup, job, sha256)

    def score_with(setup: Setup, job: Job, sha256: str) -> VideoScore:
        def told(stage: str) -> None:
            on_stage(job.name, stage)

        own = setup
        if job.boxes is not None and not setup.protocol.direct:
            boxes = read_boxes(job.boxes)
            own = setup.with_detector(lambda _: boxes)
        if job.piece is not None:
            return pieces.score_piece(job, job.piece, own, sha256, stop=stop, on_stage=told, limits=limits)
        trace = Trace()
        how: dict[str, Any] = {"name": job.name, "sha256": sha256, "stop": stop, "on_stage": told, "limits": limits}
        record = score_video(job.path, own, job.reference, job.audio, trace=trace, **how)
        if keep is not None and record.status == "ok":
            told("pictures")
            try:
                keep(record, pictures.gather(job.path, record, trace, setup))
            except MediaError as error:
                record = replace(record, notes=(*record.notes, f"no pictures were kept: {error}"))
        if job.reference is None and job.reference_folder is not None:
            lacking = missing_reference(job.path, job.reference_folder, setup.reference.region)
            record = replace(record, reference=lacking)
        return record

    return score_job


def manifest_name(shard: str | None) -> str:
    """run.json, or the name of a shard's own file, because shards may share a folder."""
    return "run.json" if shard is None else f"run-{shard.replace('/', '-of-')}.json"


def _jobs(found: Sequence[Found], inputs: InputOptions, models: ModelOptions) -> list[Job]:
    """The jobs of all shards: the choice of references must not depend on the shard."""
    places = {video.folder: _reference_folder(video, inputs) for video in found}
    references: dict[Path, Path] = {}
    for place in dict.fromkeys(place for place in places.values() if place is not None):
        references |= partners([video for video in found if places[video.folder] == place], place, REFERENCES)
    boxes: dict[Path, Path] = {}
    if models.detections is not None:
        boxes = {video.path: expected(video, models.detections, DETECTIONS) for video in found}
        boxes |= partners(found, models.detections, DETECTIONS)
    sounds = _sounds(found, inputs.audio)
    return [
        Job(
            video.path,
            video.name,
            folder=str(video.folder),
            reference=references.get(video.path),
            reference_folder=places[video.folder],
            boxes=boxes.get(video.path),
            problem=video.problem or _lacks_sound(video, inputs.audio, sounds),
            url=video.url,
            audio=sounds.get(video.path),
        )
        for video in found
    ]


def _sounds(found: Sequence[Found], place: Path | None) -> dict[Path, Path]:
    """The sound of each video that has one in `place`.

    Raises:
        MissingError: `place` does not exist, or has no sound for any of the videos.
    """
    if place is None:
        return {}
    if url_of(place):
        problem = "name a local file or folder, or list the URLs in a manifest's column audio"
        raise UsageError.about("audio", place, problem)
    sounds = partners(found, place, AUDIO)
    if not sounds:
        problem = (
            f"contains no sound for any of the {len(found)} videos; name it after the video: NAME.wav for NAME.mp4"
        )
        raise MissingError.about("audio", place, problem)
    return sounds


def _lacks_sound(video: Found, place: Path | None, sounds: Mapping[Path, Path]) -> str:
    """The reason why a video without a sound in `place` cannot be scored; empty if it has one."""
    if place is None or video.path in sounds:
        return ""
    return f"{place} has no sound for it; add one as {expected(video, place, AUDIO)}"


def _reference_folder(video: Found, inputs: InputOptions) -> Path | None:
    if inputs.reference is not None or not inputs.find_references:
        return inputs.reference
    folder = video.folder / REFERENCE_FOLDER
    return folder if folder.is_dir() else None
