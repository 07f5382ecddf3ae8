"""`lipscore generate`: run Wav2Lip on one video or on a list; a record next to each output makes runs resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from lipscore import __version__
from lipscore.errors import MediaError, UsageError, WeightsError
from lipscore.eval.options import InputOptions, Request
from lipscore.eval.run.batch import Ran, run_batch
from lipscore.eval.run.jobs import Reporter
from lipscore.eval.store.appending import check_appendable
from lipscore.eval.store.records import hash_of
from lipscore.faces.given import GivenBoxes
from lipscore.faces.hog import HogDetector
from lipscore.faces.s3fd.face_alignment import FaceAlignmentS3fd
from lipscore.faces.yunet import YunetDetector
from lipscore.generate.wav2lip import checkpoint as weights_file
from lipscore.generate.wav2lip.errors import NotGeneratedError
from lipscore.generate.wav2lip.faces.boxes import State, ranges
from lipscore.generate.wav2lip.flow import Generated, Progress, generate
from lipscore.generate.wav2lip.generator import Generator
from lipscore.generate.wav2lip.lists import Pair
from lipscore.generate.wav2lip.options import Options
from lipscore.generate.wav2lip.write import check_target, metadata
from lipscore.media import ffmpeg, read
from lipscore.media.files.aside import replace_whole, written_aside
from lipscore.types import Detector
from lipscore.weights import catalogue, fetch

SCHEMA = 1
MODELS = {
    "wav2lip": catalogue.WAV2LIP,
    "wav2lip-gan": catalogue.WAV2LIP_GAN,
    "wav2lip-sd-gan": catalogue.WAV2LIP_SD_GAN,
}
DETECTORS = ("s3fd-fa", "yunet", "hog", "given")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
WORDS: dict[State, str] = {
    "generated": "generated",
    "interpolated": "generated where the box was interpolated",
    "no_face": "kept (no face)",
    "other_face": "kept (another's face)",
}
LICENCE = (
    "Wav2Lip's official weights are for research, academic and personal use only; their training data's terms forbid "
    "any commercial use. Label a generated video as generated."
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every video of a run shares.

    detector: its name, None with a constant box. detector_weights: the hash of its file, or "".
    """

    generator: Generator
    detector: str | None
    detector_for: Callable[[Path], Detector]
    detections: Path | None
    detector_weights: str


@dataclass(frozen=True, slots=True)
class Made:
    """The result of a pair. status: "generated", "held" (an earlier run made it), or the reason why there is none."""

    pair: Pair
    status: str
    message: str

    @property
    def failed(self) -> bool:
        """Whether there is no output."""
        return self.status not in ("generated", "held")


def load_checkpoint(
    model: str | None, path: Path | None, weights_dir: Path | None, allow_unverified: bool
) -> weights_file.Checkpoint:
    """The weights that `--checkpoint` or `--model` names; nothing is fetched.

    Raises:
        UsageError: neither is named, both are, or there is no such model.
        WeightsError: the file does not exist, or does not hold Wav2Lip's weights.
    """
    if (model is None) == (path is None):
        raise UsageError(f"name the weights: --checkpoint FILE, or --model {'|'.join(MODELS)}, and not both")
    if path is not None:
        return weights_file.load(path)
    if model not in MODELS:
        raise UsageError.about("model", model, f"unknown model; use one of {', '.join(MODELS)}")
    found = _found(MODELS[model], weights_dir)
    loaded = weights_file.load(found.path)
    if not loaded.published and not allow_unverified:
        raise WeightsError(
            f"{found.path} is not the published {found.name}: its SHA-256 is {found.sha256}; name it with "
            "--checkpoint, or take it with --allow-unverified"
        )
    return loaded


def load_setup(
    checkpoint: weights_file.Checkpoint,
    detector: str | None,
    *,
    detections: Path | None = None,
    weights_dir: Path | None = None,
    allow_unverified: bool = False,
    device: torch.device | str = "cpu",
    detector_batch: int | None = None,
    batch: int | None = None,
) -> Setup:
    """Load the network and the detector.

    Args:
        detector: one of DETECTORS; None with a constant box.
        detections: the folder with the boxes that "given" reads.
        detector_batch, batch: frames and windows at a time; None: as suits the device.

    Raises:
        UsageError: the detector is unknown, or boxes come without the detector "given", or the reverse.
        MissingError: the detector, its weights or the boxes are missing.
    """
    if detector is not None and detector not in DETECTORS:
        raise UsageError.about("detector", detector, f"unknown detector; use one of {', '.join(DETECTORS)}")
    if (detector == "given") != (detections is not None):
        raise UsageError("--detections DIR and --detector given go together: a folder with a STEM.json per video")
    if detector_batch is not None and detector_batch < 1:
        raise UsageError.about("face_det_batch_size", detector_batch, "give a number of 1 or more")
    for_video: Callable[[Path], Detector] = _no_detector
    weights = ""
    if detections is not None:
        for_video = GivenBoxes(detections).for_video
    elif detector == "s3fd-fa":
        file = _found(catalogue.S3FD_FA, weights_dir)
        state = fetch.load_state_dict(file, fetch.Search.from_environment(weights_dir), allow_unverified)
        for_video, weights = _always(FaceAlignmentS3fd(state, device, detector_batch)), file.sha256
    elif detector == "yunet":
        yunet = YunetDetector()
        for_video, weights = _always(yunet), yunet.weights.sha256
    elif detector is not None:
        for_video = _always(HogDetector())
    return Setup(Generator(checkpoint, device, batch), detector, for_video, detections, weights)


def _no_detector(video: Path) -> Detector:
    raise AssertionError(f"{video}: a constant box needs no detector")


def _always(detector: Detector) -> Callable[[Path], Detector]:
    return lambda _: detector


def _found(name: str, weights_dir: Path | None) -> catalogue.WeightFile:
    search = fetch.Search.from_environment(weights_dir)
    found = fetch.find(name, search)
    if found is None:
        published = search.published(name)
        raise WeightsError(
            f"{name} is not installed, and lipscore downloads it only when told to. "
            f"Its licence: {published.licence}. If yours is "
            f"such a use: `lipscore weights fetch {name}`. {fetch.by_hand(published, search)}"
        )
    return found


def make_all(
    pairs: Sequence[Pair],
    setup: Setup,
    options: Options,
    *,
    resume: bool = True,
    overwrite: bool = False,
    progress: Callable[[Pair], Progress | None] = lambda _: None,
    told: Callable[[Made], None] = lambda _: None,
) -> list[Made]:
    """Make every pair's video; one that cannot be made does not stop the others.

    Args:
        resume: keep the videos that an earlier run made from the same files with the same options.
        overwrite: replace an existing output that lipscore did not make.
        progress: returns the callback that receives a pair's progress.
        told: called with each pair's result.

    Raises:
        UsageError: the options do not suit the only pair.
        MissingError: something that every pair needs is missing (FFmpeg, a writable folder).
    """
    made: list[Made] = []
    for pair in pairs:
        try:
            made.append(_make(pair, setup, options, resume, overwrite, progress(pair)))
        except NotGeneratedError as error:
            made.append(Made(pair, error.reason, str(error)))
        except MediaError as error:
            made.append(Made(pair, "media_error", str(error)))
        except UsageError as error:
            if len(pairs) == 1:
                raise
            made.append(Made(pair, "usage", error.flagged))
        told(made[-1])
    return made


def record_path(target: Path) -> Path:
    """The path of the record of an output."""
    return target.with_name(f"{target.name}.json")


def _make(pair: Pair, setup: Setup, options: Options, resume: bool, overwrite: bool, progress: Progress | None) -> Made:
    if pair.problem:
        raise UsageError(pair.problem)
    check_target(pair.target, options.codec, (pair.face, pair.audio))
    held = _held(pair.target)
    if pair.target.exists() and held is None and not overwrite:
        raise UsageError(f"{pair.target}: exists, and lipscore did not make it; name another file, or give --overwrite")
    files = {"face": read.file_sha256(pair.face), "audio": read.file_sha256(pair.audio)}
    asked = asdict(options)
    settings = _settings(pair, setup, asked, files)
    if resume and held is not None and held.get("settings") == settings and _intact(pair.target, held):
        return Made(
            pair,
            "held",
            f"{pair.target}: made before from the same files and options; --no-resume makes it again",
        )
    weights = setup.generator.checkpoint
    called = weights.published or weights.path.name
    tags = metadata(f"lipscore {__version__}", f"weights {called}, SHA-256 {weights.sha256[:16]}")
    with written_aside(pair.target) as aside:
        done = generate(
            pair.face, pair.audio, aside, setup.generator, setup.detector_for, options, tags=tags, progress=progress
        )
        record = _record(pair, setup, asked, files, done) | {
            "output_sha256": read.file_sha256(aside),
            "tags": tags,
            "settings": settings,
        }
        # before the output: one without a record would be taken for the user's own
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        replace_whole(record_path(pair.target), text.encode(errors="backslashreplace"))
    return Made(pair, "generated", _sentence(pair, done))


def _settings(pair: Pair, setup: Setup, asked: dict[str, Any], files: dict[str, str]) -> str:
    """The hash of everything that decides the output."""
    boxes = setup.detections / f"{pair.face.stem}.json" if setup.detections is not None else None
    return hash_of(
        {
            "files": files,
            "options": asked,
            "weights": setup.generator.checkpoint.sha256,
            "detector": [setup.detector, setup.detector_weights],
            "boxes": read.file_sha256(boxes) if boxes is not None and boxes.is_file() else None,
            "ffmpeg": ffmpeg.ffmpeg_version(),
            "lipscore": __version__,
        }
    )


def _held(target: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(record_path(target).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("schema") == SCHEMA else None


def _intact(target: Path, held: dict[str, Any]) -> bool:
    return target.is_file() and read.file_sha256(target) == held.get("output_sha256")


def _record(pair: Pair, setup: Setup, asked: dict[str, Any], files: dict[str, str], done: Generated) -> dict[str, Any]:
    weights = setup.generator.checkpoint
    unchanged = done.count("no_face") + done.count("other_face")
    return {
        "schema": SCHEMA,
        "what": "generated video: the lips were made by Wav2Lip to follow another sound",
        "output": pair.target.name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "lipscore": __version__,
        "ffmpeg": ffmpeg.ffmpeg_version(),
        "face": {"path": str(pair.face), "sha256": files["face"], "still": done.still},
        "audio": {
            "path": str(pair.audio),
            "sha256": files["audio"],
            "seconds": round(done.seconds, 4),
            "sample_rate": done.rate,
            "channels": done.channels,
        },
        "weights": {
            "path": str(weights.path),
            "sha256": weights.sha256,
            "published": weights.published or None,
            "licence": catalogue.ON_REQUEST[weights.published].licence if weights.published else None,
        },
        "detector": setup.detector,
        "options": asked | {"framing": asdict(done.framing)},
        "fps": done.fps,
        "size_wh": list(done.size),
        "frames": {
            "written": len(done.states),
            "generated": done.count("generated"),
            "interpolated": done.count("interpolated"),
            "kept": unchanged,
            "no_face": done.count("no_face"),
            "other_face": done.count("other_face"),
            "of_the_picture": done.picture_frames,
        },
        "states": ranges(done.states),
    }


def _sentence(pair: Pair, done: Generated) -> str:
    counts = [f"{done.count(state)} {words}" for state, words in WORDS.items() if done.count(state)]
    notes = []
    image = pair.face.suffix.lower() in IMAGE_SUFFIXES
    if done.still and not image:
        notes.append(f"{pair.face} is a still image, despite its name")
    elif image and not done.still:
        notes.append(f"{pair.face} is a video, despite its name")
    if not done.still and 1 < done.picture_frames < len(done.states):
        notes.append(f"the picture's {done.picture_frames} frames are repeated")
    text = f"{pair.target}: {len(done.states)} frames, {', '.join(counts)}"
    return "; ".join([text, *notes])


def check_scoring(scoring: Request) -> None:
    """Check, before anything is generated, that the result can be scored.

    Raises:
        UsageError: no such protocol.
        MissingError: the boxes are not there, or the scores file cannot be written.
    """
    scoring.protocol.resolve()
    if scoring.models.detections is not None:
        GivenBoxes(scoring.models.detections)
    if scoring.output.lines_to is not None:
        check_appendable(scoring.output.lines_to)


def score_made(videos: Sequence[Path], scoring: Request, reporter: Reporter) -> Ran:
    """Score videos as `lipscore score` does, into the same files.

    Args:
        scoring: all options except the inputs.
    """
    return run_batch(replace(scoring, inputs=InputOptions(tuple(videos), find_references=False)), reporter)
