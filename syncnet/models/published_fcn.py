"""The published fully convolutional SyncNet (R-V-Abhishek/Syncnet_FCN at f4c60cc): load and run its checkpoints.

Layers and key names are those of the repository's models (SyncNetFCN, SyncNetFCN_Classification). A checkpoint's keys
show which head it holds, and their shapes show its range. The published calibration (a constant that fits one clip) is
left out. The signs of the two heads, which differ, are converted to SyncNet's. docs/measures/long-range.md describes
the published weights: most of their tower kernels are random.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lipscore.errors import WeightsError
from lipscore.types import Floats, Frame

Kind = Literal["regression", "classification"]
PREFIX = "fcn_model."
SIZE = 112  # pixels: the whole frame, squashed
WIDTH = 512
CHUNK, AROUND = 64, 8  # frames through the lip tower at a time, and beyond on either side: it sees 15


class _Gate(nn.Module):
    """Squeeze and excitation over the channels: float32[B, 512, T] -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(WIDTH, WIDTH // 16, bias=False), nn.ReLU(), nn.Linear(WIDTH // 16, WIDTH, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = torch.sigmoid(self.fc(x.mean(2)))
        return x * gate[:, :, None]


def _ends() -> tuple[nn.Sequential, _Gate]:
    mix = nn.Sequential(
        *(nn.Conv1d(WIDTH, WIDTH, 1), nn.BatchNorm1d(WIDTH), nn.ReLU()),
        *(nn.Conv1d(WIDTH, WIDTH, 1), nn.BatchNorm1d(WIDTH)),
    )
    return mix, _Gate()


class AudioEncoder(nn.Module):
    """float32[B, 1, 13, T] MFCC at 100 per second -> float32[B, 512, T // 4 - 1], about one step per video frame."""

    def __init__(self) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
            return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()

        self.conv_layers = nn.Sequential(
            *conv(1, 64),
            *(*conv(64, 192), nn.MaxPool2d(3, (1, 2))),
            *conv(192, 384),
            *conv(384, 256),
            *(*conv(256, 256), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(256, WIDTH, (5, 1), (5, 1)), nn.BatchNorm2d(WIDTH), nn.ReLU()),
        )
        self.channel_conv, self.channel_attn = _ends()

    def forward(self, mfcc: Tensor) -> Tensor:
        out: Tensor = self.channel_attn(self.channel_conv(self.conv_layers(mfcc)[:, :, 0]))
        return out


class VideoEncoder(nn.Module):
    """float32[B, 3, T, 112, 112], RGB 0 ... 1 -> float32[B, 512, T]."""

    def __init__(self) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel: Any, stride: Any, padding: Any) -> tuple[nn.Module, ...]:
            return nn.Conv3d(inputs, outputs, kernel, stride, padding), nn.BatchNorm3d(outputs), nn.ReLU()

        def pool() -> nn.Module:
            return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))

        self.conv_layers = nn.Sequential(
            *(*conv(3, 96, (5, 7, 7), (1, 2, 2), (2, 3, 3)), pool()),
            *(*conv(96, 256, (3, 5, 5), (1, 2, 2), (1, 2, 2)), pool()),
            *conv(256, 256, 3, 1, 1),
            *conv(256, 256, 3, 1, 1),
            *(*conv(256, 256, 3, 1, 1), pool()),
            *(*conv(256, WIDTH, 3, 1, 1), nn.AdaptiveAvgPool3d((None, 1, 1))),
        )
        self.channel_conv, self.channel_attn = _ends()

    def steps(self, frames: Tensor) -> Tensor:
        """float32[B, 512, T]: the output before the gate, which depends on the whole time."""
        out: Tensor = self.channel_conv(self.conv_layers(frames)[:, :, :, 0, 0])
        return out

    def forward(self, frames: Tensor) -> Tensor:
        out: Tensor = self.channel_attn(self.steps(frames))
        return out


class _SelfAttention(nn.Module):
    """x + gamma times attention over the steps: float32[B, 512, T] -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.query_conv, self.key_conv = nn.Conv1d(WIDTH, WIDTH // 8, 1), nn.Conv1d(WIDTH, WIDTH // 8, 1)
        self.value_conv = nn.Conv1d(WIDTH, WIDTH, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.query_conv(x).transpose(1, 2) @ self.key_conv(x), 2)
        out: Tensor = x + self.gamma * (self.value_conv(x) @ weights.transpose(1, 2))
        return out


class PublishedNet(nn.Module):
    """Both towers, their correlation, and one of the two heads, under the checkpoint's key names.

    Args:
        reach: the largest shift K; the correlation has 2 K + 1 channels.
    """

    def __init__(self, kind: Kind, reach: int, attention: bool = False) -> None:
        super().__init__()
        self.kind, self.reach = kind, reach
        self.audio_encoder, self.video_encoder = AudioEncoder(), VideoEncoder()
        width = 2 * reach + 1
        if kind == "regression":
            self.offset_regressor = nn.Sequential(
                *(nn.Conv1d(width, 128, 3, padding=1), nn.BatchNorm1d(128), nn.ReLU()),
                *(nn.Conv1d(128, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, 1, 1)),
            )
            self.temporal_smoother = nn.Sequential(
                *(nn.Conv1d(1, 32, 3, padding=2, dilation=2), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 1, 1)),
            )
        else:
            self.classifier = nn.Sequential(
                *(nn.Conv1d(width, 128, 3, padding=1), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3)),
                *(nn.Conv1d(128, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3)),
                nn.Conv1d(64, width, 1),
            )
            self.global_classifier = nn.Sequential(
                *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.3)),
                nn.Linear(128, width),
            )
        self.attention = attention
        if attention:
            self.audio_self_attn, self.video_self_attn = _SelfAttention(), _SelfAttention()
            self.audio_to_video_attn = nn.MultiheadAttention(WIDTH, 8, batch_first=True)
            self.video_to_audio_attn = nn.MultiheadAttention(WIDTH, 8, batch_first=True)

    def correlation(self, audio: Tensor, video: Tensor) -> Tensor:
        """float32[B, 512, T] twice, cut to the shorter -> float32[B, 2 K + 1, T].

        Channel o + K is video[t] . audio[t + o].
        """
        n = min(audio.shape[2], video.shape[2])
        audio, video = audio[:, :, :n], video[:, :, :n]
        if self.attention:
            audio, video = self.audio_self_attn(audio), self.video_self_attn(video)
            a, v = audio.transpose(1, 2), video.transpose(1, 2)
            audio = (a + self.audio_to_video_attn(a, v, v, need_weights=False)[0]).transpose(1, 2)
            video = (v + self.video_to_audio_attn(v, a, a, need_weights=False)[0]).transpose(1, 2)
        audio, video = functional.normalize(audio, dim=1), functional.normalize(video, dim=1)
        around = functional.pad(audio, (self.reach, self.reach), mode="replicate")
        return torch.stack([(video * around[:, :, k : k + n]).sum(1) for k in range(2 * self.reach + 1)], 1)

    def head(self, correlation: Tensor) -> Tensor:
        """float32[B, 2 K + 1, T] -> float32[B], the offset in frames, positive where the audio comes first."""
        if self.kind == "regression":  # trained with the other sign
            late: Tensor = self.temporal_smoother(self.offset_regressor(correlation)).clamp(-self.reach, self.reach)
            return -late[:, 0].mean(1)
        logits: Tensor = self.global_classifier(self.classifier(correlation))
        return logits.argmax(1).float() - self.reach


@dataclass(frozen=True, slots=True)
class PublishedFcn:
    """A loaded checkpoint: its description in words, and the network."""

    about: str
    net: PublishedNet

    def offset(self, frames: Iterator[Frame], mfcc: Floats) -> tuple[float, int]:
        """(the offset by the head, the offset by the best channel of the correlation), in frames, with SyncNet's sign.

        Args:
            frames: uint8[H, W, 3] BGR at 25 per second, whole frames; read in blocks.
            mfcc: float32[M, 13] at 100 per second.

        Raises:
            ValueError: there are no frames, or fewer than 12 rows of MFCC.
        """
        if len(mfcc) < 12:
            raise ValueError(f"{len(mfcc)} rows of MFCC; the audio tower needs 12")
        with torch.inference_mode():
            audio = self.net.audio_encoder(torch.from_numpy(np.ascontiguousarray(mfcc.T))[None, None])
            video = self.net.video_encoder.channel_attn(torch.cat(list(self._steps(frames)), 2))
            correlation = self.net.correlation(audio, video)
            best = int(correlation.mean(2)[0].argmax()) - self.net.reach
            return float(self.net.head(correlation)[0]), -best

    def _steps(self, frames: Iterator[Frame]) -> Iterator[Tensor]:
        """The lip tower's output, block by block, each computed with the neighbouring frames that it depends on."""
        before: list[NDArray[np.float32]] = []
        block: list[NDArray[np.float32]] = []
        for frame in frames:
            block.append(_small(frame))
            if len(block) == CHUNK + AROUND:
                yield self._block(before, block[:CHUNK], block[CHUNK:])
                before, block = block[CHUNK - AROUND : CHUNK], block[CHUNK:]
        if block:
            yield self._block(before, block, [])
        elif not before:
            raise ValueError("there are no frames")

    def _block(
        self,
        before: list[NDArray[np.float32]],
        block: list[NDArray[np.float32]],
        after: list[NDArray[np.float32]],
    ) -> Tensor:
        stacked = torch.from_numpy(np.stack([*before, *block, *after])).permute(3, 0, 1, 2)[None]
        out = self.net.video_encoder.steps(stacked)
        return out[:, :, len(before) : len(before) + len(block)]


def _small(frame: Frame) -> NDArray[np.float32]:
    small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (SIZE, SIZE))
    scaled: NDArray[np.float32] = small.astype(np.float32) / np.float32(255)
    return scaled


def load_published(path: Path) -> PublishedFcn:
    """A checkpoint of the repository: `{epoch, model_state_dict, ...}`, or the state dict alone.

    Raises:
        WeightsError: the file does not exist, is not such a checkpoint, or its tensors are not the network's.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes lead it into
        raise WeightsError(f"{path}: torch cannot load it ({error}); is it a checkpoint, and whole?") from error
    raw = content.get("model_state_dict", content) if isinstance(content, dict) else None
    if not isinstance(raw, dict) or not all(isinstance(value, Tensor) for value in raw.values()):
        raise WeightsError(f"{path}: not a checkpoint of the fully convolutional SyncNet (no tensors by name)")
    state = {key.removeprefix(PREFIX): value for key, value in raw.items()}
    kinds: dict[str, Kind] = {"offset_regressor.0.weight": "regression", "classifier.0.weight": "classification"}
    found = [key for key in kinds if key in state]
    if not found:
        raise WeightsError(
            f"{path}: not a checkpoint of the fully convolutional SyncNet: it has neither {' nor '.join(kinds)}"
        )
    kind, reach = kinds[found[0]], (state[found[0]].shape[1] - 1) // 2
    attention = "audio_to_video_attn.in_proj_weight" in state
    net = PublishedNet(kind, reach, attention)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: not the published {kind} network: {str(error).splitlines()[-1].strip()}"
        ) from error
    epoch = content.get("epoch") if content is not raw else None
    about = (
        f"published {kind} head, +-{reach} frames{', with attention' if attention else ''}"
        f"{f', epoch {epoch}' if isinstance(epoch, int) else ''}"
    )
    return PublishedFcn(about, net.eval())
