"""Luma after ITU-R BT.601 (Y' = 0.299 R + 0.587 G + 0.114 B), full range.

8-bit frames give 8-bit luma, rounded like OpenCV's COLOR_BGR2GRAY (15-bit weights), because evaluation scripts compute
"grey" with it; floats stay floats. Full range means 0..255 in and 0..255 out, unlike a codec's Y plane.
"""

from __future__ import annotations

import cv2
import torch
from torch import Tensor

WEIGHTS_BGR = (0.114, 0.587, 0.299)
_FIXED_BGR = (3735, 19235, 9798)  # WEIGHTS_BGR times 2 ** 15, as OpenCV rounds them
_FIXED_BITS = 15


def luma(frames: Tensor) -> Tensor:
    """BGR frames to luma: uint8[..., H, W, 3] to uint8[..., H, W], floating point to the same type."""
    if frames.shape[-1] != 3:
        raise ValueError(f"luma needs BGR in the last axis, got the shape {tuple(frames.shape)}")
    if frames.dtype != torch.uint8:
        return frames @ frames.new_tensor(WEIGHTS_BGR)
    if frames.device.type == "cpu":
        tall = frames.reshape(-1, frames.shape[-2], 3).numpy()
        return torch.from_numpy(cv2.cvtColor(tall, cv2.COLOR_BGR2GRAY)).reshape(frames.shape[:-1])
    return fixed_point_luma(frames)


def fixed_point_luma(frames: Tensor) -> Tensor:
    """luma() of uint8 frames in torch, on any device; bit-identical to OpenCV's."""
    parts = [weight * frames[..., channel].to(torch.int32) for channel, weight in enumerate(_FIXED_BGR)]
    total = parts[0] + parts[1] + parts[2] + (1 << (_FIXED_BITS - 1))
    return (total >> _FIXED_BITS).to(torch.uint8)
