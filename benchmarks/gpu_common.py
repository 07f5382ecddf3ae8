"""What the parts of gpu.py share: the kit, the clips, the weights, and where numbers are written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lipscore.pool import available_cores

SHARED = Path(os.environ.get("LIPSCORE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
KIT = SHARED / "conformance"
EXACT, ONE_FACE = "exact", "one-face"  # folders of the two sets of the kit's weights


@dataclass
class Bench:
    """One part's settings, and the numbers that it has so far."""

    device: str
    quick: bool
    weights: Path
    out: Path
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def gpu(self) -> bool:
        return self.device.startswith("cuda")

    def note(self, **numbers: Any) -> None:
        """Keep these numbers, on disk too: the part may be stopped."""
        self.found |= {name: _short(value) for name, value in numbers.items()}
        self.out.write_text(json.dumps(self.found))

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """A block whose failure is noted and leaves the rest of the part to go on."""
        try:
            yield
        except Exception as error:
            self.note(**{f"{name}_failed": f"{type(error).__name__}: {error}"[:600]})

    def clips(self) -> dict[str, Path]:
        """The kit's clips that are here, but the one that is a crop already."""
        lines = (line.split("\t") for line in (KIT / "clips.tsv").read_text().splitlines())
        paths = {name: SHARED / "clips" / path for name, path in lines if name != "example"}
        here = {name: path for name, path in paths.items() if path.is_file()}
        if not self.quick:
            return here
        return {"closeup_doctor": here["closeup_doctor"]}

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.gpu:
            torch.cuda.synchronize()


def _short(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {str(key): _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value


def make_weights(folder: Path) -> None:
    """The kit's weights: S3FD with arbitrary boxes, and with one face in each frame."""
    for name, options in ((EXACT, []), (ONE_FACE, ["one-face"])):
        command = [sys.executable, str(KIT / "kit_weights.py"), str(folder / name), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def machine(device: str) -> dict[str, Any]:
    """What ran it."""
    import cv2

    card = torch.cuda.get_device_properties(0) if device.startswith("cuda") else None
    return {
        "card": f"{card.name}, {card.total_memory / 1e9:.0f} GB" if card else "none",
        "cores": available_cores(),
        "versions": f"torch {torch.__version__}, numpy {np.__version__}, opencv {cv2.__version__}, "
        f"python {sys.version.split()[0]}",
    }


def cpu_seconds() -> tuple[float, float]:
    """CPU seconds of this process, and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


def timed(task: Callable[[], object], bench: Bench, *, least_s: float = 0.5) -> float:
    """Seconds that the task takes, the median of several after a warm-up."""
    task()
    bench.synchronize()
    laps: list[float] = []
    begin = time.perf_counter()
    while len(laps) < 3 or (time.perf_counter() - begin < least_s and len(laps) < 50):
        start = time.perf_counter()
        task()
        bench.synchronize()
        laps.append(time.perf_counter() - start)
    return sorted(laps)[len(laps) // 2]
