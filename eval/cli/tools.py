"""The commands of the tools; what needs torch is imported inside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipscore.errors import LipscoreError, UsageError

if TYPE_CHECKING:
    from lipscore.eval.models import Models
    from lipscore.syncnet.protocols import Protocol

Video = Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")]
ProtocolName = Annotated[
    str, typer.Option("--protocol", help="A protocol's name (see `lipscore protocols`), or a TOML file.")
]
ModelName = Annotated[str, typer.Option("--model", help="vgg, mini, or auto: vgg where it can be had.")]
WeightsDir = Annotated[Path | None, typer.Option(help="Folder with syncnet_v2.model and sfd_face.pth.")]
AllowUnverified = Annotated[bool, typer.Option(help="Take weight files that are not the published ones.")]
Detections = Annotated[Path | None, typer.Option(help="Folder with STEM.json: face boxes in place of a detector's.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
MinTrack = Annotated[int | None, typer.Option(help="A track has more detections than this.")]
MinFaceSize = Annotated[int | None, typer.Option(help="A track's face is larger than this, in pixels.")]
Vshift = Annotated[int | None, typer.Option(help="Shifts tried to either side, in frames.")]


def register(app: typer.Typer, guard: Callable[[Any], Any]) -> None:
    """Add the commands to the program; guard turns known errors into messages and exit statuses."""
    for command in (combine, tracks, visualise, filter_, fix):
        app.command(command.__name__.rstrip("_"))(guard(command))


def combine(
    video_dir: Annotated[Path, typer.Option("--video-dir", "-v", help="Folder with NAME.mp4 and so on.")],
    audio_dir: Annotated[Path, typer.Option("--audio-dir", "-a", help="Folder with NAME.wav and so on.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Where NAME.mp4 goes; made if absent.")],
    audio_codec: Annotated[str, typer.Option(help="aac, copy (the audio file's own), or pcm.")] = "aac",
    shortest: Annotated[bool, typer.Option("--shortest", help="Cut where the shorter of the two ends.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write again what OUTPUT_DIR has already.")] = False,
) -> None:
    """Put the audio of one folder beneath the videos of another, by name; exit 1 if a file has no partner."""
    from lipscore.eval.cli import progress
    from lipscore.eval.tools import combine as task
    from lipscore.media.edit import AUDIO_CODECS

    if audio_codec not in AUDIO_CODECS:
        raise UsageError(f"--audio-codec {audio_codec}: no such choice; use one of {', '.join(AUDIO_CODECS)}")
    task.check_folders(video_dir, audio_dir, output_dir)
    pairing = task.pair_up(video_dir, audio_dir)
    written = kept = failed = 0
    for index, pair in enumerate(pairing.pairs, start=1):
        target = output_dir / f"{pair.stem}.mp4"
        if target.exists() and not overwrite:
            kept += 1
            progress.say(f"[{index}/{len(pairing.pairs)}] kept {target}")
            continue
        try:
            note = task.combine(pair, target, audio_codec, shortest)
        except LipscoreError as error:
            if error.exit_status != 1:
                raise
            failed += 1
            progress.say(f"[{index}/{len(pairing.pairs)}] {error}")
            continue
        written += 1
        progress.say(f"[{index}/{len(pairing.pairs)}] wrote {target}{f'; {note}' if note else ''}")
    for problem in pairing.problems:
        progress.say(f"not combined: {problem}")
    typer.echo(f"{written} written, {kept} kept, {failed} failed, {len(pairing.problems)} not combined")
    raise typer.Exit(1 if failed or pairing.problems else 0)


def tracks(
    video: Video,
    out: Annotated[Path, typer.Option("--out", help="Folder for pycrop and pywork; made if absent.")],
    protocol: ProtocolName = "wav2lip",
    model: ModelName = "auto",
    weights_dir: WeightsDir = None,
    allow_unverified: AllowUnverified = False,
    detections: Detections = None,
    device: Device = "auto",
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    vshift: Vshift = None,
) -> None:
    """Leave behind what the original pipeline does: face tracks as video files, their offsets and boxes."""
    changes = {"min_track": min_track, "min_face_size": min_face_size, "vshift": vshift}
    chosen, models = _load(protocol, changes, model, weights_dir, allow_unverified, detections, device)
    from lipscore.eval.tools.keep import Keeper
    from lipscore.eval.tools.tracks import write_tracks
    from lipscore.metrics.catalogue import lse_text

    with _stages(video) as stage:
        record = write_tracks(video, out, chosen, models, Keeper(stage))
    _need_score(record.name, record.status, record.reason)
    typer.echo(str(out / "pywork" / video.stem / "tracks.json"))
    for track in record.tracks:
        typer.echo(
            f"track {track.track_id}: frames {track.first_frame}-{track.last_frame}, offset {track.offset:+d}, "
            f"{lse_text(track, record.model)}"
        )


def visualise(
    video: Video,
    out: Annotated[Path, typer.Option("--out", help="The video to write; charts go beside it.")],
    protocol: ProtocolName = "wav2lip",
    model: ModelName = "auto",
    weights_dir: WeightsDir = None,
    allow_unverified: AllowUnverified = False,
    detections: Detections = None,
    device: Device = "auto",
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    vshift: Vshift = None,
) -> None:
    """Draw face boxes with their framewise confidence, green to red, and charts of each track."""
    changes = {"min_track": min_track, "min_face_size": min_face_size, "vshift": vshift}
    chosen, models = _load(protocol, changes, model, weights_dir, allow_unverified, detections, device)
    from lipscore.eval.tools.keep import Keeper
    from lipscore.eval.tools.visualise import visualise as draw

    with _stages(video) as stage:
        record, written = draw(video, out, chosen, models, Keeper(stage))
    _need_score(record.name, record.status, record.reason)
    for path in written:
        typer.echo(str(path))


def filter_(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Video files, or folders of them.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Outside the inputs; made if absent.")],
    preset: Annotated[str, typer.Option(help="strict, high, medium or relaxed.")] = "medium",
    min_confidence: Annotated[float | None, typer.Option(help="A good video's LSE-C is this or more.")] = None,
    max_abs_offset: Annotated[int | None, typer.Option(help="Its offset is so many frames or fewer.")] = None,
    min_face_size: MinFaceSize = None,
    min_track: MinTrack = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the videos; default: symbolic links.")] = False,
    keep_all: Annotated[bool, typer.Option("--keep-all", help="Neither link nor copy; the results file only.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score at once.")] = 1,
    no_resume: Annotated[bool, typer.Option("--no-resume", help="Score again what OUTPUT_DIR already holds.")] = False,
    protocol: ProtocolName = "wav2lip",
    model: ModelName = "auto",
    weights_dir: WeightsDir = None,
    allow_unverified: AllowUnverified = False,
    detections: Detections = None,
    device: Device = "auto",
    vshift: Vshift = None,
) -> None:
    """Sort videos into good_quality and poor_quality by confidence and offset; exit 1 if some could not be scored."""
    from lipscore.eval.run.batch import ScoreOptions
    from lipscore.eval.tools import filter as task

    if copy and keep_all:
        raise UsageError("--copy and --keep-all contradict each other: give one of them")
    limit = task.limits(preset, min_confidence, max_abs_offset)
    changes = {"min_track": min_track, "min_face_size": min_face_size, "vshift": vshift}
    options = ScoreOptions(
        inputs=tuple(inputs),
        reference=None,
        references=False,
        protocol=protocol,
        changes={name: value for name, value in changes.items() if value is not None},
        model=model,
        weights_dir=weights_dir,
        allow_unverified=allow_unverified,
        detections=detections,
        device=device,
        fast=False,
        precision=None,
        out=output_dir,
        scores_file=output_dir / "all_scores.txt",
        resume=not no_resume,
        shard=None,
        as_json=False,
        align="timestamp",
        max_shift=15,
        region="frame",
    )
    place = "none" if keep_all else "copy" if copy else "link"
    ran, counts = task.filter_videos(options, limit, {"preset": preset, "place": place}, workers=workers, place=place)
    typer.echo(
        f"total {ran.counts.total}: good {counts['good']}, poor {counts['poor']}, no face {counts['no_face']}, "
        f"failed {counts['failed']}; LSE-C >= {limit.min_confidence:g}, |offset| <= {limit.max_abs_offset}"
    )
    typer.echo(str(output_dir / task.RESULTS))
    raise typer.Exit(ran.exit_status)


def fix(
    video: Video,
    out: Annotated[Path, typer.Option("--out", help="The video to write.")],
    min_confidence: Annotated[float | None, typer.Option(help="LSE-C from which an offset is trusted; 3.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a file that is there.")] = False,
    protocol: ProtocolName = "wav2lip",
    model: ModelName = "auto",
    weights_dir: WeightsDir = None,
    allow_unverified: AllowUnverified = False,
    detections: Detections = None,
    device: Device = "auto",
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    vshift: Vshift = None,
) -> None:
    """Move the audio by the offset that is found, score again, keep the result if it is in sync; exit 1 if not."""
    if out.exists() and not overwrite:
        raise UsageError(f"--out {out}: is there already; give --overwrite, or name another file")
    changes = {"min_track": min_track, "min_face_size": min_face_size, "vshift": vshift}
    chosen, models = _load(protocol, changes, model, weights_dir, allow_unverified, detections, device)
    from lipscore.eval.tools import fix as task

    limit = task.MIN_CONFIDENCE if min_confidence is None else min_confidence
    with _stages(video) as stage:
        done = task.fix(video, out, chosen, models, limit, stage)
    typer.echo(f"{done.verdict}: {done.message}")
    if done.verdict == "fixed":
        typer.echo(str(out))
    raise typer.Exit(0 if done.verdict in ("fixed", "in_sync") else 1)


def _load(
    protocol: str,
    changes: dict[str, int | None],
    model: str,
    weights_dir: Path | None,
    allow_unverified: bool,
    detections: Path | None,
    device: str,
) -> tuple[Protocol, Models]:
    """The protocol with its changes and the models for it; says what is to be said of their choice."""
    from lipscore.eval.cli import progress
    from lipscore.eval.models import load_models
    from lipscore.media import ffmpeg
    from lipscore.syncnet.protocols import change, get_protocol

    chosen = change(get_protocol(protocol), {name: value for name, value in changes.items() if value is not None})
    ffmpeg.ffmpeg_path()
    models = load_models(
        model,
        chosen,
        weights_dir=weights_dir,
        allow_unverified=allow_unverified,
        detections=detections,
        device=device,
        progress=progress.download_progress(),
    )
    if models.note:
        progress.say(models.note)
    return chosen, models


@contextmanager
def _stages(video: Path) -> Iterator[Callable[[str], None]]:
    """A progress for one video: its stages, on a terminal."""
    from lipscore.eval.cli import progress
    from lipscore.eval.run.jobs import Job

    with progress.shown(1) as shown:
        shown.started(1, 1, Job(video, video.stem))
        yield partial(shown.stage, video.stem)


def _need_score(name: str, status: str, reason: str) -> None:
    """End with status 1 where there is no score to show."""
    if status != "ok":
        typer.echo(f"lipscore: {name}: {status}: {reason}", err=True)
        raise typer.Exit(1)
