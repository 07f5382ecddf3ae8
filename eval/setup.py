"""The setup of a run: protocol, networks and reference options, loaded once and used for every video."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import torch

from lipscore import __version__, runtime
from lipscore.errors import WeightsError
from lipscore.eval.options import ModelOptions, ProtocolOptions, ReferenceOptions
from lipscore.eval.store.manifest import deciding_versions
from lipscore.eval.store.records import hash_of
from lipscore.eval.store.signature import Signature, hashed
from lipscore.faces.given import GivenBoxes
from lipscore.faces.hog import HogDetector
from lipscore.faces.s3fd.detector import S3fdDetector
from lipscore.faces.yunet import YunetDetector
from lipscore.media import ffmpeg
from lipscore.pool import Pool
from lipscore.syncnet.models.mini import WEIGHTS, load_mini, mini_sha256
from lipscore.syncnet.models.v2 import SyncNetEmbedder
from lipscore.syncnet.protocols import PROTOCOLS, Protocol, as_record
from lipscore.types import Detector, SyncModel, VideoScore, Whose, whose
from lipscore.weights import catalogue, fetch

FAST_STRIDE = 5  # frames; docs/measures/precision.md gives its effect on the numbers


@dataclass(frozen=True, slots=True)
class Models:
    """The networks that `load_models` returns.

    sync: the model that compares lips with speech. detector_for: returns a video's face detector (boxes from files
    differ between videos); detector: its name. weights: the official weight files in use. device: the networks' device.
    note: a line for the user about the choice of model, or empty. changed: options for speed and other weights of mini,
    as records name them. pool: the threads that run the networks' batches. mini_weights: the file of mini's weights.
    """

    sync: SyncModel
    detector_for: Callable[[Path], Detector]
    detector: str
    weights: tuple[catalogue.WeightFile, ...]
    device: torch.device
    note: str = ""
    changed: tuple[str, ...] = ()
    pool: Pool = field(default_factory=Pool)
    mini_weights: Path = WEIGHTS

    @property
    def estimates(self) -> bool:
        """Whether the scores are estimates; frames are then read without the conversion to JPEG."""
        return self.sync.unrelated is not None

    def comparable(self, protocol: Protocol) -> bool:
        """Whether scores are comparable: official weights, published protocol, exact S3FD and SyncNet, known FFmpeg."""
        official = self.sync.name == "vgg" and all(file.verified for file in self.weights)
        exact = (protocol.direct or self.detector == "s3fd") and not self.changed
        return official and protocol.published and exact and ffmpeg.is_measured()

    @property
    def weights_notes(self) -> tuple[str, ...]:
        """The notes for every record about weight files that are not the published ones."""
        return tuple(
            f"weights not verified: {file.name} has SHA-256 {file.sha256}" for file in self.weights if not file.verified
        )

    def weights_record(self) -> list[dict[str, Any]]:
        """The weight files in use as JSON-ready data: the model's (also the built-in one's), then the detector's."""
        files: list[dict[str, Any]] = [
            {"name": file.name, "path": str(file.path), "sha256": file.sha256, "verified": file.verified}
            for file in self.weights
        ]
        if self.sync.name == "mini":
            own = self.mini_weights
            file = {"name": own.name, "path": str(own), "sha256": mini_sha256(own), "built_in": own == WEIGHTS}
            return [file, *files]
        return files


@dataclass(frozen=True, slots=True)
class Setup:
    """A protocol, its models, and the reference options.

    detections: whether face boxes come from files. audio: whose sound is scored; only a whole run can be "mixed".
    """

    protocol: Protocol
    models: Models
    reference: ReferenceOptions = field(default_factory=ReferenceOptions)
    detections: bool = False
    audio: Whose = "own"

    @classmethod
    def load(
        cls,
        protocol: ProtocolOptions | None = None,
        models: ModelOptions | None = None,
        reference: ReferenceOptions | None = None,
        progress: fetch.Progress | None = None,
    ) -> Setup:
        """Load a setup from options.

        Raises:
            UsageError: an option is wrong.
            MissingError: FFmpeg, a device or the weights are missing.
        """
        chosen, wanted = (protocol or ProtocolOptions()).resolve(), models or ModelOptions()
        ffmpeg.ffmpeg_path()
        loaded = load(wanted, chosen, progress)
        return cls(chosen, loaded, reference or ReferenceOptions(), wanted.detections is not None)

    @property
    def comparable(self) -> bool:
        """Whether scores are comparable with published ones; with a given sound, only if the original takes one."""
        return self.models.comparable(self.protocol) and (self.audio == "own" or self.protocol.takes_sound)

    @property
    def detector(self) -> str:
        """The face detector's name; "none" if the protocol uses the file itself as the crop."""
        return "none" if self.protocol.direct else self.models.detector

    @property
    def changed(self) -> tuple[str, ...]:
        """Each setting that differs from the named protocol, or from exact arithmetic."""
        changed = self.protocol.changed + self.models.changed
        if self.audio == "own" or self.protocol.takes_sound:
            return changed
        return (*changed, f"audio={self.audio} ({self.protocol.name}: own)")

    def blank(self, video: str = "", name: str = "") -> VideoScore:
        """A record without numbers: the start of every score, and the result for a video that fails before scoring."""
        return VideoScore(
            video=video,
            name=name,
            sha256="",
            status="media_error",
            reason="",
            protocol=self.protocol.name,
            model=self.models.sync.name,
            comparable=self.comparable,
            protocol_hash=self.protocol.hash,
            detector=self.detector,
            changed=self.changed,
            notes=self.models.weights_notes + ffmpeg.build_notes(),
            signature=str(self.signature),
        )

    @property
    def signature(self) -> Signature:
        """The signature: one line that names what decides the numbers, and can be read back; without n."""
        hashes = [str(file["sha256"]) for file in self.models.weights_record()]  # of the model, then of the detector
        compared = self.reference
        shift = f"{compared.align}={compared.max_shift}" if compared.align == "shift" else compared.align
        return Signature(
            {
                "lipscore": __version__,
                "protocol": hashed(self.protocol.name, self.protocol.hash),
                "model": hashed(self.models.sync.name, hashes[0] if hashes else ""),
                "detector": hashed(self.detector, hashes[1] if len(hashes) > 1 else ""),
                "ffmpeg": ffmpeg.ffmpeg_version(),
                "opencv": cv2.__version__,
                **({"changed": "; ".join(self.changed)} if self.changed else {}),
                **({"audio": self.audio} if self.audio != "own" else {}),
                "psnr": f"{compared.region},{shift},{compared.resize}",
            }
        )

    def options_record(self) -> dict[str, Any]:
        """All other settings that can change a score, such as FFmpeg's build, for run.json and the settings hash."""
        return {
            **asdict(self.reference),
            "detections": self.detections,
            **({"audio": "given"} if self.audio != "own" else {}),
            **({"jpegs": False} if self.models.estimates else {}),
            "changed": list(self.models.changed),
            "ffmpeg": ffmpeg.ffmpeg_version(),
            "lipscore": __version__,
            **deciding_versions(),
        }

    def as_record(self) -> dict[str, Any]:
        """The setup's part of run.json."""
        return {
            "protocol": as_record(self.protocol),
            "model": self.models.sync.name,
            "detector": self.detector,
            "changed": list(self.changed),
            "comparable": self.comparable,
            "weights": self.models.weights_record(),
            "device": runtime.describe_device(self.models.device),
            "options": self.options_record(),
            "settings": self.settings(),
        }

    def settings(self) -> str:
        """The hash of everything that decides the numbers, except the video's own files; resuming compares it."""
        return settings_hash(self, self.options_record())

    def hearing(self, sounds: Collection[object | None]) -> Setup:
        """The same setup for videos with these sounds; None is a video's own."""
        return replace(self, audio=whose(sounds))

    def with_detector(self, detector_for: Callable[[Path], Detector]) -> Setup:
        """The same setup with another `detector_for`."""
        return replace(self, models=replace(self.models, detector_for=detector_for))


def settings_hash(setup: Setup, options: Mapping[str, Any]) -> str:
    """The hash of a setup and its other settings (`Setup.options_record`)."""
    return hash_of(
        {
            "protocol": [setup.protocol.name, setup.protocol.hash],
            "model": setup.models.sync.name,
            "detector": setup.detector,
            "weights": {file["name"]: file["sha256"] for file in setup.models.weights_record()},
            "options": dict(options),
        }
    )


def load_models(
    model: str = "auto", protocol: Protocol | None = None, *, progress: fetch.Progress | None = None, **options: Any
) -> Models:
    """Load the networks that a protocol needs.

    Args:
        model: "vgg" (SyncNet v2 with the official weights), "mini" (the built-in model), or "auto": vgg if its weights
            are present or can be fetched, else mini. The option `detector` defaults to S3FD for vgg, YuNet for mini.
        protocol: default wav2lip.
        progress: called with a weight file's name, the bytes that have arrived and its size.
        options: the other fields of `ModelOptions`.

    Raises:
        UsageError: the model or the device is unknown.
        WeightsError: the model is "vgg" and its weights are missing, or a weight file is not the published one.

    Warns:
        UserWarning: the model is "auto" and the official weights are unavailable, so the built-in model scores.
    """
    models = load(ModelOptions(model=model, **options), protocol or PROTOCOLS["wav2lip"], progress)
    warn_of_estimates(models)
    return models


def warn_of_estimates(models: Models, stacklevel: int = 3) -> None:
    """Warn a caller in Python that the built-in model replaces the official one; the command line prints it itself."""
    if models.sync.name == "mini" and models.note:
        warnings.warn(models.note, stacklevel=stacklevel)


def load(options: ModelOptions, protocol: Protocol, progress: fetch.Progress | None = None) -> Models:
    """`load_models` from options."""
    device = runtime.pick_device(options.device)
    loader = _Loader(
        options=options,
        protocol=protocol,
        device=device,
        precision=runtime.pick_precision(options.precision, device, options.fast),
        pool=Pool(options.cores, thread_per_core=device.type == "cuda"),
        progress=progress,
    )
    note = ""
    if options.model != "mini":
        loader.search()  # a wrong folder is an error, whatever the model
        try:
            files = loader.official_files()
        except WeightsError as error:
            if options.model == "vgg":
                raise
            first = str(error).split(". ", 1)[0]
            note = (
                "model=mini: the official weights are not here and could not be fetched, so the built-in model scores. "
                f"Its numbers are estimates, not comparable with published ones. {first}."
            )
        else:
            return loader.official(*files)  # files that are there and are not the published ones are an error
    models = loader.built_in(note)
    if models.detector != "s3fd" and (options.fast or options.precision not in (None, "fp32")):
        idle = "fast and precision have no effect: they change S3FD and SyncNet v2, and neither of them runs"
        models = replace(models, note="; ".join(filter(None, (models.note, idle))))
    return models


@dataclass(frozen=True, slots=True)
class _Loader:
    """Loads a model and its detector."""

    options: ModelOptions
    protocol: Protocol
    device: torch.device
    precision: str
    pool: Pool
    progress: fetch.Progress | None

    def search(self) -> fetch.Search:
        """The folders that are searched for weight files; WeightsError if one of them does not exist."""
        return fetch.Search.from_environment(self.options.weights_dir)

    def official_files(self) -> tuple[catalogue.WeightFile, catalogue.WeightFile | None]:
        """The file of SyncNet v2, and that of S3FD if it is the detector.

        Raises:
            WeightsError: a weight file is missing and cannot be fetched.
        """
        file = self._file(catalogue.SYNCNET)
        return file, self._file(catalogue.S3FD) if self._kind("s3fd") == "s3fd" else None

    def official(self, file: catalogue.WeightFile, s3fd: catalogue.WeightFile | None) -> Models:
        """SyncNet v2 and a detector.

        Raises:
            WeightsError: a weight file is not the published one, or holds other tensors.
        """
        sync = SyncNetEmbedder(
            self._state(file),
            self.device,
            self.protocol.batch_size,
            runtime.PRECISIONS[self.precision],
            tf32=self.precision == "tf32",
            pool=self.pool,
        )
        note, changed = file.note, self._inexact()
        models = Models(sync, _no_detector, "none", (file,), self.device, note, changed, self.pool)
        return self._with_detector(models, self._kind("s3fd"), s3fd)

    def built_in(self, note: str) -> Models:
        """Mini and a detector.

        Raises:
            WeightsError: the detector's weight file is missing and cannot be fetched.
        """
        kind = self._kind("yunet")
        s3fd = self._file(catalogue.S3FD) if kind == "s3fd" else None
        own = self.options.mini_weights or WEIGHTS
        sync = load_mini(self.device, own, pool=self.pool)
        own_changed = () if own == WEIGHTS else (f"mini with the weights {own.name}",)
        models = Models(sync, _no_detector, "none", (), self.device, note, own_changed, self.pool, own)
        return self._with_detector(models, kind, s3fd)

    def _kind(self, by_default: str) -> str:
        """The name of the detector to load; by_default is the model's own detector."""
        if self.options.detections is not None:
            return "given"
        if self.protocol.direct:
            return "none"
        return by_default if self.options.detector == "auto" else self.options.detector

    def _file(self, name: str) -> catalogue.WeightFile:
        return fetch.obtain(name, self.search(), self.progress)

    def _state(self, file: catalogue.WeightFile) -> dict[str, torch.Tensor]:
        return fetch.load_state_dict(file, self.search(), self.options.allow_unverified)

    def _inexact(self) -> tuple[str, ...]:
        return () if self.precision == "fp32" else (f"networks in {self.precision}",)

    def _with_detector(self, models: Models, kind: str, s3fd: catalogue.WeightFile | None) -> Models:
        if self.options.detections is not None:
            return replace(models, detector_for=GivenBoxes(self.options.detections).for_video, detector=kind)
        if s3fd is not None:
            return self._with_s3fd(models, s3fd)
        if kind == "none":
            return models
        if kind == "hog":
            return _looking(models, HogDetector())
        yunet = YunetDetector()
        return replace(_looking(models, yunet), weights=(*models.weights, yunet.weights))

    def _with_s3fd(self, models: Models, file: catalogue.WeightFile) -> Models:
        stride = FAST_STRIDE if self.options.fast else 1
        s3fd = S3fdDetector(
            self._state(file),
            self.device,
            self.protocol.facedet_scale,
            face_confidence=self.protocol.face_confidence,
            stride=stride,
            dtype=runtime.PRECISIONS[self.precision],
            tf32=self.precision == "tf32",
        )
        runtime.release_memory()
        changed = (f"fast (S3FD on every {stride}th frame)",) if self.options.fast else ()
        return replace(
            _looking(models, s3fd),
            weights=(*models.weights, file),
            note=models.note or file.note,
            changed=tuple(dict.fromkeys((*changed, *self._inexact(), *models.changed))),
        )


def _looking(models: Models, detector: Detector) -> Models:
    return replace(models, detector_for=lambda _: detector, detector=detector.name)


def _no_detector(video: Path) -> Detector:
    raise AssertionError(f"{video}: a direct protocol needs no face detector")
