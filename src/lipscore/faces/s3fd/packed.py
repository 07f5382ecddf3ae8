"""A convolution and the following ReLU as one call of oneDNN, with weights that are packed once.

With torch.nn.Conv2d, oneDNN packs the weights anew in each call. That takes most of the time if an image is small and
the kernel large, as in S3FD's last layers with one frame at a time (docs/measures/faces.md has the figures).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def available() -> bool:
    """Whether this torch has oneDNN's operators for packed weights."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise", "_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)  # type: ignore[no-untyped-call]


class PackedConv(nn.Module):
    """Replaces a Conv2d without groups and the following ReLU; channels last, on a CPU."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        assert layer.bias is not None
        self.out_channels = layer.out_channels
        self._bias = layer.bias.detach()
        self._how = list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups
        weight = layer.weight.detach()
        # As a convolution, a layout of one by one is chosen for a size of image, and 40 times as slow on some others
        self._one_by_one = layer.kernel_size == (1, 1) and self._how[:2] == ([0, 0], [1, 1])
        if self._one_by_one:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.flatten(1).contiguous(), None)
        else:
            self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self._how, None)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H', W'], no value below 0."""
        if self._one_by_one:
            pixels: Tensor = torch.ops.mkldnn._linear_pointwise(
                x.permute(0, 2, 3, 1), self._weight, self._bias, "relu", [], ""
            )
            return pixels.permute(0, 3, 1, 2)
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self._weight, self._bias, *self._how, "relu", [], "")
        return out
