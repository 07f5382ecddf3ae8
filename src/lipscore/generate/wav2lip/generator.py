"""Wav2Lip's network, loaded once for many windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from lipscore.device import Batches, on_device, to_device, to_host
from lipscore.errors import UsageError
from lipscore.generate.wav2lip.checkpoint import Checkpoint
from lipscore.generate.wav2lip.network import build
from lipscore.pool import Pool
from lipscore.types import Detection, Detector, Floats, Frame

BATCH = {"cpu": 8, "cuda": 64}  # windows; the original's 128 holds as many frames
T = TypeVar("T")
U = TypeVar("U")


class Generator:
    """The network on a device.

    Args:
        checkpoint: the network's weights.
        batch_size: windows per forward pass; None: 8 on a CPU, 64 on a GPU. It changes only the last bits of the
            results.
        pool: the thread pool that runs the batches on a CPU; default: a new one.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
        pool: Pool | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UsageError.about("wav2lip_batch_size", batch_size, "give a number of 1 or more")
        self.device = torch.device(device)
        self.checkpoint, self.pool = checkpoint, pool or Pool()
        self.batch_size = batch_size or BATCH[self.device.type]
        self._batches = Batches(self.batch_size, self.device)
        self._network = build(checkpoint.state, self.device)

    def __call__(self, mels: Floats, faces: Floats) -> Floats:
        """float32[B, 1, 80, 16] and float32[B, 6, 96, 96] -> float32[B, 3, 96, 96] of 0 ... 1, B G R.

        A batch that does not fit into memory is halved.

        Raises:
            DeviceError: the memory is too small for one window, or the device failed.
        """

        @torch.inference_mode()
        def run(start: int, stop: int) -> torch.Tensor:
            x = to_device(faces[start:stop], self.device)
            if self.device.type == "cpu":
                x = x.contiguous(memory_format=torch.channels_last)
            out: torch.Tensor = self._network(to_device(mels[start:stop], self.device), x)
            return out

        with on_device(self.device):
            out: Floats = torch.cat(to_host(*self._batches.over(len(mels), run))).numpy()
        return out

    def in_order(self, work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """Yield the result of `work` for each item; a CPU works on several items at once."""
        return self.pool.spread(work, items) if self.device.type == "cpu" else map(work, items)


class Patient:
    """A detector (`lipscore.types.Detector`) that takes fewer frames at a time if memory is short."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner
        self.name, self.stride, self.bridge = inner.name, inner.stride, inner.bridge
        self.batch_size, self.turn, self.doubtful = inner.batch_size, inner.turn, inner.doubtful
        self._batches = Batches(inner.batch_size, torch.device("cpu"))

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """The detector's boxes.

        Raises:
            DeviceError: the memory is too small for one frame.
        """
        held = list(frames)
        parts = self._batches.over(len(held), lambda start, stop: self._inner(held[start:stop], indices[start:stop]))
        return [boxes for part in parts for boxes in part]
