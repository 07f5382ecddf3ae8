"""Which networks score a run: the official weights where they can be had, else the built-in model, said aloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lipscore import runtime
from lipscore.errors import UsageError, WeightsError
from lipscore.syncnet import weights
from lipscore.syncnet.embed import SyncNetEmbedder
from lipscore.syncnet.faces.given import GivenBoxes
from lipscore.syncnet.faces.hog import HogDetector
from lipscore.syncnet.faces.s3fd import S3fdDetector
from lipscore.syncnet.mini import load_mini
from lipscore.syncnet.protocols import PROTOCOLS, Protocol
from lipscore.types import Detector, Embedder

MODELS = ("auto", "vgg", "mini")


@dataclass(frozen=True, slots=True)
class Models:
    """What load_models gives: loaded once, used for every video of a run.

    detector_for: a video's face detector (boxes given in files differ from video to video).
    note: one line for the user where the choice of model needs saying, else empty.
    """

    embedder: Embedder
    detector_for: Callable[[Path], Detector]
    detector: str
    weights: tuple[weights.WeightFile, ...]
    device: torch.device
    note: str = ""

    def comparable(self, protocol: Protocol) -> bool:
        """Whether scores may stand beside published ones: verified official weights, an unchanged named protocol."""
        official = self.embedder.name == "vgg" and all(file.verified for file in self.weights)
        return official and protocol.published and (protocol.direct or self.detector == "s3fd")


def load_models(
    model: str = "auto",
    protocol: Protocol | None = None,
    *,
    weights_dir: Path | None = None,
    allow_unverified: bool = False,
    detections: Path | None = None,
    device: str = "auto",
    progress: weights.Progress | None = None,
) -> Models:
    """Load what a protocol needs.

    Args:
        model: "vgg" (SyncNet v2 and S3FD, the official weights), "mini" (the built-in model, with dlib's HOG detector),
            or "auto": vgg where its weights are there or can be fetched, else mini.
        protocol: default wav2lip.
        detections: a folder with STEM.json, boxes to take in place of a detector's.

    Raises:
        UsageError: no such model or device.
        WeightsError: model "vgg" and its weights can't be had, or a weight file is not the published one.
    """
    protocol = protocol or PROTOCOLS["wav2lip"]
    if model not in MODELS:
        raise UsageError(f"--model {model}: no such model; use one of {', '.join(MODELS)}")
    where = runtime.pick_device(device)
    runtime.configure()
    needs_s3fd = detections is None and not protocol.direct
    note = ""
    if model != "mini":
        search = weights.Search.from_environment(weights_dir)
        try:
            files = [weights.obtain(weights.SYNCNET, search, progress)]
            if needs_s3fd:
                files.append(weights.obtain(weights.S3FD, search, progress))
        except WeightsError as error:
            if model == "vgg":
                raise
            note = (
                "model=mini: the official weights are not here and could not be fetched, so the built-in model scores. "
                f"Its numbers are estimates, not comparable with published ones. {short(error)}"
            )
        else:
            states = [weights.load_state_dict(file, search, allow_unverified) for file in files]
            if not all(file.verified for file in files):
                note = "weights not verified: --allow-unverified took files that are not the published ones"
            embedder = SyncNetEmbedder(states[0], where, protocol.batch_size)
            s3fd = S3fdDetector(states[1], where, protocol.facedet_scale) if needs_s3fd else None
            return _with_detector(embedder, s3fd, detections, tuple(files), where, note)
    hog = HogDetector() if needs_s3fd else None
    return _with_detector(load_mini(where), hog, detections, (), where, note)


def _with_detector(
    embedder: Embedder,
    detector: Detector | None,
    detections: Path | None,
    files: tuple[weights.WeightFile, ...],
    device: torch.device,
    note: str,
) -> Models:
    if detections is not None:
        given = GivenBoxes(detections)
        return Models(embedder, given.for_video, "given", files, device, note)

    def detector_for(_: Path) -> Detector:
        assert detector is not None, "a direct protocol looks for no face"
        return detector

    return Models(embedder, detector_for, detector.name if detector else "none", files, device, note)


def short(error: Exception) -> str:
    """An error's first sentence."""
    return str(error).split(". ", 1)[0] + "."
