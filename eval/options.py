"""The options of a run, as frozen, picklable classes: a thread or a process can build its own scorer from them.

Each class validates itself. A field's metadata holds its help text and flags, and `lipscore.eval.cli.options` turns a
class into command-line options, so each option is defined once. Messages name the field; the command line adds dashes.
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
        UsageError: the model or the detector is unknown, cores is below 1, there are a detector and boxes, or there are
            mini's weights with another model.
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
            raise UsageError.about("mini_weights", self.mini_weights, "are mini's: give --model mini too")
        if self.detector != "auto" and self.detections is not None:
            raise UsageError.about("detector", self.detector, "finds no faces where --detections gives them; drop one")


@dataclass(frozen=True, slots=True)
class ProtocolOptions:
    """A protocol by name or file, and changes to it; None keeps the protocol's value."""

    protocol: str = option("wav2lip", "Protocol name (see `lipscore protocols`), or a TOML file.")
    min_track: int | None = option(None, "Minimum detections per track (exclusive).")
    min_face_size: int | None = option(None, "Minimum face size of a track, in pixels (exclusive).")
    facedet_scale: float | None = option(None, "Scale factor of frames before S3FD.")
    crop_scale: float | None = option(None, "Margin around the face box, as a fraction of its half side.")
    vshift: int | None = option(None, "Largest audio-video shift to try in each direction, in frames.")
    batch_size: int | None = option(None, "Windows per pass through SyncNet.", panel="Speed")

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
    """The same for `lipscore detect`, whose own protocol decodes once and keeps sound and picture on one clock."""

    protocol: str = option("lipscore-1", "A protocol's name (see `lipscore protocols`), or a TOML file.")


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How `lipscore detect` searches.

    method: "root-n", the statistic of `lipscore.metrics.longrange`; "head", a trained head (`head`, its weight file);
    "auto": what the evaluation found better, root-n.

    Raises:
        UsageError: a number is out of range, a choice is unknown, or there is a head without its method.
    """

    max_offset: int = option(REACH, "Range of the search, in frames to either side.", least=1)
    method: str = option("auto", "root-n, head (a trained one, with --head), or auto: root-n.")
    head: Path | None = option(None, "With --method head: the weights that `lipscore train fcn` wrote.")
    min_confidence: float = option(FOUND, "Probability of being right to a frame, from which an offset is an answer.")
    compare: bool = option(False, "Search as SyncNet does, too, --vshift frames to either side, and compare.")
    trace: bool = option(False, "Add the offset around every second.")

    def __post_init__(self) -> None:
        """Check the choices."""
        _check(self)
        _choose("method", self.method, METHODS)
        if not 0 <= self.min_confidence <= 1:
            raise UsageError.about("min_confidence", self.min_confidence, "is a probability; give 0 to 1")
        if (self.method == "head") != (self.head is not None):
            raise UsageError.about("head", self.head, "belongs to --method head; give both or none")


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """How a video is compared with its reference.

    align: "timestamp" resamples both to one frame rate; "index" pairs frame i with frame i, each at its own rate;
    "shift" is timestamp plus the shift within max_shift frames that maximises PSNR. region: see eval/regions.py.
    resize: how generated frames are resized to the reference's size. all_variants: also compute the variants of SSIM
    other than the default.

    Raises:
        UsageError: a choice is unknown, or max_shift is negative.
    """

    align: Method = option("timestamp", "How frames are paired with the reference's: timestamp, index or shift.")
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
    and find_references is True. manifest: a CSV file that lists videos (`lipscore.eval.run.inputs.listing`). audio: the
    sound to score in place of the videos' own: a file for one video, or a folder.
    """

    inputs: tuple[Path, ...]
    reference: Path | None = None
    find_references: bool = True
    manifest: Path | None = None
    audio: Path | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes through its videos; the limits are those of one video (`lipscore.media.limits`).

    Raises:
        UsageError: a number is out of range.
    """

    resume: bool = option(True, "Reuse results that OUT already contains, or score every video again.", panel="Output")
    shard: str | None = option(None, "Score only the I-th of N equal parts.", panel="Input", metavar="I/N")
    chunk: float | None = option(None, "Score long videos in pieces of this many seconds.", panel="Input", least=0)
    overlap: float = option(0.0, "With --chunk: overlap of neighbouring pieces, in seconds.", panel="Input", least=0)
    max_seconds: float | None = option(
        None, "Seconds one video may take; default: an hour, and 4 minutes per second of it.", panel="Input", least=0
    )
    max_frames: int | None = option(None, "Frames of one video; default: by its file's size.", panel="Input", least=1)
    max_pixels: int = option(MAX_PIXELS, "Pixels of a frame.", panel="Input", least=1)
    max_audio: float | None = option(None, "Seconds of sound; default: by the file's size.", panel="Input", least=0)
    workers: int | None = option(
        None, "Videos at a time; default: one per core, at most 4; with --on ray all that fit.", panel="Speed", least=1
    )
    on: str = option("threads", "Where videos are scored: threads (here) or ray (a cluster).", panel="Speed")
    ray_address: str | None = option(
        None, "With --on ray: the cluster; default: RAY_ADDRESS, else one that is started here.", panel="Speed"
    )
    gpus_per_worker: float = option(0.0, "With --on ray: GPUs of a worker, as 1 or 0.25.", panel="Speed", least=0)
    cpus_per_worker: float = option(1.0, "With --on ray: cores of a worker.", panel="Speed", least=0.01)

    def __post_init__(self) -> None:
        """Check the numbers and the backend."""
        _check(self)
        if self.chunk == 0:
            raise UsageError.about("chunk", self.chunk, "must be more than 0; leave it out to score videos whole")
        _choose("on", self.on, BACKENDS)

    @property
    def limits(self) -> Limits:
        """What one video may cost."""
        return Limits(self.max_seconds, self.max_frames, self.max_pixels, self.max_audio)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a run writes: out gets scores.jsonl, scores.csv and run.json, scores_file a line per face track.

    Without either, nothing. floor: out gets floor.json, and in floor/ the embeddings that it is computed from.
    keep_pictures: out/pictures gets what `lipscore report` shows of each video next to its numbers.

    Raises:
        UsageError: floor or keep_pictures lacks the folder that it writes to, or scores_file is "-".
    """

    out: Path | None = option(
        None, "Folder for scores.jsonl, scores.csv, run.json; without it a run keeps nothing to resume.", "--out", "-o"
    )
    scores_file: Path | None = option(None, "File that gets a line per face track; default: OUT/all_scores.txt.")
    floor: bool = option(False, "Also score each video's lips with another video's sound: the set's own zero.")
    keep_pictures: bool = option(False, "Keep face crops, boxes and framewise confidence in OUT/pictures for `report`.")

    def __post_init__(self) -> None:
        """Check that what writes has a place to write to."""
        for name in ("floor", "keep_pictures"):
            if getattr(self, name) and self.out is None:
                raise UsageError(f"--{name.replace('_', '-')}: is written into the output folder; give --out DIR too")
        if self.scores_file == Path("-"):
            raise UsageError.about("scores_file", "-", "name a file; --json prints records on standard output")

    @property
    def lines_to(self) -> Path | None:
        """The file that gets a line per face track; None: none does."""
        return self.scores_file or (None if self.out is None else self.out / SCORES_FILE)


@dataclass(frozen=True, slots=True)
class VerdictOptions:
    """What a run's scores are judged by, for its exit status."""

    standard: str | None = option(
        None, "Exit 1 where an offset is outside itu-detectable, itu-acceptable, ebu-r37 or atsc-is191."
    )
    fail_on: list[str] = option(
        (), "Exit 1 where a video's scores meet it, as 'abs(offset_ms)>60 or lse_c<4'; repeatable.", metavar="CONDITION"
    )
    baseline: Path | None = option(None, "Exit 1 where a video is worse than in these results, beyond the noise band.")
    noise: Path | None = option(None, "The noise band for --baseline; default BASELINE/noise.json.")
    allow_mixed: bool = option(False, "Take a baseline that was scored differently.")

    def __post_init__(self) -> None:
        """Check the choices."""
        if self.baseline is None and (self.noise is not None or self.allow_mixed):
            raise UsageError("--noise and --allow-mixed say how to judge by --baseline: give that too")


@dataclass(frozen=True, slots=True)
class Request:
    """All options of a run; picklable, so that another process can do a part of it."""

    inputs: InputOptions
    protocol: ProtocolOptions = ProtocolOptions()
    models: ModelOptions = ModelOptions()
    reference: ReferenceOptions = ReferenceOptions()
    run: RunOptions = RunOptions()
    output: OutputOptions = OutputOptions()
