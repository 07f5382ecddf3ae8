"""What the tests share: where the conformance kit and the real clips lie."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from torch import Tensor

    from lipscore import Models

ROOT = Path(__file__).resolve().parents[1]

# A shell's background job ignores Ctrl-C, and so would the programs that tests start and interrupt
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is no fault of a test: examples have no deadline
settings.register_profile("lipscore", deadline=None)
settings.load_profile("lipscore")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped and why, a line per reason: pytest's own -rs has one per test."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the conformance kit and the clips (LIPSCORE_SHARED, or ../shared); skips where it is not."""
    folder = Path(os.environ.get("LIPSCORE_SHARED", ROOT.parent / "shared"))
    if not (folder / "conformance" / "golden.json").is_file():
        pytest.skip(
            f"no conformance kit at {folder}. It holds real clips and the original implementations' numbers and is "
            "not part of the repository: put it there, or set LIPSCORE_SHARED to its folder"
        )
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
    """The built-in model with YuNet, loaded once."""
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


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both official weight files' names, keys and shapes, and seeded random values: in any clone."""
    from lipscore.faces.s3fd.detector import S3FDNet
    from lipscore.syncnet.models.v2 import SyncNet

    folder = tmp_path_factory.mktemp("random-weights")
    torch.manual_seed(16)
    s3fd = S3FDNet()
    for norm in (s3fd.L2Norm3_3, s3fd.L2Norm4_3, s3fd.L2Norm5_3):
        torch.nn.init.constant_(norm.weight, 10)
    torch.save(SyncNet().state_dict(), folder / "syncnet_v2.model")
    torch.save(s3fd.state_dict(), folder / "sfd_face.pth")
    return folder


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn head that talks for 5.6 seconds, its audio early by 3 frames."""
    from lipscore.demo.clips import render_clip

    path = tmp_path_factory.mktemp("talk") / "talk.mp4"
    render_clip(path, seed=5, shift_frames=3)
    return path
