"""SyncNet (Chung and Zisserman 2016) under the original state dict's keys, and the same network folded for inference.

The layers are those of joonson/syncnet_python SyncNetModel.py (S). In the folded network, every batch norm is part of
the convolution or linear layer before it. The lip tower is 2-D, because its only temporal kernel spans all five frames
of its input. The results equal the original's except for rounding.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipscore.device import Batches, on_device, to_device, to_host
from lipscore.errors import WeightsError
from lipscore.pool import Pool
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.models.sync_pass import WindowPass
from lipscore.syncnet.window import MFCC_PER_FRAME, N_FRAMES, N_MFCC
from lipscore.types import Floats


class SyncNet(nn.Module):
    """The network under the weight file's names, which only checks and holds the tensors (see FoldedSyncNet).

    Tests and benchmarks compare FoldedSyncNet with forward_aud and forward_lip; nothing else calls these.
    """

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *(nn.Conv2d(1, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(1, 1)),
            *(nn.Conv2d(64, 192, 3, padding=1), nn.BatchNorm2d(192), nn.ReLU(), nn.MaxPool2d(3, (1, 2))),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.BatchNorm2d(384), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(256, 512, (5, 4)), nn.BatchNorm2d(512), nn.ReLU()),
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *(
                nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2)),
                nn.BatchNorm3d(96),
                nn.ReLU(),
                nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            ),
            *(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU()),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU()),
            *(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU()),
            *(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(256), nn.ReLU()),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *(nn.Conv3d(256, 512, (1, 6, 6)), nn.BatchNorm3d(512), nn.ReLU()),
        )

    def forward_aud(self, mfcc: Tensor) -> Tensor:
        """float32[B, 1, 13, 20] -> float32[B, 1024]."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))  # type: ignore[no-any-return]

    def forward_lip(self, frames: Tensor) -> Tensor:
        """float32[B, 3, 5, 224, 224], BGR, 0-255 -> float32[B, 1024]."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))  # type: ignore[no-any-return]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class FoldedSyncNet(nn.Module):
    """SyncNet for inference: no batch norms, 2-D convolutions, channels last. It takes over the layers of `net`.

    The lip tower takes float32[B, 15, 224, 224]: channel 3 t + c is colour c (BGR) of frame t.
    """

    def __init__(self, net: SyncNet) -> None:
        super().__init__()
        self.lip_tower = nn.Sequential(*_folded(net.netcnnlip), nn.Flatten(1), *_folded(net.netfclip))
        self.audio_tower = nn.Sequential(*_folded(net.netcnnaud), nn.Flatten(1), *_folded(net.netfcaud))
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def lip(self, windows: Tensor) -> Tensor:
        """float32[B, 15, 224, 224] -> float32[B, 1024]."""
        return self.lip_tower(windows)  # type: ignore[no-any-return]

    def audio(self, windows: Tensor) -> Tensor:
        """float32[B, 1, 13, 20] -> float32[B, 1024]."""
        return self.audio_tower(windows)  # type: ignore[no-any-return]


def _folded(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """The layers with each batch norm folded into the one before it, and 3-D ones made 2-D."""
    out: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            _fold_into(out[-1], layer)
        elif isinstance(layer, nn.Conv3d):
            out.append(_flat_convolution(layer))
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            out.append(layer)
        elif isinstance(layer, nn.MaxPool3d):
            kernel, stride, padding = (_last_two(v) for v in (layer.kernel_size, layer.stride, layer.padding))
            out.append(nn.MaxPool2d(kernel, stride, padding))
        elif isinstance(layer, nn.ReLU):
            out.append(nn.ReLU(inplace=True))
        elif isinstance(layer, nn.MaxPool2d) and layer.kernel_size != 1:
            out.append(layer)
    return out


def _last_two(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[-2], value[-1])


def _flat_convolution(layer: nn.Conv3d) -> nn.Conv2d:
    out, channels, depth = layer.weight.shape[:3]
    kernel, stride, padding = _last_two(layer.kernel_size), _last_two(layer.stride), _last_two(layer.padding)  # type: ignore[arg-type]
    flat = nn.Conv2d(channels * depth, out, kernel, stride, padding)
    with torch.no_grad():
        flat.weight.copy_(layer.weight.transpose(1, 2).reshape(out, depth * channels, *kernel))
        assert layer.bias is not None and flat.bias is not None
        flat.bias.copy_(layer.bias)
    return flat


@torch.no_grad()
def _fold_into(layer: nn.Module, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    assert isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = (layer.bias.double() - norm.running_mean.double()) * scale + norm.bias.double()
    layout = torch.channels_last if layer.weight.dim() == 4 else torch.contiguous_format
    weight = torch.empty_like(layer.weight, memory_format=layout)
    for folded, original, factor in zip(weight, layer.weight, scale, strict=True):  # one by one: doubles take memory
        folded.copy_(original.double() * factor)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias.float())


CPU_BATCH = 4  # windows: on a CPU faster than 20, because what lies between two layers fits into its caches
GPU_BATCH = 64  # windows: more than a chunk of crops has


class SyncNetEmbedder:
    """SyncNet v2 with weights from a state dict under the original's keys; dtype: its floating-point type.

    Raises:
        WeightsError: the tensors are not SyncNet's; the message names each wrong key.
    """

    name = "vgg"
    pads = True
    context = 0
    unrelated = None  # a still mouth has the score that SyncNet gives it

    def __init__(
        self,
        state: dict[str, torch.Tensor],
        device: torch.device,
        batch_size: int = 20,
        dtype: torch.dtype = torch.float32,
        *,
        tf32: bool = False,
        pool: Pool | None = None,
    ) -> None:
        with torch.device("meta"):
            net = SyncNet()
        try:
            net.load_state_dict(state, strict=True, assign=True)  # no second copy of the weights
        except RuntimeError as error:
            raise WeightsError(f"syncnet_v2.model does not hold SyncNet's tensors: {error}") from error
        self._net = FoldedSyncNet(net.eval()).to(device, dtype)
        self._device, self._dtype, self._pool = device, dtype, pool or Pool()
        at_a_time = {"cpu": min(batch_size, CPU_BATCH), "cuda": max(batch_size, GPU_BATCH)}
        self._lips = Batches(at_a_time.get(device.type, batch_size), device, tf32=tf32)
        self._sounds = Batches(4 * self._lips.size, device, tf32=tf32)

    def lip(self, frames: NDArray[np.uint8]) -> Floats:
        """uint8[T, 224, 224, 3] BGR, T >= 5 -> float32[T - 4, 1024]."""
        n_windows = len(frames) - N_FRAMES + 1

        @torch.inference_mode()
        def embed(start: int, stop: int) -> torch.Tensor:
            source = to_device(frames[start : stop + N_FRAMES - 1], self._device)
            windows = source.unfold(0, N_FRAMES, 1)  # [B, H, W, 3, 5]
            stacked = windows.permute(0, 1, 2, 4, 3).reshape(*windows.shape[:3], 3 * N_FRAMES).to(self._dtype)
            return self._net.lip(stacked.permute(0, 3, 1, 2)).float()

        with on_device(self._device):
            return torch.cat(to_host(*self._lips.over(n_windows, embed, spread=self._pool.spread))).numpy()

    def audio(self, mfcc: Floats) -> Floats:
        """float32[M, 13], M >= 20 -> float32[(M - 20) // 4 + 1, 1024]."""
        windows = np.lib.stride_tricks.sliding_window_view(mfcc, N_MFCC, 0)[::MFCC_PER_FRAME, None]

        @torch.inference_mode()
        def embed(start: int, stop: int) -> torch.Tensor:
            part = to_device(np.ascontiguousarray(windows[start:stop]), self._device)
            return self._net.audio(part.to(self._dtype)).float()

        with on_device(self._device):
            return torch.cat(to_host(*self._sounds.over(len(windows), embed, spread=self._pool.spread))).numpy()

    def open(self, pcm: NDArray[np.int16], n_frames: int, vshift: int) -> WindowPass:
        """A pass over a track (`lipscore.types.SyncModel`)."""
        return WindowPass(self, mfcc(pcm), len(pcm), n_frames, vshift)
