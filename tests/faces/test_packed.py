"""Convolutions with weights laid out once, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lipscore.faces.s3fd import packed

pytestmark = pytest.mark.skipif(not packed.available(), reason="this torch has no packed weights")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 64, 3, padding=1),
        nn.Conv2d(32, 48, 3, stride=2, padding=1),
        nn.Conv2d(64, 96, 3, padding=6, dilation=6),
        nn.Conv2d(96, 40, 1),
        nn.Conv2d(96, 40, 1, stride=2),
    ],
    ids=str,
)
def test_it_is_the_convolution_and_its_relu(layer: nn.Conv2d, dtype: torch.dtype) -> None:
    """One layout serves images of any size."""
    torch.manual_seed(0)
    layer = layer.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    with torch.inference_mode():
        quick = packed.PackedConv(layer)
        for images, height, width in ((1, 31, 17), (2, 61, 33), (1, 5, 7), (3, 1, 40)):
            x = torch.randn(images, layer.in_channels, height, width).to(dtype, memory_format=torch.channels_last)
            torch.testing.assert_close(quick(x), layer(x).relu(), rtol=tolerance, atol=tolerance)
