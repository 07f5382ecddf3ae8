"""3x3 convolutions with a quarter of the multiplications, for S3FD's wide layers on a CPU.

This is Winograd's minimal filtering F(4x4, 3x3), with the matrices of Lavin and Gray 2016 ("Fast Algorithms for
Convolutional Neural Networks", section 4.3). The input's 6x6 tiles, which overlap by two, and the kernels are
transformed; each of the 36 places is then one matrix product over the channels; the products are transformed back to
4x4 outputs. The result equals the convolution to 2e-5 of its largest value. oneDNN has no such kernel for fp32 on x86.
docs/measures/faces.md has the times.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

TILE, OUT = 6, 4
B_T = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
G = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
A_T = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)
SCRATCH = 6 << 20  # bytes of tiles at a time: more falls out of the caches


class WinogradConv(nn.Module):
    """Replaces a Conv2d with a 3x3 kernel, stride 1 and padding 1, and the following ReLU; channels last."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        is_plain(layer)
        assert layer.bias is not None
        self._outputs = layer.out_channels
        self._bias = layer.bias.detach()
        self._matrices = [
            torch.ops.mkldnn._reorder_linear_weight(matrix.contiguous(), None)
            for rows in place_matrices(layer.weight.detach())
            for matrix in rows
        ]
        into, back = torch.tensor(B_T), torch.tensor(A_T)
        self._into_rows, self._into_columns = into, into.expand(TILE, TILE, TILE).contiguous()
        self._back_rows, self._back_columns = back, back.expand(OUT, OUT, TILE).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """float32[B, C, H, W] -> float32[B, O, H, W], no value below 0."""
        images = [self._image(image) for image in torch.split(x, 1)]
        return images[0] if len(images) == 1 else torch.cat(images)

    def _image(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        down, across = -(-height // OUT), -(-width // OUT)
        padded = F.pad(x[0].permute(1, 2, 0), (0, 0, 1, OUT * across - width + 1, 1, OUT * down - height + 1))
        out = torch.empty(down, OUT, across, OUT, self._outputs)
        at_a_time = max(1, SCRATCH // (4 * TILE * TILE * across * max(channels, self._outputs)))
        strips = (torch.split(whole, at_a_time) for whole in (padded.unfold(0, TILE, OUT), out))
        for rows, strip in zip(*strips, strict=True):
            self._convolve(rows.unfold(1, TILE, OUT), strip)
        return out.view(1, OUT * down, OUT * across, self._outputs)[:, :height, :width].permute(0, 3, 1, 2)

    def _convolve(self, tiles: Tensor, out: Tensor) -> None:
        """Overlapping tiles float32[down, across, C, 6, 6] -> out, float32[down, 4, across, 4, O]."""
        down, across, channels = tiles.shape[:3]
        count, places = down * across, TILE * TILE
        one, other = _scratch(places * count * max(channels, self._outputs))
        cut = _view(one, TILE, TILE, down, across, channels).copy_(tiles.permute(3, 4, 0, 1, 2)).view(TILE, -1)
        rows = torch.mm(self._into_rows, cut, out=_view(other, *cut.shape)).view(TILE, TILE, -1)
        spread = torch.bmm(self._into_columns, rows, out=_view(one, *rows.shape)).view(places, count, channels)
        products = _view(other, places, count, self._outputs)
        for product, place, matrix in zip(products, spread, self._matrices, strict=True):
            product.copy_(torch.ops.mkldnn._linear_pointwise(place, matrix, None, "none", [], ""))
        rows = torch.mm(self._back_rows, products.view(TILE, -1), out=_view(one, OUT, products.numel() // TILE))
        back = torch.bmm(self._back_columns, rows.view(OUT, TILE, -1), out=_view(other, OUT, OUT, products[0].numel()))
        whole = back.view(OUT, OUT, down, across, self._outputs).permute(2, 0, 3, 1, 4)
        torch.add(whole, self._bias, out=out).relu_()


def is_plain(layer: nn.Conv2d) -> None:
    """Check that a layer can be computed in this way.

    Raises:
        ValueError: its kernel is not 3x3 with stride 1 and padding 1.
    """
    if (layer.kernel_size, layer.stride, layer.padding, layer.dilation) != ((3, 3), (1, 1), (1, 1), (1, 1)):
        raise ValueError(f"{layer} is not a 3x3 convolution with stride 1 and padding 1")


def place_matrices(weight: Tensor) -> Iterator[Tensor]:
    """float32[6, O, C] for each row of a tile: the transformed kernels float32[O, C, 3, 3] at the row's places."""
    kernel = torch.tensor(G, dtype=torch.float64, device=weight.device)
    taps = weight.permute(2, 3, 0, 1).reshape(9, -1).double()
    for row in kernel:
        places = torch.kron(row, kernel) @ taps
        yield places.float().view(TILE, *weight.shape[:2])


_kept = threading.local()


def _scratch(size: int) -> tuple[Tensor, Tensor]:
    """Two buffers float32[size or more] that this thread keeps, because allocation takes longer than the arithmetic."""
    if getattr(_kept, "size", 0) < size:
        _kept.size, _kept.pair = size, (torch.empty(size), torch.empty(size))
    pair: tuple[Tensor, Tensor] = _kept.pair
    return pair


def _view(scratch: Tensor, *shape: int) -> Tensor:
    return scratch[: math.prod(shape)].view(shape)
