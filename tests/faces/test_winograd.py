"""The quick 3x3 convolution against torch's own."""

from __future__ import annotations

import threading
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lipscore.faces.s3fd import packed, winograd, winograd_gpu

on_packed = pytest.mark.skipif(not packed.available(), reason="this torch has no packed matrix product")


@settings(max_examples=15, deadline=None)
@given(
    *(st.integers(1, 3), st.integers(1, 40), st.integers(1, 24), st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from([1, 1 << 20, winograd_gpu.SCRATCH]),
)
def test_the_gpus_way_is_the_convolution(
    images: int, inputs: int, outputs: int, height: int, width: int, scratch: int
) -> None:
    """It is torch throughout, so that a CPU can run it."""
    torch.manual_seed(images + height)
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    x = torch.randn(images, inputs, height, width)
    with torch.inference_mode(), patch.object(winograd_gpu, "SCRATCH", scratch):
        expected, found = layer(x).relu(), winograd_gpu.WinogradGpuConv(layer)(x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 2e-5 * max(1.0, float(expected.abs().max()))


@on_packed
@settings(max_examples=15)
@given(
    *(st.integers(1, 3), st.integers(1, 40), st.integers(1, 24), st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from([1, 1 << 16, winograd.SCRATCH]),
)
def test_it_is_the_convolution(images: int, inputs: int, outputs: int, height: int, width: int, scratch: int) -> None:
    torch.manual_seed(images + height)
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    x = torch.randn(images, inputs, height, width).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), patch.object(winograd, "SCRATCH", scratch):
        expected, found = layer(x).relu(), winograd.WinogradConv(layer)(x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 2e-5 * max(1.0, float(expected.abs().max()))


@on_packed
def test_threads_do_not_disturb_each_other() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 128, 3, padding=1)]
    quick = [winograd.WinogradConv(layer) for layer in layers]
    images = [torch.randn(2, 64, 21 + k, 30).contiguous(memory_format=torch.channels_last) for k in range(2)]
    worst = [0.0, 0.0]

    def work(k: int) -> None:
        with torch.inference_mode():
            for _ in range(20):
                gap = (quick[k](images[k]) - layers[k](images[k]).relu()).abs().max()
                worst[k] = max(worst[k], float(gap))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) < 1e-4


def test_other_convolutions_are_turned_down() -> None:
    with pytest.raises(ValueError, match="not a 3x3 convolution"):
        winograd.WinogradConv(nn.Conv2d(8, 8, 3, padding=1, stride=2))
    with pytest.raises(ValueError, match="not a 3x3 convolution"):
        winograd_gpu.WinogradGpuConv(nn.Conv2d(8, 8, 3, padding=6, dilation=6))
