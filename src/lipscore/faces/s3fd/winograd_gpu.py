"""The same convolutions as `winograd`, as matrix products that a GPU runs well (cuBLAS), in float32.

cuDNN's exact float32 convolutions reach a third of a card's rate at S3FD's sizes, or take Fourier transforms that want
gigabytes. Here both transforms of a tile are one product with the Kronecker square of Winograd's matrices, for all
channels and tiles at once. docs/performance.md says what it saves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lipscore.faces.s3fd.winograd import A_T, B_T, OUT, TILE, is_plain, place_matrices

SCRATCH = 128 << 20  # bytes of tiles at a time: three times as much is held


class WinogradGpuConv(nn.Module):
    """In place of a Conv2d with a 3x3 kernel, stride 1 and padding 1, and of the ReLU behind it."""

    into: Tensor
    back: Tensor
    matrices: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        is_plain(layer)
        assert layer.bias is not None
        device = layer.weight.device
        into, back = torch.tensor(B_T), torch.tensor(A_T)
        self.register_buffer("into", torch.kron(into, into).to(device))
        self.register_buffer("back", torch.kron(back, back).to(device))
        rows = [place.view(TILE, *layer.weight.shape[:2]) for place in place_matrices(layer.weight.detach())]
        self.register_buffer("matrices", torch.cat(rows).contiguous())
        self.register_buffer("bias", layer.bias.detach()[:, None, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """float32[B, C, H, W] -> float32[B, O, H, W], nothing below 0."""
        height, width = x.shape[2:]
        down, across = -(-height // OUT), -(-width // OUT)
        padded = F.pad(x, (1, OUT * across - width + 1, 1, OUT * down - height + 1))
        out = torch.empty(len(x), len(self.bias), OUT * down, OUT * across, dtype=x.dtype, device=x.device)
        widest = max(x.shape[1], len(self.bias))
        images = max(1, SCRATCH // (4 * TILE * TILE * down * across * widest))
        for part, into in zip(torch.split(padded, images), torch.split(out, images), strict=True):
            self._convolve(part, into.view(len(part), -1, down, OUT, across, OUT).permute(3, 5, 1, 0, 2, 4))
        return out[:, :, :height, :width].relu_()

    def _convolve(self, padded: Tensor, out: Tensor) -> None:
        """Padded images [B, C, ...] -> out [4, 4, O, B, down, across]: row and column in a tile first."""
        tiles = padded.unfold(2, TILE, OUT).unfold(3, TILE, OUT).permute(4, 5, 1, 0, 2, 3)
        count = tiles[0, 0, 0].numel()
        spread = torch.mm(self.into, tiles.reshape(TILE * TILE, -1))
        products = torch.bmm(self.matrices, spread.view(TILE * TILE, -1, count))
        torch.add(torch.mm(self.back, products.view(TILE * TILE, -1)).view(out.shape), self.bias, out=out)
