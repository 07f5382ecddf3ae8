"""Which device and which precision a run gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lipscore import load_models, runtime
from lipscore.errors import MissingError, UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_precision_is_exact_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime.pick_precision(None, CPU, fast=False) == runtime.pick_precision(None, GPU, fast=False) == "fp32"
    assert runtime.pick_precision("fp32", GPU, fast=True) == "fp32"
    assert runtime.pick_precision(None, GPU, fast=True) == "fp16"
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": has})
        assert runtime.pick_precision(None, CPU, fast=True) == expected


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(UsageError, match="--precision int8: no such precision"):
        runtime.pick_precision("int8", CPU, fast=False)
    for name in ("fp16", "tf32"):
        with pytest.raises(UsageError, match="only a GPU has it"):
            runtime.pick_precision(name, CPU, fast=False)
    with pytest.raises(UsageError, match="not a device"):
        runtime.pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(MissingError, match="no GPU answers"):
            runtime.pick_device("cuda")


def test_only_tf32_moves_the_switches() -> None:
    try:
        for precision in runtime.PRECISIONS:
            runtime.configure(precision=precision)
            switches = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
            assert switches == (precision == "tf32",) * 2
    finally:
        runtime.configure()


def test_who_is_alone_has_all_cores() -> None:
    try:
        for alone, threads in ((True, 6), (False, 1)):
            runtime.configure(6, alone=alone)
            assert torch.get_num_threads() == threads
    finally:
        runtime.configure()


def test_precision_is_recorded_and_not_comparable(random_weights: Path) -> None:
    more: dict[str, Any] = {"weights_dir": random_weights, "allow_unverified": True, "device": "cpu"}
    assert load_models("vgg", **more).changed == ()
    assert load_models("vgg", **more, precision="bf16").changed == ("networks in bf16",)
    fast = load_models("vgg", **more, fast=True, precision="fp32")
    assert fast.changed == ("fast (S3FD on every 5th frame)",)
