"""The options of a run, as frozen, picklable classes, from which a thread or a process can build its own scorer.

Each class validates itself. A field's metadata holds its help text and flags, and `lipscore.eval.cli.options` turns a
class into command-line options, so each option is defined once. Error messages name the field; the command line shows
the name as a flag with dashes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from lipscore.errors import UsageError
from lipscore.media.limits import MAX_PIXELS, Limits
from lipscore.metrics.longrange import FOUND, REACH
from lipscore.syncnet.protocols import Protocol, change, get_protocol
from lipscore.types import Method, Region, Resize

MODELS = ("auto", "vgg", "mini")
DETECTORS = ("auto", "s3fd", "yunet", "hog")
METHODS = ("auto", "root-n", "head")
BACKENDS = ("threads", "ray")
MAX_SHIFT = 15  # frames; SyncNet's range
SCORES_FILE = "all_scores.txt"


def option(default: Any, help: str, *flags: str, panel: str = "", least: float | None = None, metavar: str = "") -> Any:
    """A dataclass field that is also a command-line option.

    Args:
        default: the field's default value.
        help: the text in --help.
        flags: the flags; default: the field's name with dashes.
        panel: the heading in --help; default: the class's heading.
        least: the smallest allowed value.
        metavar: the value's name in --help.
    """
    metadata = {"help": help, "flags": flags, "panel": panel, "least": least, "metavar": metavar}
    return field(default=default, metadata=metadata)


def _check(options: Any) -> None:
    """Raise UsageError if a number is below its field's smallest allowed value."""
    for item in fields(options):
        least, value = item.metadata.get("least"), getattr(options, item.name)
        if least is not None and value is not None and not (math.isfinite(value) and value >= least):
            raise UsageError.about(item.name, value, f"must be {least:g} or more")


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError.about(name, value, f"unknown choice; use one of {', '.join(choices)}")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which networks score, and where they run.

    Raises:
        UsageError: the model or the detector is unknown, `cores` is below 1, both `detector` and `detections` are
            given, or `mini_weights` is given with another model than mini.
    """

    model: str = option("auto", "vgg (official weights), mini (built in), or auto: vgg if its weights are available.")
    weights_dir: Path | None = option(None, "Folder with syncnet_v2.model and sfd_face.pth.")
    allow_unverified: bool = option(False, "Accept weight files that are not the published ones.")
    detector: str = option(
        "auto", "s3fd, yunet, hog, or auto: s3fd with vgg, yunet with mini; only s3fd is comparable."
    )
    detections: Path | None = option(None, "Folder of STEM.json files with face boxes, used instead of a detector.")
    device: str = option("auto", "auto, cpu, cuda or cuda:N.", panel="Speed")
    fast: bool = option(
        False, "Run S3FD on every fifth frame and both networks at half precision; not comparable.", panel="Speed"
    )
    precision: str | None = option(
        None, "Arithmetic of SyncNet v2 and S3FD: fp32 (exact), bf16, and on a GPU tf32 or fp16.", panel="Speed"
    )
    cores: int | None = option(
        None, "CPU cores for the networks; default: all available cores.", panel="Speed", least=1
    )
    mini_weights: Path | None = option(None, "With --model mini: weights that `lipscore train mini` wrote.")

    def __post_init__(self) -> None:
        """Check the choices."""
        _check(self)
        _choose("model", self.model, MODELS)
        _choose("detector", self.detector, DETECTORS)
        if self.mini_weights is not None and self.model != "mini":
            raise UsageError.about(
                "mini_weights", self.mini_weights, "only model mini can load them; give --model mini too"
            )
        if self.detector != "auto" and self.detections is not None:
            raise UsageError.about(
                "detector", self.detector, "--detections already gives the faces; leave one of the two out"
            )


@dataclass(frozen=True, slots=True)
class ProtocolOptions:
    """A protocol by name or file, and changes to it; a field that is None keeps the protocol's value."""

    protocol: str = option("wav2lip", "Protocol name (see `lipscore protocols`), or a TOML file.")
    min_track: int | None = option(None, "Minimum detections per track (exclusive); default: the protocol's.")
    min_face_size: int | None = option(
        None, "Minimum face size of a track, in pixels (exclusive); default: the protocol's."
    )
    facedet_scale: float | None = option(None, "Scale factor of the frames that S3FD sees; default: the protocol's.")
    crop_scale: float | None = option(
        None, "Margin around the face box, as a fraction of its half side; default: the protocol's."
    )
    vshift: int | None = option(None, "Largest shift to try in each direction, in frames; default: the protocol's.")
    batch_size: int | None = option(None, "Windows per pass through SyncNet; default: the protocol's.", panel="Speed")

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that are set."""
        values = {item.name: getattr(self, item.name) for item in fields(self)[1:]}
        return {name: value for name, value in values.items() if value is not None}

    def resolve(self) -> Protocol:
        """The protocol with the changes.

        Raises:
            UsageError: the protocol is unknown, or a value is out of range.
        """
        return change(get_protocol(self.protocol), self.changes)


@dataclass(frozen=True, slots=True)
class DetectProtocol(ProtocolOptions):
    """`ProtocolOptions` for `lipscore detect`; the default, lipscore-1, keeps sound and picture on one clock."""

    protocol: str = option("lipscore-1", "A protocol's name (see `lipscore protocols`), or a TOML file.")


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How `lipscore detect` searches.

    method: "root-n" is the statistic of `lipscore.metrics.longrange`; "head" is a trained head, whose weight file is
    `head`; "auto" means root-n, which the evaluation found better.

    Raises:
        UsageError: a number is out of range, a choice is unknown, or `head` is given without method "head", or the
            reverse.
    """

    max_offset: int = option(REACH, "Range of the search in each direction, in frames.", least=1)
    method: str = option("auto", "root-n, head (a trained one, with --head), or auto: root-n.")
    head: Path | None = option(None, "With --method head: the weights that `lipscore train fcn` wrote.")
    min_confidence: float = option(FOUND, "Smallest probability, 0 to 1, at which an offset counts as found.")
    compare: bool = option(False, "Also run SyncNet's own search, --vshift frames in each direction, and compare.")
    trace: bool = option(False, "Add the offset of the 5 seconds around each second.")

    def __post_init__(self) -> None:
        """Check the choices."""
        _check(self)
        _choose("method", self.method, METHODS)
        if not 0 <= self.min_confidence <= 1:
            raise UsageError.about("min_confidence", self.min_confidence, "is a probability; give a number from 0 to 1")
        if (self.method == "head") != (self.head is not None):
            raise UsageError.about(
                "head", self.head, "--head and --method head go together; give both, or leave both out"
            )


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """How a video is compared with its reference.

    align: "timestamp" resamples both to one frame rate; "index" pairs frame i with frame i, each at its own rate;
    "shift" is timestamp plus the shift within max_shift frames that maximises PSNR. region: "frame", "face" or "mouth",
    as in `lipscore.eval.regions`. resize: how generated frames are resized to the reference's size. all_variants: also
    compute the variants of SSIM other than the default.

    Raises:
        UsageError: a choice is unknown, or max_shift is negative.
    """

    align: Method = option("timestamp", "How frames are paired with those of the reference: timestamp, index or shift.")
    max_shift: int = option(MAX_SHIFT, "With --align shift: largest shift in each direction, in frames.", least=0)
    region: Region = option("frame", "Where PSNR and SSIM are measured: frame, face or mouth.")
    resize: Resize = option("area", "How frames are resized to the reference's size: area or bicubic.")
    all_variants: bool = option(False, "Compute every variant of PSNR and SSIM.")

    def __post_init__(self) -> None:
        """Check the choices."""
        _check(self)
        for name, kind in (("align", Method), ("region", Region), ("resize", Resize)):
            _choose(name, getattr(self, name), get_args(kind))


@dataclass(frozen=True, slots=True)
class InputOptions:
    """The inputs of a run.

    inputs: video files, or folders of videos. reference: the folder of references; None: INPUT/reference if it exists
    and find_references is True. manifest: a CSV file that lists videos (`lipscore.eval.run.inputs.listing`). audio: a
    file (for one video) or a folder with the sound to score instead of the videos' own.
    """

    inputs: tuple[Path, ...]
    reference: Path | None = None
    find_references: bool = True
    manifest: Path | None = None
    audio: Path | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run works through its videos. The limits apply to each video (`lipscore.media.limits`).

    Raises:
        UsageError: a number is out of range.
    """

    resume: bool = option(
        True, "Reuse the results in OUT (--resume), or score every video again (--no-resume).", panel="Output"
    )
    shard: str | None = option(
        None, "Score only the I-th of N equal parts of the videos.", panel="Input", metavar="I/N"
    )
    chunk: float | None = option(None, "Score long videos in pieces of this many seconds.", panel="Input", least=0)
    overlap: float = option(0.0, "With --chunk: overlap of neighbouring pieces, in seconds.", panel="Input", least=0)
    max_seconds: float | None = option(
        None,
        "Time limit for a video, in seconds; default: 1 hour plus 4 minutes per second of video.",
        panel="Input",
        least=0,
    )
    max_frames: int | None = option(
        None, "Largest number of frames of a video; default: depends on the file's size.", panel="Input", least=1
    )
    max_pixels: int = option(MAX_PIXELS, "Largest number of pixels of a frame.", panel="Input", least=1)
    max_audio: float | None = option(
        None, "Longest sound of a video, in seconds; default: depends on the file's size.", panel="Input", least=0
    )
    workers: int | None = option(
        None,
        "Videos at a time; default: one per core, at most 4; with --on ray, as many as fit.",
        panel="Speed",
        least=1,
    )
    on: str = option("threads", "Where to score: threads (on this machine) or ray (on a cluster).", panel="Speed")
    ray_address: str | None = option(
        None, "With --on ray: the cluster's address; default: RAY_ADDRESS, else a new one here.", panel="Speed"
    )
    gpus_per_worker: float = option(0.0, "With --on ray: GPUs per worker, such as 1 or 0.25.", panel="Speed", least=0)
    cpus_per_worker: float = option(1.0, "With --on ray: CPU cores per worker.", panel="Speed", least=0.01)

    def __post_init__(self) -> None:
        """Check the numbers and the backend."""
        _check(self)
        if self.chunk == 0:
            raise UsageError.about("chunk", self.chunk, "must be more than 0; leave it out to score videos whole")
        _choose("on", self.on, BACKENDS)

    @property
    def limits(self) -> Limits:
        """The limits of one video."""
        return Limits(self.max_seconds, self.max_frames, self.max_pixels, self.max_audio)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a run writes. Without `out` and `scores_file`, it writes no file.

    out: the folder for scores.jsonl, scores.csv and run.json. scores_file: a file that gets a line per face track.
    floor: also write floor.json into `out`, and the embeddings that it is computed from into out/floor. keep_pictures:
    also write into out/pictures what `lipscore report` shows of each video in addition to its numbers.

    Raises:
        UsageError: floor or keep_pictures lacks the folder that it writes to, or scores_file is "-".
    """

    out: Path | None = option(
        None, "Folder for scores.jsonl, scores.csv and run.json; only runs with it can be resumed.", "--out", "-o"
    )
    scores_file: Path | None = option(None, "File that gets a line per face track; default: OUT/all_scores.txt.")
    floor: bool = option(False, "Also score each video with another video's sound, which shows what no sync scores.")
    keep_pictures: bool = option(False, "Keep face crops, boxes and framewise confidence in OUT/pictures for `report`.")

    def __post_init__(self) -> None:
        """Check that `out` is given where it is needed, and that `scores_file` is a file."""
        for name in ("floor", "keep_pictures"):
            if getattr(self, name) and self.out is None:
                raise UsageError(f"--{name.replace('_', '-')}: writes into the output folder; give --out DIR too")
        if self.scores_file == Path("-"):
            raise UsageError.about("scores_file", "-", "name a file; --json prints records on standard output")

    @property
    def lines_to(self) -> Path | None:
        """The file that gets a line per face track; None if there is no such file."""
        return self.scores_file or (None if self.out is None else self.out / SCORES_FILE)


@dataclass(frozen=True, slots=True)
class VerdictOptions:
    """The criteria by which a run's scores are judged; a video that fails one makes the exit status 1."""

    standard: str | None = option(
        None, "Exit 1 if an offset is outside these limits: itu-detectable, itu-acceptable, ebu-r37 or atsc-is191."
    )
    fail_on: list[str] = option(
        (),
        "Exit 1 if a video meets this condition, such as 'abs(offset_ms)>60 or lse_c<4'; repeatable.",
        metavar="CONDITION",
    )
    baseline: Path | None = option(
        None, "Folder of earlier results: exit 1 if a video is worse by more than the noise band."
    )
    noise: Path | None = option(None, "With --baseline: file with the noise band; default: BASELINE/noise.json.")
    allow_mixed: bool = option(False, "Accept a baseline that was scored with other settings.")

    def __post_init__(self) -> None:
        """Check the choices."""
        if self.baseline is None and (self.noise is not None or self.allow_mixed):
            raise UsageError("--noise and --allow-mixed need --baseline: give it too")


@dataclass(frozen=True, slots=True)
class Request:
    """All options of a run; picklable, so that another process can do part of the run."""

    inputs: InputOptions
    protocol: ProtocolOptions = ProtocolOptions()
    models: ModelOptions = ModelOptions()
    reference: ReferenceOptions = ReferenceOptions()
    run: RunOptions = RunOptions()
    output: OutputOptions = OutputOptions()
