"""The device, the precision, and torch's and the C library's global switches: only here, and never at import."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from numpy.typing import NDArray

from lipscore.errors import MissingError, UsageError
from lipscore.pool import available_cores

# malloc.h: how many heaps there are. By default each thread has its own, and keeps in it what it has freed; two threads
# that score hold 80 MB more in two heaps than in one.
M_ARENA_MAX = -8
# What the networks of the published protocols compute in. tf32 is fp32 whose products are rounded to 10 bits.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where a GPU answers, else the CPU.

    Raises:
        UsageError: the name is not auto, cpu, cuda or cuda:N.
        MissingError: a GPU is asked for and none answers, or not that many.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
    return device


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


class _Tf32:
    """Holds torch's TF32 switches at what the running batches need, and puts the caller's settings back after them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users, self._allowed = 0, False
        self._before = (False, False)

    @contextmanager
    def __call__(self, allowed: bool) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._users == 0 or self._allowed == allowed)
            if self._users == 0:
                self._before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
                self._allowed = allowed
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                if self._users == 0:
                    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._before
                    self._changed.notify_all()


_tf32 = _Tf32()


def arithmetic(device: torch.device, tf32: bool = False) -> AbstractContextManager[None]:
    """The context in which a network runs: on a GPU, products are rounded to TF32 only where `tf32` says so.

    torch's switches are global and on by default for convolutions. They are held while a batch runs and then get the
    caller's values back.
    """
    return _tf32(tf32) if device.type == "cuda" else nullcontext()


def describe_device(device: torch.device) -> dict[str, Any]:
    """The device by name, and on a CPU how many cores this process may use."""
    if device.type == "cuda":
        return {"name": str(device), "gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return {"name": str(device), "cores": available_cores()}


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
