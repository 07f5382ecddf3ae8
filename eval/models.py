"""Which networks score a run: the official weights where they can be had, else the built-in model, said aloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from lipscore import runtime
from lipscore.errors import UsageError, WeightsError
from lipscore.faces.given import GivenBoxes
from lipscore.faces.hog import HogDetector
from lipscore.faces.s3fd.detector import S3fdDetector
from lipscore.syncnet.mini import load_mini
from lipscore.syncnet.protocols import PROTOCOLS, Protocol
from lipscore.syncnet.v2 import SyncNetEmbedder
from lipscore.types import Detector, Embedder
from lipscore.weights import catalogue, fetch

MODELS = ("auto", "vgg", "mini")
FAST_STRIDE = 5  # frames; docs/precision.md has its effect on the numbers


@dataclass(frozen=True, slots=True)
class Models:
    """What load_models gives: loaded once, used for every video of a run.

    detector_for: a video's face detector (boxes given in files differ from video to video).
    note: one line for the user where the choice of model needs saying, else empty.
    changed: what was changed for speed, as the record says it.
    """

    embedder: Embedder
    detector_for: Callable[[Path], Detector]
    detector: str
    weights: tuple[catalogue.WeightFile, ...]
    device: torch.device
    note: str = ""
    changed: tuple[str, ...] = ()

    def comparable(self, protocol: Protocol) -> bool:
        """Whether scores may stand beside published ones: verified official weights, an unchanged named protocol."""
        official = self.embedder.name == "vgg" and all(file.verified for file in self.weights)
        exact = (protocol.direct or self.detector == "s3fd") and not self.changed
        return official and protocol.published and exact

    @property
    def weights_notes(self) -> tuple[str, ...]:
        """What every record says of weight files that are not the published ones."""
        return tuple(
            f"weights not verified: {file.name} has SHA-256 {file.sha256}" for file in self.weights if not file.verified
        )


def load_models(
    model: str = "auto",
    protocol: Protocol | None = None,
    *,
    weights_dir: Path | None = None,
    allow_unverified: bool = False,
    detections: Path | None = None,
    device: str = "auto",
    fast: bool = False,
    precision: str | None = None,
    cores: int | None = None,
    progress: fetch.Progress | None = None,
) -> Models:
    """Load what a protocol needs.

    Args:
        model: "vgg" (SyncNet v2 and S3FD, the official weights), "mini" (the built-in model, with dlib's HOG detector),
            or "auto": vgg where its weights are there or can be fetched, else mini.
        protocol: default wav2lip.
        detections: a folder with STEM.json, boxes to take in place of a detector's.
        fast: S3FD looks at every FAST_STRIDE-th frame, and at every frame where a track breaks.
        precision: what SyncNet v2 and S3FD compute in (runtime.PRECISIONS); None: fp32, or with fast the quickest.
        cores: that the networks may use, for all videos of the process; None: as many as there are.

    Raises:
        UsageError: no such model or device.
        WeightsError: model "vgg" and its weights can't be had, or a weight file is not the published one.
    """
    protocol = protocol or PROTOCOLS["wav2lip"]
    if model not in MODELS:
        raise UsageError(f"--model {model}: no such model; use one of {', '.join(MODELS)}")
    where = runtime.pick_device(device)
    chosen = runtime.pick_precision(precision, where, fast)
    dtype = runtime.PRECISIONS[chosen]
    runtime.configure(cores, chosen)
    needs_faces = detections is None and not protocol.direct
    note = ""
    if model != "mini":
        search = fetch.Search.from_environment(weights_dir)
        try:
            files = [fetch.obtain(catalogue.SYNCNET, search, progress)]
            if needs_faces:
                files.append(fetch.obtain(catalogue.S3FD, search, progress))
        except WeightsError as error:
            if model == "vgg":
                raise
            note = (
                "model=mini: the official weights are not here and could not be fetched, so the built-in model scores. "
                f"Its numbers are estimates, not comparable with published ones. {short(error)}"
            )
        else:
            state_of = partial(fetch.load_state_dict, search=search, allow_unverified=allow_unverified)
            if not all(file.verified for file in files):
                note = "weights not verified: --allow-unverified took files that are not the published ones"
            embedder = SyncNetEmbedder(state_of(files[0]), where, protocol.batch_size, dtype)
            changed = () if chosen == "fp32" else (f"networks in {chosen}",)
            models = Models(embedder, _no_detector, "none", tuple(files), where, note, changed)
            if needs_faces:
                stride = FAST_STRIDE if fast else 1
                s3fd = S3fdDetector(
                    state_of(files[1]),
                    where,
                    protocol.facedet_scale,
                    face_confidence=protocol.face_confidence,
                    stride=stride,
                    dtype=dtype,
                )
                runtime.release_memory()
                changed = (f"fast (S3FD on every {stride}th frame)", *changed) if fast else changed
                return replace(models, detector_for=lambda _: s3fd, detector=s3fd.name, changed=changed)
            return _with_boxes(models, detections)
    models = Models(load_mini(where), _no_detector, "none", (), where, note)
    if needs_faces:
        hog = HogDetector()
        return replace(models, detector_for=lambda _: hog, detector=hog.name)
    return _with_boxes(models, detections)


def _with_boxes(models: Models, detections: Path | None) -> Models:
    if detections is None:
        return models
    return replace(models, detector_for=GivenBoxes(detections).for_video, detector="given")


def _no_detector(video: Path) -> Detector:
    raise AssertionError(f"{video}: a direct protocol looks for no face")


def short(error: Exception) -> str:
    """An error's first sentence."""
    return str(error).split(". ", 1)[0] + "."
