"""Global switches, torch's and the C library's, and the choice of device: only here, and never at import."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from numpy.typing import NDArray

from lipscore import pool
from lipscore.errors import MissingError, UsageError

# malloc.h: how many heaps there are. By default each thread has its own, and keeps in it what it has freed; two threads
# that score hold 80 MB more in two heaps than in one.
M_ARENA_MAX = -8
# What the networks of the published protocols compute in. tf32 is fp32 whose products are rounded to 10 bits.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device that `--device` names; "auto" is CUDA where a GPU answers, else the CPU.

    Raises:
        UsageError: the name is none of auto, cpu, cuda, cuda:N.
        MissingError: a GPU is asked for and none answers, or not that many.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda" and not (name.startswith("cuda:") and name[5:].isdigit()):
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise MissingError(f"--device {name}: no GPU answers here; use --device cpu, or docker run with --gpus all")
    device = torch.device(name)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise MissingError(f"--device {name}: there are {torch.cuda.device_count()} GPUs here, counted from cuda:0")
    return device


def pick_precision(name: str | None, device: torch.device, fast: bool) -> str:
    """The precision that `--precision` names; by default fp32, and with `--fast` the quickest that the device has.

    Raises:
        UsageError: the name is none of PRECISIONS, or the device has no such arithmetic.
    """
    gpu = device.type == "cuda"
    if name is None:
        halves = "fp16" if gpu else "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else "fp32"
        return halves if fast else "fp32"
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: no such precision; use one of {', '.join(PRECISIONS)}")
    if name in ("tf32", "fp16") and not gpu:
        raise UsageError(f"--precision {name}: only a GPU has it; use bf16, or fp32 for exact scores")
    return name


def configure(cores: int | None = None, precision: str = "fp32", *, alone: bool = False) -> None:
    """Settle the switches for inference.

    Args:
        cores: that the networks may use, shared between `lanes`; None: as many as this process may.
        precision: one of PRECISIONS; only tf32 moves a switch, the others choose a network's dtype.
        alone: torch is called by one thread, which has all of the cores, as in training.
    """
    threads = pool.open_lanes(cores)
    torch.set_num_threads((cores or pool.available_cores()) if alone else threads)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    _glibc("mallopt", M_ARENA_MAX, 1)


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The array as a tensor there, in its dtype; to a GPU through pinned memory, while the caller goes on."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def release_memory() -> None:
    """Hand freed memory back to the system: what is left behind in the heap is not what the next stage asks for."""
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    """Call one of glibc's own functions; other C libraries go without."""
    try:
        call = getattr(ctypes.CDLL(None), function)
    except (AttributeError, OSError, TypeError):
        return
    call(*arguments)
