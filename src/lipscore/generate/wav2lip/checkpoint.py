"""Read Wav2Lip's weights in every form in which they are distributed, and recognise files that are something else.

The files of 2020 are dicts with the tensors under "state_dict", each name with the prefix "module."; the authors'
README now links TorchScript archives with plain names.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lipscore.errors import WeightsError
from lipscore.generate.wav2lip.network import Wav2LipNet
from lipscore.weights.catalogue import ON_REQUEST

HEAD = 1024  # bytes that tell a page from a file of tensors
NAMED = 4  # differences that a message lists


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file's tensors by their official names, and the file's identity; published: its official name, or ""."""

    state: dict[str, Tensor]
    path: Path
    sha256: str
    published: str


def load(path: Path) -> Checkpoint:
    """The weights in a checkpoint, checked against the network name by name.

    Raises:
        WeightsError: the file cannot be read, or is something else; the message says what (not_a_checkpoint), or which
            shapes differ (wrong_shapes).
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            head = file.read(HEAD)
    except OSError as error:
        raise WeightsError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error
    _refuse_page(path, head)
    content = _tensors(path)
    state = {name.replace("module.", ""): value for name, value in content.items()}
    _check(path, state)
    known = [file.name for file in ON_REQUEST.values() if file.sha256 == sha256]
    return Checkpoint(state, path, sha256, known[0] if known else "")


def _refuse_page(path: Path, head: bytes) -> None:
    size = path.stat().st_size
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")) or b"<html" in start:
        raise WeightsError(
            f"{path}: not_a_checkpoint: a web page of {size:,} bytes; download the file itself, not the page about it"
        )
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}: not_a_checkpoint: a Git LFS pointer of {size:,} bytes; get the file that it points to"
        )
    if not head:
        raise WeightsError(f"{path}: not_a_checkpoint: the file is empty; download it again")


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if _is_torchscript(path):
            content: Any = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
        else:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path}: not_a_checkpoint: torch cannot load it ({words}); is the download complete?"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not (isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values())):
        raise WeightsError(f"{path}: not_a_checkpoint: no tensors by name under state_dict; give Wav2Lip's checkpoint")
    return {str(name): value for name, value in content.items()}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _check(path: Path, state: dict[str, Tensor]) -> None:
    if "conv1_1.weight" in state or "vgg.0.weight" in state:
        raise WeightsError(
            f"{path}: not_a_checkpoint: these are the weights of S3FD, the face detector; give wav2lip_gan.pth or "
            "wav2lip.pth, and put S3FD's file where --weights-dir finds it"
        )
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in Wav2LipNet().state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    common = wanted.keys() & found.keys()
    differ = [name for name in wanted if name in common and wanted[name] != found[name]]
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    if not (differ or missing or extra):
        return
    if len(common) < len(wanted) // 2:
        some = ", ".join(list(found)[:NAMED])
        raise WeightsError(f"{path}: not_a_checkpoint: tensors of another network ({some} ...); give Wav2Lip's")
    parts = []
    if differ:
        shapes = "; ".join(f"{name} is {found[name]}, not {wanted[name]}" for name in differ[:NAMED])
        parts.append(f"{len(differ)} shapes differ ({shapes})")
    parts += [
        f"{len(names)} tensors {what} ({', '.join(names[:NAMED])})"
        for names, what in ((missing, "are missing"), (extra, "are not Wav2Lip's"))
        if names
    ]
    raise WeightsError(
        f"{path}: wrong_shapes: another variant than Wav2Lip's 96 x 96 px (wav2lip256 and 288, 384, 576 exist): "
        f"{'; '.join(parts)}; give wav2lip_gan.pth or wav2lip.pth"
    )
