"""Wav2Lip's network, loaded once and asked for many windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from lipscore.errors import UsageError
from lipscore.generate.wav2lip.checkpoint import Checkpoint
from lipscore.generate.wav2lip.errors import NotGeneratedError
from lipscore.generate.wav2lip.network import build
from lipscore.pool import Pool
from lipscore.runtime import arithmetic, to_device
from lipscore.types import Detection, Detector, Floats, Frame

BATCH = {"cpu": 8, "cuda": 64}  # windows; the original's 128 holds as many frames
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # as CUDA and the CPU's allocator say it
T = TypeVar("T")
U = TypeVar("U")


class Generator:
    """The network on a device.

    Args:
        checkpoint: its weights.
        batch_size: windows a forward pass; None: 8 on a CPU, 64 on a GPU. No number depends on it, but for the last
            bits of sums.
        pool: whose threads run the batches on a CPU; default: one of its own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
        pool: Pool | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UsageError.about("wav2lip_batch_size", batch_size, "give a number from 1 on")
        self.device = torch.device(device)
        self.checkpoint, self.pool = checkpoint, pool or Pool()
        self.batch_size = batch_size or BATCH[self.device.type]
        self._network = build(checkpoint.state, self.device)

    def __call__(self, mels: Floats, faces: Floats) -> Floats:
        """float32[B, 1, 80, 16] and float32[B, 6, 96, 96] -> float32[B, 3, 96, 96] of 0 ... 1, B G R.

        Where the memory does not hold the batch, it is halved.

        Raises:
            NotGeneratedError: one window is too much.
        """
        return np.concatenate(halving(self._run, mels, faces))

    def in_order(self, work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """Yield what `work` gives for each item; on a CPU several are worked on at once, which a GPU does not need."""
        return self.pool.spread(work, items) if self.device.type == "cpu" else map(work, items)

    @torch.inference_mode()
    def _run(self, mels: Floats, faces: Floats) -> Floats:
        x = to_device(faces, self.device)
        if self.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        with arithmetic(self.device):
            out: Floats = self._network(to_device(mels, self.device), x).cpu().numpy()
        return out


class Patient:
    """A detector (`lipscore.types.Detector`) that takes fewer frames at a time where the memory holds no more."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner
        self.name, self.stride, self.bridge = inner.name, inner.stride, inner.bridge
        self.batch_size, self.turn = inner.batch_size, inner.turn

    def __call__(self, frames: Sequence[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """As the detector's.

        Raises:
            NotGeneratedError: one frame is too much.
        """
        return [boxes for part in halving(self._inner, frames, indices) for boxes in part]


def halving(work: Callable[..., T], *inputs: Sequence[Any] | Floats) -> list[T]:
    """[work(*inputs)], or what it gives of their halves where it runs out of memory, and so on.

    Raises:
        NotGeneratedError: one is too much (out_of_memory).
    """
    count = len(inputs[0])
    try:
        return [work(*inputs)]
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise
        if count == 1:
            raise NotGeneratedError(
                "out_of_memory", f"the memory does not hold one frame ({error}); shrink the frames with --resize-factor"
            ) from error
    half = count // 2
    first, second = [part[:half] for part in inputs], [part[half:] for part in inputs]
    return [*halving(work, *first), *halving(work, *second)]
