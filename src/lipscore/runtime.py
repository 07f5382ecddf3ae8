"""Global switches, torch's and the C library's, and the choice of device: only here, and never at import."""

from __future__ import annotations

import ctypes
import os

import torch

from lipscore.errors import MissingError, UsageError

# malloc.h: how many heaps there are. By default each thread has its own, and keeps in it what it has freed; two threads
# that score hold 80 MB more in two heaps than in one.
M_ARENA_MAX = -8


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


def configure(threads: int | None = None) -> None:
    """Settle torch's switches for inference: exact fp32 convolutions, and as many threads as this process may use."""
    torch.set_num_threads(threads or available_cores())
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    _glibc("mallopt", M_ARENA_MAX, 1)


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


def available_cores() -> int:
    """The cores that this process is allowed to run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
