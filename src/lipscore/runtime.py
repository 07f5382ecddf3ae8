"""The device, the precision, and the only code that touches torch's and the C library's global settings."""

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

# malloc.h: the number of heaps. By default each thread has its own heap and keeps freed memory in it; two scoring
# threads hold 80 MB more in two heaps than in one.
M_ARENA_MAX = -8
# The arithmetic of SyncNet v2 and S3FD. tf32 is fp32 whose products are rounded to 10 bits.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA if a GPU works, else the CPU.

    A GPU counts only after a convolution has run on it: a driver may list a card for which this torch has no kernels,
    or whose memory another program has filled. If "auto" skips such a card, a warning says why.

    Raises:
        UsageError: the name is not auto, cpu, cuda or cuda:N.
        MissingError: there is no GPU, or no GPU with that number.
        DeviceError: the named GPU cannot compute.
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
        raise MissingError.about("device", name, "no GPU is available here; use cpu, or docker run with --gpus all")
    device = torch.device(name)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise MissingError.about(
            "device", name, f"there are {torch.cuda.device_count()} GPUs here, counted from cuda:0"
        )
    return tried(device)


def pick_precision(name: str | None, device: torch.device, fast: bool) -> str:
    """The precision of that name; None: fp32, or with `fast` the fastest that the device supports.

    Raises:
        UsageError: the name is not in PRECISIONS, or the device does not support it.
    """
    gpu = device.type == "cuda"
    if name is None:
        halves = "fp16" if gpu else "bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else "fp32"
        return halves if fast else "fp32"
    if name not in PRECISIONS:
        raise UsageError.about("precision", name, f"no such precision; use one of {', '.join(PRECISIONS)}")
    if name in ("tf32", "fp16") and not gpu:
        raise UsageError.about("precision", name, "only a GPU supports it; use bf16, or fp32 for exact scores")
    return name


def tune_process(threads: int | None = None) -> None:
    """Set process-wide options; only the command line calls this, because it owns the process.

    Args:
        threads: torch's thread count in the calling thread; None leaves it unchanged.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    _glibc("mallopt", M_ARENA_MAX, 1)
    # Each video is scored in its own thread, and the libraries' own threads would only compete with these: after each
    # product, numpy's OpenBLAS keeps a thread spinning on every other core for 30 ms, in case another product follows.
    threadpool_limits(1, user_api="blas")
    cv2.setNumThreads(1)


def describe_device(device: torch.device) -> dict[str, Any]:
    """The device's name; for a CPU also the number of cores that this process may use."""
    if device.type == "cuda":
        return {"name": str(device), "gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return {"name": str(device), "cores": available_cores()}


def release_memory() -> None:
    """Return freed heap memory to the system, because the next stage allocates blocks of other sizes."""
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    """Call a function that only glibc has; do nothing with other C libraries."""
    try:
        call = getattr(ctypes.CDLL(None), function)
    except (AttributeError, OSError, TypeError):
        return
    call(*arguments)
