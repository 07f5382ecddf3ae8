"""The device, the precision, and torch's and the C library's global switches: only here, and never at import."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

import cv2
import torch
from threadpoolctl import threadpool_limits

from lipscore.device import tried
from lipscore.errors import DeviceError, MissingError, UsageError
from lipscore.pool import available_cores

# malloc.h: how many heaps there are. By default each thread has its own, and keeps in it what it has freed; two threads
# that score hold 80 MB more in two heaps than in one.
M_ARENA_MAX = -8
# What the networks of the published protocols compute in. tf32 is fp32 whose products are rounded to 10 bits.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where a GPU computes, else the CPU.

    A GPU counts only once a convolution has run on it: a driver may list a card that this torch has no kernels for, or
    that another program has filled. Where "auto" passes over such a card, a warning says why.

    Raises:
        UsageError: the name is not auto, cpu, cuda or cuda:N.
        MissingError: a GPU is asked for and none answers, or not that many.
        DeviceError: the GPU that is asked for cannot compute.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        try:
            return tried(torch.device("cuda"))
        except DeviceError as error:
            warnings.warn(f"{error}; the CPU is used instead", RuntimeWarning, stacklevel=2)
            return torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda" and not (name.startswith("cuda:") and name[5:].isdigit()):
        raise UsageError.about("device", name, "not a device; use auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise MissingError.about("device", name, "no GPU answers here; use cpu, or docker run with --gpus all")
    device = torch.device(name)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise MissingError.about(
            "device", name, f"there are {torch.cuda.device_count()} GPUs here, counted from cuda:0"
        )
    return tried(device)


def pick_precision(name: str | None, device: torch.device, fast: bool) -> str:
    """The precision of that name; None: fp32, or with `fast` the quickest that the device has.

    Raises:
        UsageError: the name is not in PRECISIONS, or the device has no such arithmetic.
    """
    gpu = device.type == "cuda"
    if name is None:
        halves = "fp16" if gpu else "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else "fp32"
        return halves if fast else "fp32"
    if name not in PRECISIONS:
        raise UsageError.about("precision", name, f"no such precision; use one of {', '.join(PRECISIONS)}")
    if name in ("tf32", "fp16") and not gpu:
        raise UsageError.about("precision", name, "only a GPU has it; use bf16, or fp32 for exact scores")
    return name


def tune_process(threads: int | None = None) -> None:
    """Settle the process for the command line, which owns it; nothing else in lipscore calls this.

    Args:
        threads: torch's threads in the calling thread; None: leave them.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    _glibc("mallopt", M_ARENA_MAX, 1)
    # Videos are scored beside each other, a thread each. The libraries' own threads would only take turns with these:
    # after a product, numpy's OpenBLAS keeps a thread in a loop on each other core for 30 ms, in case another follows.
    threadpool_limits(1, user_api="blas")
    cv2.setNumThreads(1)


def describe_device(device: torch.device) -> dict[str, Any]:
    """The device by name, and on a CPU how many cores this process may use."""
    if device.type == "cuda":
        return {"name": str(device), "gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return {"name": str(device), "cores": available_cores()}


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
