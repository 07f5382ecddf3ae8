"""Wav2Lip's generator, its parameters named as in the official checkpoints (models/wav2lip.py, models/conv.py).

The input is a face with a masked lower half and a piece of mel spectrogram; the output is the whole face with new lips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SIDE = 96  # pixels of the face
GFLOP = 7.93  # per window: 3.97 G multiply-adds


class Unit(nn.Module):
    """Convolution (transposed where `up`), batch norm, ReLU; a residual unit adds its input before the ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int | tuple[int, int] = 1,
        padding: int = 1,
        *,
        residual: bool = False,
        up: bool = False,
    ) -> None:
        super().__init__()
        if up:  # doubles the side where it has a stride
            conv: nn.Module = nn.ConvTranspose2d(
                inputs, outputs, kernel, cast(int, stride), padding, output_padding=int(stride != 1)
            )
        else:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_block(x)
        return (y.add_(x) if self.residual else y).relu_()

    def fuse(self) -> None:
        """Fold the norm's factor and shift into the convolution."""
        conv, norm = self.conv_block
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        assert isinstance(norm, nn.BatchNorm2d)
        up = isinstance(conv, nn.ConvTranspose2d)
        self.conv_block = nn.Sequential(fuse_conv_bn_eval(conv, norm, transpose=up))


def _residual(channels: int, count: int) -> list[Unit]:
    return [Unit(channels, channels, residual=True) for _ in range(count)]


class Wav2LipNet(nn.Module):
    """The network: 36,298,035 parameters, 352 entries in its state."""

    def __init__(self) -> None:
        super().__init__()
        encoders = [[Unit(6, 16, 7, 1, 3)]]
        for inputs, outputs, residuals in ((16, 32, 2), (32, 64, 3), (64, 128, 2), (128, 256, 2), (256, 512, 1)):
            encoders.append([Unit(inputs, outputs, 3, 2), *_residual(outputs, residuals)])
        encoders.append([Unit(512, 512, 3, 1, 0), Unit(512, 512, 1, 1, 0)])
        self.face_encoder_blocks = nn.ModuleList([nn.Sequential(*block) for block in encoders])
        self.audio_encoder = nn.Sequential(
            *(Unit(1, 32), *_residual(32, 2)),
            *(Unit(32, 64, 3, (3, 1)), *_residual(64, 2)),
            *(Unit(64, 128, 3, 3), *_residual(128, 2)),
            *(Unit(128, 256, 3, (3, 2)), *_residual(256, 1)),
            *(Unit(256, 512, 3, 1, 0), Unit(512, 512, 1, 1, 0)),
        )
        decoders = [[Unit(512, 512, 1, 1, 0)], [Unit(1024, 512, 3, 1, 0, up=True), *_residual(512, 1)]]
        for inputs, outputs in ((1024, 512), (768, 384), (512, 256), (320, 128), (160, 64)):
            decoders.append([Unit(inputs, outputs, 3, 2, up=True), *_residual(outputs, 2)])
        self.face_decoder_blocks = nn.ModuleList([nn.Sequential(*block) for block in decoders])
        self.output_block = nn.Sequential(Unit(80, 32), nn.Conv2d(32, 3, 1), nn.Sigmoid())

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """float32[B, 1, 80, 16], float32[B, 6, 96, 96] of 0 ... 1 -> float32[B, 3, 96, 96] of 0 ... 1."""
        skips = []
        for block in self.face_encoder_blocks:
            faces = block(faces)
            skips.append(faces)
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), skips.pop()], 1)
        out: Tensor = self.output_block(x)
        return out


def build(state: Mapping[str, Tensor], device: torch.device) -> Wav2LipNet:
    """The network with these tensors (`lipscore.generate.wav2lip.checkpoint.load`), for inference on the device."""
    with torch.device("meta"):
        network = Wav2LipNet()
    network.load_state_dict(state, strict=True, assign=True)
    network.eval().requires_grad_(False)
    for unit in network.modules():
        if isinstance(unit, Unit):
            unit.fuse()
    # oneDNN's convolutions are faster in this layout; cuDNN's exact ones are not
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    return network.to(device, torch.float32).to(memory_format=layout)  # type: ignore[call-overload, no-any-return]
