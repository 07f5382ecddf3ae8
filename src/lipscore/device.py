"""Run networks on a GPU or the CPU: device context, TF32, out-of-memory handling, device failures, transfers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Condition, Lock
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray

from lipscore.errors import DeviceError

B = TypeVar("B")
Spread = Callable[[Callable[[int], Any], Iterable[int]], Iterator[Any]]


def tried(device: torch.device) -> torch.device:
    """The device, after a test convolution on it.

    Raises:
        DeviceError: the convolution failed, or its result is wrong.
    """
    with on_device(device):
        ones = torch.ones(1, 1, 3, 3, device=device)
        try:
            total = float(torch.nn.functional.conv2d(ones, ones).sum())
        except torch.OutOfMemoryError as error:
            raise DeviceError(f"{device}: it has no free memory; is another program using it?") from error
    if total != 9:
        raise DeviceError(f"{device}: a sum of nine ones came out as {total}; the GPU or its driver is broken")
    return device


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Make this device the current one for the block's CUDA calls, in any thread.

    Pinned memory, streams and handles belong to a thread's current device, which is GPU 0 by default. Without this
    context, a run on another GPU would also use memory on the first.

    Raises:
        DeviceError: the device failed in the block. A CUDA context does not recover from an error in a kernel, so this
            ends the run. Running out of memory is not such a failure: torch.OutOfMemoryError passes through.
    """
    try:
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        words = str(error).strip().split("\n", 1)[0]
        if _no_memory(words):
            raise torch.OutOfMemoryError(words) from error
        if any(part in words for part in DEVICE_WORDS):
            raise DeviceError(
                f"{device}: the GPU failed ({words}); scored videos are kept: run again to continue, or use the CPU"
            ) from error
        raise


# The words of torch RuntimeErrors that mean a device failure, not a wrong call; older versions have no class for them
DEVICE_WORDS = ("CUDA error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "NVML", "Found no NVIDIA driver")


def _no_memory(words: str) -> bool:
    """Whether an error message means out of memory; cuBLAS and cuDNN do not raise torch's error."""
    return "ALLOC_FAILED" in words or "out of memory" in words


class _Tf32:
    """Sets torch's TF32 switches while batches run, and restores the caller's values afterwards."""

    def __init__(self) -> None:
        self._changed = Condition()
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
    """The context in which a network runs: on a GPU, products are rounded to TF32 only if `tf32` is True.

    torch's switches are global, and on by default for convolutions. They are set while a batch runs and then restored
    to the caller's values.
    """
    return _tf32(tf32) if device.type == "cuda" else nullcontext()


class Batches:
    """The batch size of a network on one device; it is halved whenever memory runs out.

    Args:
        most: the initial batch size.
        device: where the network runs.
        tf32: as in `arithmetic`.
    """

    def __init__(self, most: int, device: torch.device, *, tf32: bool = False) -> None:
        self.size = most
        self._device, self._tf32 = device, tf32
        # On a GPU one batch is issued at a time: the activations of two, which would run one after the other, take
        # twice the memory
        self._turn = Lock() if device.type == "cuda" else nullcontext()

    def over(
        self, count: int, work: Callable[[int, int], B], most: int | None = None, *, spread: Spread | None = None
    ) -> list[B]:
        """The results of work(start, stop) for the parts of 0 ... count, in order.

        If memory runs out, the part is repeated in halves, and all later batches, also other videos', stay that small.

        Args:
            most: a smaller batch size for larger items; None: `size`.
            spread: a pool's `spread`, which runs the parts in parallel on a CPU.

        Raises:
            DeviceError: there is not enough memory for a single item, or the device failed.
        """
        if spread is not None and self._device.type == "cpu":
            with on_device(self._device):
                return list(spread(lambda at: work(at, min(at + self.size, count)), range(0, count, self.size)))
        out: list[B] = []
        start = 0
        while start < count:
            stop = min(start + min(self.size, most or self.size), count)
            try:
                with on_device(self._device), self._turn, arithmetic(self._device, self._tf32):
                    out.append(work(start, stop))
                start = stop
            except torch.OutOfMemoryError as error:
                if stop - start == 1:
                    raise DeviceError(
                        f"{self._device}: not enough memory for one frame; end other programs that use the GPU, or "
                        f"use the CPU"
                    ) from error
                self.size = min(self.size, (stop - start) // 2)
            else:
                continue
            # Here the error is gone, and with it the frames of its traceback, which hold the activations
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return out


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The array as a tensor on the device, same dtype; copies to a GPU go through pinned memory and do not block."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def to_host(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """The tensors on the CPU, in the same order.

    All copies from a GPU are issued together, and the thread sleeps until they have arrived. torch's own copy would
    keep a core busy that the decoders of other videos need.
    """
    if not any(tensor.is_cuda for tensor in tensors):
        return list(tensors)
    copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    arrived.record()
    arrived.synchronize()
    return copies
