"""Which device and which precision a run gets."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from lipscore import load_models, runtime
from lipscore.device import arithmetic
from lipscore.errors import MissingError, UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_precision_is_exact_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime.pick_precision(None, CPU, fast=False) == runtime.pick_precision(None, GPU, fast=False) == "fp32"
    assert runtime.pick_precision("fp32", GPU, fast=True) == "fp32"
    assert runtime.pick_precision(None, GPU, fast=True) == "fp16"
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": has})
        assert runtime.pick_precision(None, CPU, fast=True) == expected


def test_missing_devices_and_precisions_are_errors() -> None:
    with pytest.raises(UsageError, match="precision = int8: no such precision"):
        runtime.pick_precision("int8", CPU, fast=False)
    for name in ("fp16", "tf32"):
        with pytest.raises(UsageError, match="only a GPU supports it"):
            runtime.pick_precision(name, CPU, fast=False)
    with pytest.raises(UsageError, match="not a device"):
        runtime.pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(MissingError, match="no GPU is available"):
            runtime.pick_device("cuda")


def test_tf32_is_on_only_where_it_is_asked_for_and_the_callers_switches_come_back() -> None:
    """The switches are torch's own and there without a GPU; batches of two kinds at once take turns."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    seen: list[tuple[bool, tuple[bool, bool]]] = []

    def batch(wanted: bool) -> None:
        with arithmetic(GPU, wanted):
            for _ in range(3):
                time.sleep(0.002)
                seen.append((wanted, (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)))

    with ThreadPoolExecutor(4) as several:
        list(several.map(batch, [True, False, False, True, False]))
    assert len(seen) == 15 and all(switches == (wanted,) * 2 for wanted, switches in seen)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before
    with arithmetic(CPU, True):
        assert torch.backends.cudnn.allow_tf32 == before[0]


STATE = """
import sys, threading, torch, numpy as np
from lipscore import Scorer
def state():
    fresh = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start(), thread.join()
    return (torch.get_num_threads(), fresh, torch.get_num_interop_threads(), torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark, torch.get_default_dtype(),
            torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled())
torch.set_num_threads(2)
before = state()
scorer = Scorer.load("lipscore-1", "mini")
loaded = state()
rng = np.random.default_rng(0)
record = scorer.score_frames(rng.integers(0, 255, (60, 64, 64, 3), np.uint8), 25, np.zeros(40000, np.int16), 16000)
scorer.setup.models.sync.lip(np.zeros((9, 224, 224, 3), np.uint8))
assert before == loaded == state(), (before, loaded, state())
print(record.status)
"""


def test_the_callers_process_stays_as_it_was() -> None:
    """Loading and scoring in someone's program changes none of torch's switches, in no thread of theirs."""
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "no_track\n"), done.stderr


def test_precision_is_recorded_and_not_comparable(random_weights: Path) -> None:
    more: dict[str, Any] = {"weights_dir": random_weights, "allow_unverified": True, "device": "cpu"}
    assert load_models("vgg", **more).changed == ()
    assert load_models("vgg", **more, precision="bf16").changed == ("networks in bf16",)
    fast = load_models("vgg", **more, fast=True, precision="fp32")
    assert fast.changed == ("fast (S3FD on every 5th frame)",)
