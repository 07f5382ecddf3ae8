"""What the tests share: where the conformance kit and the real clips lie."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from lipscore import Models

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the conformance kit and the clips (LIPSCORE_SHARED, or ../shared); skips where it is not."""
    folder = Path(os.environ.get("LIPSCORE_SHARED", ROOT.parent / "shared"))
    if not (folder / "conformance" / "golden.json").is_file():
        pytest.skip(f"no conformance kit at {folder} (set LIPSCORE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path) -> dict[str, Any]:
    """golden.json's clips: name -> protocol -> numbers."""
    clips: dict[str, Any] = json.loads((shared / "conformance" / "golden.json").read_text())["clips"]
    return clips


@pytest.fixture(scope="session")
def clip_paths(shared: Path) -> dict[str, Path]:
    """Conformance clip name -> video file."""
    lines = (shared / "conformance" / "clips.tsv").read_text().splitlines()
    return {name: shared / "clips" / path for name, path in (line.split("\t") for line in lines)}


@pytest.fixture(scope="session")
def kit_weights(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the kit's two weight files: the official names, keys and shapes with other values."""
    import runpy
    import sys

    folder = tmp_path_factory.mktemp("kit-weights")
    argv, sys.argv = sys.argv, ["kit_weights.py", str(folder)]
    try:
        runpy.run_path(str(shared / "conformance" / "kit_weights.py"), run_name="__main__")
    finally:
        sys.argv = argv
    return folder


@pytest.fixture(scope="session")
def mini_models() -> Models:
    """The built-in model with dlib's detector, loaded once."""
    from lipscore import load_models

    return load_models("mini", device="cpu")


@pytest.fixture(scope="session")
def wav2lip_kit(shared: Path) -> Path:
    """The folder with Wav2Lip's conformance kit; skips where it is not."""
    folder = shared / "wav2lip"
    if not (folder / "golden.json").is_file():
        pytest.skip(f"no conformance kit of Wav2Lip at {folder} (set LIPSCORE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def wav2lip_weights(wav2lip_kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the kit's four weight files of the generation, removed afterwards: they take 530 MB."""
    import runpy
    import shutil
    import sys

    folder = tmp_path_factory.mktemp("wav2lip-weights")
    argv, sys.argv = sys.argv, ["wav2lip_kit.py", str(folder)]
    try:
        runpy.run_path(str(wav2lip_kit / "wav2lip_kit.py"), run_name="__main__")
    finally:
        sys.argv = argv
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def drawn_wav2lip() -> dict[str, Tensor]:
    """Wav2Lip's tensors with weights of our own: its output spreads, and depends on the sound and on the face."""
    import torch

    from lipscore.generate.wav2lip.network import Wav2LipNet

    torch.manual_seed(0)
    network = Wav2LipNet().train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the one batch
        elif isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        network(torch.rand(16, 1, 80, 16) * 8 - 4, torch.rand(16, 6, 96, 96))
    return network.state_dict()
