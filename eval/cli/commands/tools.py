"""Commands on single videos and folders: combine, tracks, visualise, fix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from lipscore.errors import LipscoreError, UsageError
from lipscore.eval.cli.options import Video, load_setup, need_score, quietable, stages
from lipscore.eval.cli.output import say, show, tell
from lipscore.eval.options import DetectOptions, ModelOptions, ProtocolOptions


@quietable
def combine(
    video_dir: Annotated[Path, typer.Option("--video-dir", "-v", help="Folder with the videos NAME.mp4.")],
    audio_dir: Annotated[Path, typer.Option("--audio-dir", "-a", help="Folder with the audio files NAME.wav.")],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Folder for the new NAME.mp4; created if absent.")
    ],
    audio_codec: Annotated[
        str, typer.Option(help="Audio codec of the output: aac, copy (the audio file's own), or pcm.")
    ] = "aac",
    shortest: Annotated[
        bool, typer.Option("--shortest", help="Cut the longer of video and audio to the length of the other.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing outputs.")] = False,
) -> None:
    """Join the videos of one folder with the audio files of another, by name; exit 1 if a file has no partner."""
    from lipscore.eval.tools import combine as task
    from lipscore.media.edit import AUDIO_CODECS

    if audio_codec not in AUDIO_CODECS:
        raise UsageError.about("audio_codec", audio_codec, f"unknown choice; use one of {', '.join(AUDIO_CODECS)}")
    task.check_folders(video_dir, audio_dir, output_dir)
    pairing = task.pair_up(video_dir, audio_dir)
    written = kept = failed = 0
    for index, pair in enumerate(pairing.pairs, start=1):
        target = output_dir / f"{pair.stem}.mp4"
        if target.exists() and not overwrite:
            kept += 1
            tell(f"[{index}/{len(pairing.pairs)}] kept {target}")
            continue
        try:
            note = task.combine(pair, target, audio_codec, shortest)
        except LipscoreError as error:
            if error.exit_status != 1:
                raise
            failed += 1
            say(f"[{index}/{len(pairing.pairs)}] {error}")
            continue
        written += 1
        tell(f"[{index}/{len(pairing.pairs)}] wrote {target}{f'; {note}' if note else ''}")
    for problem in pairing.problems:
        say(f"not combined: {problem}")
    show(f"{written} written, {kept} kept, {failed} failed, {len(pairing.problems)} not combined")
    raise typer.Exit(1 if failed or pairing.problems else 0)


@quietable
def tracks(
    video: Video,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pycrop and pywork; created if absent.")],
    protocol: ProtocolOptions,
    models: ModelOptions,
) -> None:
    """Write the original pipeline's intermediate files: face tracks as videos, their offsets and boxes.

    Example: lipscore tracks talk.mp4 --out tracks
    """
    setup = load_setup(protocol, models)
    from lipscore.eval.tools.tracks import write_tracks
    from lipscore.metrics.catalogue import lse_text

    with stages(video) as on_stage:
        record = write_tracks(video, out, setup, on_stage)
    need_score(record.name, record.status, record.reason)
    show(str(out / "pywork" / video.stem / "tracks.json"))
    for track in record.tracks:
        show(
            f"track {track.track_id}: frames {track.first_frame}-{track.last_frame}, offset {track.offset:+d}, "
            f"{lse_text(track, record.model)}"
        )


@quietable
def visualise(
    video: Video,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output video; charts go into the same folder.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing output.")] = False,
    protocol: ProtocolOptions,
    models: ModelOptions,
) -> None:
    """Draw face boxes with their framewise confidence (red to green), and charts of each track.

    Example: lipscore visualise talk.mp4 --out talk-boxes.mp4
    """
    _check_new(out, overwrite)
    setup = load_setup(protocol, models)
    from lipscore.eval.tools.visualise import visualise as draw

    with stages(video) as on_stage:
        record, written = draw(video, out, setup, on_stage)
    need_score(record.name, record.status, record.reason)
    for path in written:
        show(str(path))


@quietable
def fix(
    video: Video,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output video.")],
    min_confidence: Annotated[
        float | None, typer.Option(help="Minimum LSE-C for an offset to be trusted; default: 3.")
    ] = None,
    max_offset: Annotated[
        int | None,
        typer.Option(help="Search as `detect` does, up to this many frames in each direction (125 are 5 seconds)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing output.")] = False,
    protocol: ProtocolOptions,
    models: ModelOptions,
) -> None:
    """Move the audio by the measured offset, score again, and keep the result if it is in sync; exit 1 if not.

    Example: lipscore fix late.mp4 --out fixed.mp4
    """
    _check_new(out, overwrite)
    if max_offset is not None:
        _mend(video, out, max_offset, min_confidence, protocol, models)
    setup = load_setup(protocol, models)
    from lipscore.eval.tools import fix as task

    limit = task.MIN_CONFIDENCE if min_confidence is None else min_confidence
    with stages(video) as on_stage:
        done = task.fix(video, out, setup, limit, on_stage)
    _end_fixing(done.verdict, done.message, out)


def _check_new(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise UsageError.about("out", out, "exists already; give --overwrite, or name another file")


def _mend(
    video: Path,
    out: Path,
    max_offset: int,
    min_confidence: float | None,
    protocol: ProtocolOptions,
    models: ModelOptions,
) -> NoReturn:
    """`fix --max-offset`; ends the program."""
    if min_confidence is not None:
        raise UsageError.about(
            "min_confidence",
            min_confidence,
            "is a limit for LSE-C, which --max-offset does not use; leave one of the two out",
        )
    options = DetectOptions(max_offset)
    setup = load_setup(protocol, models)
    from lipscore.eval.tools.longrange.mend import mend

    with stages(video) as on_stage:
        done = mend(video, out, setup, options, on_stage)
    _end_fixing(done.verdict, done.message, out)


def _end_fixing(verdict: str, message: str, out: Path) -> NoReturn:
    show(f"{verdict}: {message}")
    if verdict == "fixed":
        show(str(out))
    raise typer.Exit(0 if verdict in ("fixed", "in_sync") else 1)
