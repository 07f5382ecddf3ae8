"""`lipscore generate`: make lips follow a sound; with --score, score the result at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipscore.errors import UsageError
from lipscore.eval.cli.options import quietable
from lipscore.eval.cli.output import say, show
from lipscore.eval.options import MODELS, InputOptions, ModelOptions, OutputOptions, ProtocolOptions, Request

Four = tuple[int, int, int, int]
SIDES = "T B L R"
SCORING = "With --score"


@quietable
def generate(
    *,
    face: Annotated[
        Path | None, typer.Option(help="Video or still image of the person whose lips are to move.")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Sound that the lips follow: a sound file, or a video with sound.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Output file (.mp4, .m4v, .mov, .mkv); with --pairs, a folder.")
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(help="File with Wav2Lip's weights, such as wav2lip_gan.pth.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Installed weights by name, instead of --checkpoint: wav2lip, wav2lip-gan or wav2lip-sd-gan."
        ),
    ] = None,
    pads: Annotated[
        Four | None, typer.Option(metavar=SIDES, help="Pixels added to the detected box; default 0 10 0 0.")
    ] = None,
    box: Annotated[
        Four,
        typer.Option(
            metavar=SIDES, help="Constant face box, used instead of a detector; a first value of -1 means no box."
        ),
    ] = (
        -1,
        -1,
        -1,
        -1,
    ),
    crop: Annotated[
        Four, typer.Option(metavar=SIDES, help="Crop frames to these rows and columns; -1 means to the edge.")
    ] = (0, -1, 0, -1),
    resize_factor: Annotated[int, typer.Option(help="Shrink frames by this whole factor first.")] = 1,
    rotate: Annotated[bool, typer.Option("--rotate", help="Turn frames by 90 degrees clockwise.")] = False,
    static: Annotated[bool, typer.Option("--static", help="Use only the video's first frame.")] = False,
    no_smooth: Annotated[
        bool, typer.Option("--no-smooth", "--nosmooth", help="Do not smooth the face boxes over time.")
    ] = False,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a still image; default 25.")] = None,
    detector: Annotated[
        str, typer.Option(help="Face detector: s3fd-fa (the original's), yunet, hog or given.")
    ] = "s3fd-fa",
    detections: Annotated[
        Path | None, typer.Option(help="With --detector given: folder that holds each video's boxes as STEM.json.")
    ] = None,
    missing: Annotated[
        str,
        typer.Option(help="How to treat frames without a face: error, keep (leave them unchanged) or interpolate."),
    ] = "error",
    same_person: Annotated[
        str,
        typer.Option(
            help="With --missing keep: how to recognise another person: appearance, fork (as LIpSync does) or off."
        ),
    ] = "appearance",
    codec: Annotated[
        str, typer.Option(help="Codec of the output: original (two lossy steps, as published), h264 or lossless.")
    ] = "original",
    face_det_batch_size: Annotated[int | None, typer.Option(help="Frames per call of the detector.")] = None,
    wav2lip_batch_size: Annotated[
        int | None, typer.Option(help="Windows per call of the network; default 8 on a CPU, 64 on a GPU.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="File list of Wav2Lip's evaluation scripts, with one video per line.")
    ] = None,
    pairs_kind: Annotated[str, typer.Option(help="Kind of that list: lrs, resynced or resynced-tts.")] = "lrs",
    data_root: Annotated[Path, typer.Option(help="Folder that contains the files on the list.")] = Path(),
    resume: Annotated[
        bool, typer.Option(help="Keep the videos of an earlier run (--resume), or generate them again (--no-resume).")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace output files that lipscore did not make.")
    ] = False,
    weights_dir: Annotated[Path | None, typer.Option(help="Folder with weight files.")] = None,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Accept weight files that are not the published ones.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    score: Annotated[
        bool, typer.Option("--score", help="Score the generated videos, as `lipscore score` does.")
    ] = False,
    protocol: ProtocolOptions,
    score_model: Annotated[
        str, typer.Option(help="Model that scores: vgg, mini or auto.", rich_help_panel=SCORING)
    ] = "auto",
    score_detections: Annotated[
        Path | None,
        typer.Option(
            help="Folder of STEM.json files with face boxes for scoring, at the protocol's frame rate.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder for scores.jsonl, scores.csv and run.json.", rich_help_panel=SCORING)
    ] = None,
    scores_file: Annotated[
        Path | None,
        typer.Option(
            help="File that gets a line per face track; default: RESULTS/all_scores.txt.", rich_help_panel=SCORING
        ),
    ] = None,
) -> None:
    """Make the lips of a video or of a still image follow a sound, with Wav2Lip.

    Example: lipscore generate --face talk.mp4 --audio speech.wav --checkpoint wav2lip_gan.pth --out lips.mp4 --score

    Licence: Wav2Lip's official weights are for research, academic and personal use only, never commercial. lipscore
    does not contain them, and downloads them only on request (`lipscore weights fetch wav2lip_gan.pth`). Get the
    consent of the person shown, and say that the video is generated. A tag in the output file says so too.

    Raises:
        LipscoreError: wrong options, or something that is needed is missing.
    """
    from lipscore import runtime
    from lipscore.eval.cli import progress
    from lipscore.eval.cli.commands.score import report
    from lipscore.eval.run.signals import Interrupted, Interruption
    from lipscore.eval.tools import generate as task
    from lipscore.generate.wav2lip import lists
    from lipscore.generate.wav2lip.faces.boxes import Pads
    from lipscore.generate.wav2lip.faces.picture import Crop, Framing
    from lipscore.generate.wav2lip.options import Box, Options

    padding = None if pads is None else Pads(*pads)
    options = Options(
        pads=padding or Pads(),
        box=None if box[0] == -1 else Box(*box),
        framing=Framing(resize_factor, rotate, Crop(*crop)),
        static=static,
        smooth=not no_smooth,
        fps=fps,
        missing=missing,
        same_person=same_person,
        codec=codec,
    )
    if pairs is not None:
        if face is not None or audio is not None:
            raise UsageError("--pairs: replaces --face and --audio; give either --pairs or these two")
        jobs = lists.read_pairs(pairs, data_root, out, pairs_kind)
        options = lists.list_options(options, pairs_kind, padding)
    elif face is None or audio is None:
        raise UsageError("give --face and --audio, or a list with --pairs")
    else:
        jobs = [lists.Pair(face, audio, out)]
    if score_model not in MODELS:
        raise UsageError.about("score_model", score_model, f"unknown choice; use one of {', '.join(MODELS)}")
    models = ModelOptions(score_model, weights_dir, allow_unverified, detections=score_detections, device=device)
    scoring = Request(InputOptions(()), protocol, models, output=OutputOptions(results, scores_file))
    if score:
        task.check_scoring(scoring)
    where = runtime.pick_device(device)
    runtime.tune_process()
    loaded = task.load_checkpoint(model, checkpoint, weights_dir, allow_unverified)
    say(task.LICENCE)
    setup = task.load_setup(
        loaded,
        detector if options.box is None else None,
        detections=detections,
        weights_dir=weights_dir,
        allow_unverified=allow_unverified,
        device=where,
        detector_batch=face_det_batch_size,
        batch=wav2lip_batch_size,
    )

    def told(made: task.Made) -> None:
        if made.failed:
            say(f"not generated: {made.status}: {made.message}")
        else:
            show(made.message)

    try:
        with Interruption():
            made = task.make_all(
                jobs,
                setup,
                options,
                resume=resume,
                overwrite=overwrite,
                progress=lambda pair: progress.left_progress(pair.target.name),
                told=told,
            )
    except Interrupted as signal_:
        say("interrupted; finished videos are complete, and the same command continues with the rest")
        raise typer.Exit(signal_.exit_status) from None
    failed = sum(one.failed for one in made)
    if len(made) > 1:
        show(f"{len(made) - failed} of {len(made)} generated")
    status = 1 if failed else 0
    there = [one.pair.target for one in made if not one.failed]
    if score and there:
        ran = task.score_made(there, scoring, progress.Terminal())
        report(ran, results)
        status = max(status, ran.exit_status)
    raise typer.Exit(status)
