"""`lipscore score`: from the options to the run, its files, its table and its exit status."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from lipscore import __version__
from lipscore.errors import UsageError
from lipscore.eval.cli import progress
from lipscore.eval.models import Models, load_models
from lipscore.eval.observer import Observer
from lipscore.eval.reference import ReferenceOptions, find_reference, missing_reference
from lipscore.eval.report import drift
from lipscore.eval.run import pieces
from lipscore.eval.run.inputs import REFERENCE_FOLDER, Found, collect, shard_of
from lipscore.eval.run.jobs import Job, Task
from lipscore.eval.run.runner import Outcome, run
from lipscore.eval.run.threads import Stopped, at_a_time
from lipscore.eval.score import score_video
from lipscore.eval.store import records, summary
from lipscore.eval.store.appending import check_appendable
from lipscore.eval.store.manifest import weights_of, write_manifest
from lipscore.media import ffmpeg
from lipscore.syncnet.protocols import Protocol, change, get_protocol
from lipscore.types import VideoScore


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What the command line said; the fields are its options, changes those that change a protocol's field.

    references: whether a folder named `reference` is looked for where no other was named.
    """

    inputs: tuple[Path, ...]
    reference: Path | None
    protocol: str
    changes: dict[str, Any]
    model: str
    weights_dir: Path | None
    allow_unverified: bool
    detections: Path | None
    device: str
    fast: bool
    precision: str | None
    out: Path
    scores_file: Path
    resume: bool
    shard: str | None
    as_json: bool
    align: str
    max_shift: int
    region: str
    resize: str = "area"
    all_variants: bool = False
    chunk: float | None = None
    workers: int | None = None
    overlap: float = 0.0
    references: bool = True
    command: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run came to, and what it was made with."""

    outcome: Outcome
    counts: summary.Summary
    protocol: Protocol
    models: Models

    @property
    def exit_status(self) -> int:
        """0: all scored, 1: some not, 130: interrupted."""
        if self.outcome.interrupted is not None:
            return self.outcome.interrupted
        return 1 if self.counts.not_scored else 0


def score(options: ScoreOptions) -> int:
    """Score the inputs and print what came of it; returns the exit status.

    Raises:
        LipscoreError: wrong options, or something that is needed is missing.
    """
    ran = run_inputs(options)
    _report(ran.outcome, ran.counts, ran.models, ran.protocol, options)
    return ran.exit_status


def run_inputs(options: ScoreOptions) -> Ran:
    """Score the inputs into the output folder, with progress on standard error.

    Everything that can be known to be wrong is said before the first video is touched.

    Raises:
        LipscoreError: wrong options, or something that is needed is missing.
    """
    started = datetime.now(UTC)
    protocol = change(get_protocol(options.protocol), options.changes)
    compared = ReferenceOptions(
        options.align,  # type: ignore[arg-type]
        options.max_shift,
        options.region,  # type: ignore[arg-type]
        options.resize,  # type: ignore[arg-type]
        options.all_variants,
    )
    found = collect(options.inputs, options.reference)
    pairs = _with_references(shard_of(found, options.shard) if options.shard else found, options)
    if options.chunk is not None:
        pairs = _in_pieces(pairs, protocol, options.chunk, options)
    ffmpeg.ffmpeg_path()
    store = records.RecordStore(options.out)
    check_appendable(options.scores_file)
    for line, problem in store.problems:
        progress.say(f"{store.path}, line {line}: {problem}; passed over")
    stop = threading.Event()
    models = load_models(
        options.model,
        protocol,
        weights_dir=options.weights_dir,
        allow_unverified=options.allow_unverified,
        detections=options.detections,
        device=options.device,
        fast=options.fast,
        precision=options.precision,
        progress=progress.download_progress(),
    )
    compared = replace(compared, device=str(models.device))
    if models.note:
        progress.say(models.note)
    asked = _asked(options, models)
    task = Task(_blank(protocol, models), _settings(protocol, models, asked), options.scores_file, options.resume)
    with progress.shown(len(pairs)) as shown:
        outcome = run(
            [job for job, _ in pairs],
            _scorer(pairs, protocol, models, compared, lambda name: _Stages(name, shown.stage, stop)),
            task,
            store,
            _Printing(shown) if options.as_json else shown,
            workers=at_a_time(len(pairs), options.workers),
            stop=stop,
        )
    counts = summary.summarise(outcome.records, len(pairs))
    write_manifest(
        options.out / manifest_name(options.shard),
        protocol=protocol,
        models=models,
        options=asked,
        settings=task.settings,
        command=options.command,
        times=(started.isoformat(timespec="seconds"), datetime.now(UTC).isoformat(timespec="seconds")),
        interrupted=outcome.interrupted,
        resumed=outcome.resumed,
        counts=summary.as_json(counts),
    )
    return Ran(outcome, counts, protocol, models)


class _Printing:
    """A progress that also prints each record as a line of JSON on standard output."""

    def __init__(self, inner: progress.Lines | progress.Live) -> None:
        self.started, self.trouble, self._inner = inner.started, inner.trouble, inner

    def finished(self, index: int, total: int, record: records.Record, resumed: bool, seconds: float) -> None:
        """The record, and what the inner progress does."""
        sys.stdout.write(json.dumps(records.as_json(record), allow_nan=False) + "\n")
        sys.stdout.flush()
        self._inner.finished(index, total, record, resumed, seconds)


class _Stages(Observer):
    """Passes on which video is at which stage, and breaks it off once `stop` is set."""

    def __init__(self, video: str, show: Callable[[str, str], None], stop: threading.Event) -> None:
        self._video, self._show, self._stop = video, show, stop

    def stage(self, name: str) -> None:
        """Passed on."""
        self.working()
        self._show(self._video, name)

    def working(self) -> None:
        """Raises Stopped once the run is stopped."""
        if self._stop.is_set():
            raise Stopped


def _with_references(found: Sequence[Found], options: ScoreOptions) -> list[tuple[Job, Path | None]]:
    """Each video's job, and the folder of references where its own was looked for."""
    pairs: list[tuple[Job, Path | None]] = []
    for video in found:
        folder = options.reference
        if folder is None and options.references and (video.folder / REFERENCE_FOLDER).is_dir():
            folder = video.folder / REFERENCE_FOLDER
        reference = find_reference(video.path, folder) if folder is not None else None
        boxes = options.detections / f"{video.path.stem}.json" if options.detections is not None else None
        pairs.append((Job(video.path, video.name, reference, boxes, video.problem), folder))
    return pairs


def _in_pieces(
    pairs: Sequence[tuple[Job, Path | None]], protocol: Protocol, chunk: float, options: ScoreOptions
) -> list[tuple[Job, Path | None]]:
    if any(folder for _, folder in pairs):
        raise UsageError("--chunk: takes no references; score them without it, or compare with `lipscore compare`")
    return [(piece, None) for job, _ in pairs for piece in pieces.split(job, chunk, options.overlap, protocol)]


def _scorer(
    pairs: Sequence[tuple[Job, Path | None]],
    protocol: Protocol,
    models: Models,
    compared: ReferenceOptions,
    observed: Callable[[str], Observer],
) -> Callable[[Job], VideoScore]:
    folders = {job.name: folder for job, folder in pairs}

    def score_job(job: Job) -> VideoScore:
        if job.piece is not None:
            return pieces.score_piece(job, job.piece, protocol, models, observed(job.name))
        result = score_video(
            job.path,
            protocol,
            models,
            job.reference,
            name=job.name,
            reference_options=compared,
            observer=observed(job.name),
        )
        folder = folders[job.name]
        if job.reference is None and folder is not None:
            result = replace(result, reference=missing_reference(job.path, folder, compared.region))
        return result

    return score_job


def _asked(options: ScoreOptions, models: Models) -> dict[str, Any]:
    """What decides the numbers and is neither protocol, model nor weights; FFmpeg does, so it is among it."""
    return {
        "align": options.align,
        "max_shift": options.max_shift,
        "region": options.region,
        "resize": options.resize,
        "all_variants": options.all_variants,
        "detections": options.detections is not None,
        "changed": list(models.changed),
        "ffmpeg": ffmpeg.ffmpeg_version(),
        "lipscore": __version__,
    }


def _settings(protocol: Protocol, models: Models, asked: dict[str, Any]) -> str:
    weights = {file["name"]: file["sha256"] for file in weights_of(models)}
    detector = "none" if protocol.direct else models.detector
    return records.hash_of(
        {
            "protocol": [protocol.name, protocol.hash],
            "model": models.embedder.name,
            "detector": detector,
            "weights": weights,
            "options": asked,
        }
    )


def _blank(protocol: Protocol, models: Models) -> VideoScore:
    return VideoScore(
        video="",
        name="",
        sha256="",
        status="media_error",
        reason="",
        protocol=protocol.name,
        model=models.embedder.name,
        comparable=models.comparable(protocol),
        protocol_hash=protocol.hash,
        detector="none" if protocol.direct else models.detector,
        changed=protocol.changed + models.changed,
        notes=models.weights_notes,
    )


def manifest_name(shard: str | None) -> str:
    """run.json; a shard's own, because shards may share a folder."""
    return "run.json" if shard is None else f"run-{shard.replace('/', '-of-')}.json"


def _report(
    outcome: Outcome, counts: summary.Summary, models: Models, protocol: Protocol, options: ScoreOptions
) -> None:
    """The table and the means on standard output, or beside it where that carries JSON."""
    out = sys.stderr if options.as_json else sys.stdout
    terminal = out.isatty()
    if outcome.records:
        width = get_terminal_size().columns if terminal else None
        summary.print_table(outcome.records, out, not progress.plain(terminal), width)
    comparable = str(models.comparable(protocol)).lower()
    lines = [
        *summary.lines(counts),
        f"protocol={protocol.name} model={models.embedder.name} comparable={comparable}",
    ]
    if models.embedder.name == "mini":
        lines.append("LSE-D and LSE-C are the built-in model's estimates of SyncNet's (docs/model-card.md)")
    if protocol.changed or models.changed:
        lines.append(f"changed: {'; '.join(protocol.changed + models.changed)}")
    print("\n".join(lines), file=out, flush=True)
    found = drift.drifts([record.score for record in outcome.records])
    for line in found:
        print(drift.sentence(line), file=out, flush=True)
    for chart in drift.write_charts(found, options.out):
        progress.say(f"wrote {chart}")
    if outcome.interrupted is not None:
        have = f"{len(outcome.records)} of {counts.total} videos are in {options.out}"
        progress.say(f"interrupted; {have}: the same command goes on from there")
