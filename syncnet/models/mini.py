"""mini, the built-in model: a small lip tower and audio tower, trained on generated talking characters.

It follows the idea of SyncNet (Chung and Zisserman, "Out of time", 2016): two towers, a distance between their
embeddings, a curve over shifts. docs/measures/model-card.md explains the differences; `lipscore.training` made the
weights. Its scores are estimates of SyncNet's, and the weight file contains their calibration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from lipscore.device import Batches, on_device, to_host
from lipscore.errors import WeightsError
from lipscore.pool import Pool
from lipscore.syncnet.audio import mfcc as mfcc_of
from lipscore.syncnet.models.sync_pass import WindowPass
from lipscore.syncnet.window import MFCC_PER_FRAME, N_FRAMES, N_MFCC
from lipscore.types import Floats, SyncCurve

WEIGHTS = Path(__file__).with_name("mini.safetensors")
RECORD = Path(__file__).with_name("mini.json")

AROUND = (slice(49, 209), slice(32, 192))  # rows and columns of the protocols' 224x224 crop: the mouth with a margin
CROP = 84  # the side to which these 160 x 160 pixels are resized
MOUTH = (slice(18, 66), slice(18, 66))  # rows and columns of the resized crop that the lip tower sees: 48 x 48
LIP_CONTEXT = 2  # frames that a window sees beyond its own five, on each side
AUDIO_CONTEXT = 7  # MFCC frames that a window sees beyond its own twenty, on each side
AUDIO_LAG = 1  # a window's audio starts this many MFCC frames (10 ms) earlier (docs/measures/model-card.md)
WIDTH = 256
DIMENSIONS = 128
BATCH = 256  # windows per batch
APART = (11.0, 1.5)  # LSE-D and LSE-C of unrelated lips and audio: about the worst published for the training clips
AUDIBLE = 12.0  # nats of energy (52 dB) below the loudest 25 ms; quieter frames are not speech
STILL = 1e-3  # added to a standard deviation of MFCCs, so that silence has a logarithm
FLAT = 4.0  # grey levels added to a frame's standard deviation, so that an empty frame stays empty


class MiniSyncNet(nn.Module):
    """Two towers, fully convolutional in time.

    An embedding has DIMENSIONS + 2 numbers and length 1. The last two are private dimensions, one per tower. A window
    without information can put its length there: its cosine with everything is then near 0, and it adds a flat row to
    the curve instead of a noisy one.
    """

    mfcc_mean: Tensor
    mfcc_std: Tensor

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mfcc_mean", torch.zeros(13))
        self.register_buffer("mfcc_std", torch.ones(13))
        self.lip_image = nn.Sequential(
            _block(N_FRAMES, 32, 5, 2, 2),
            _block(32, 64, 3, 2, 1),
            _block(64, 96, 3, 2, 1),
            _Residual(_block(96, 96, 3, 1, 1)),
            _block(96, 128, 3, 2, 1),
            _Residual(_block(128, 128, 3, 1, 1)),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(128 * 9, WIDTH, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(inplace=True),
        )
        self.lip_time = nn.Sequential(
            _Temporal(WIDTH, dropout), _Temporal(WIDTH, dropout), nn.Dropout(dropout), nn.Conv1d(WIDTH, DIMENSIONS, 1)
        )
        self.audio_image = nn.Sequential(
            _block(1, 32, (3, 4), (1, 2), (1, 0)),
            _block(32, 64, (3, 4), (2, 2), (1, 0)),
            _block(64, 96, 3, (2, 1), (1, 0)),
            _block(96, 128, 3, (2, 1), (1, 0)),
        )
        self.audio_time = nn.Sequential(_Temporal(WIDTH, dropout), nn.Dropout(dropout), nn.Conv1d(WIDTH, DIMENSIONS, 1))
        self.log_scale = nn.Parameter(torch.tensor(2.3))  # of the cosines in the loss; unused afterwards

    def lip(self, mouths: Tensor) -> Tensor:
        """uint8[B, T, 48, 48], grey -> float32[B, T - 4 - 2 * LIP_CONTEXT, DIMENSIONS + 2]."""
        x = mouths.float()
        x = (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + FLAT)
        windows = x.unfold(1, N_FRAMES, 1).permute(0, 1, 4, 2, 3)
        clips, count = windows.shape[:2]
        images = windows.reshape(clips * count, N_FRAMES, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
        features = self.lip_image(images).view(clips, count, WIDTH).transpose(1, 2)
        return _unit(self.lip_time(features).transpose(1, 2), slot=0)

    def audio(self, mfcc: Tensor) -> Tensor:
        """float32[B, M, 13] -> float32[B, (M - 20 - 2 * AUDIO_CONTEXT) // 4 + 1, DIMENSIONS + 2]."""
        x = ((mfcc - self.mfcc_mean) / self.mfcc_std).transpose(1, 2)[:, None]
        features = self.audio_image(x.contiguous(memory_format=torch.channels_last)).flatten(1, 2)
        return _unit(self.audio_time(features).transpose(1, 2), slot=1)


Size = int | tuple[int, int]


def _block(inputs: int, outputs: int, kernel: Size, stride: Size, padding: Size) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    """x + block(x), the block keeping the shape."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.block(x)
        return out


class _Temporal(nn.Module):
    """A convolution over three time steps without padding, added to the middle one: [B, C, T] -> [B, C, T - 2]."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Dropout(dropout),
            nn.Conv1d(channels, channels, 3, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x[:, :, 1:-1] + self.block(x)
        return out


def _unit(x: Tensor, slot: int) -> Tensor:
    """Append (1, 0) or (0, 1) and scale to length 1."""
    rest = torch.eye(2, dtype=x.dtype, device=x.device)[slot].expand(*x.shape[:-1], 2)
    return functional.normalize(torch.cat([x, rest], -1), dim=-1)


def grey_crops(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[T, 224, 224, 3] BGR -> uint8[T, 84, 84]: the region AROUND the mouth, grey and resized."""
    out = np.empty((len(frames), CROP, CROP), np.uint8)
    for image, frame in zip(out, frames, strict=True):
        cv2.resize(cv2.cvtColor(frame[AROUND], cv2.COLOR_BGR2GRAY), (CROP, CROP), image, interpolation=cv2.INTER_AREA)
    return out


def features(curve: SyncCurve, lip: Floats, mfcc: Floats) -> NDArray[np.float64]:
    """float64[6]: the calibration's input.

    0. the constant 1;
    1. the curve's minimum;
    2. sharpness: the curve's mean at four to six frames from the minimum, minus the minimum (0 if a short clip has no
       values there);
    3. spread: the standard deviation of the windows' distances at the minimum;
    4. similarity of the lips: the squared length of the mean lip embedding without the private dimensions;
    5. liveliness of the audio: the mean, over MFCC 1 ... 12, of the natural logarithm of the standard deviation over
       audible frames; noise and music make it small.
    """
    mean = curve.mean.astype(np.float64)
    best = int(np.nanargmin(mean))
    lowest = mean[best]
    far = np.abs(np.arange(len(mean)) - best)
    around = mean[(far >= 4) & (far <= 6) & ~np.isnan(mean)]
    sharpness = around.mean() - lowest if len(around) else 0.0
    spread = np.nanstd(curve.distances[:, best].astype(np.float64))
    alike = float(np.square(lip[:DIMENSIONS].astype(np.float64)).sum())
    audible = mfcc[mfcc[:, 0] >= mfcc[:, 0].max() - AUDIBLE].astype(np.float64)
    lively = float(np.log(audible[:, 1:].std(0) + STILL).mean())
    return np.array([1.0, lowest, sharpness, spread, alike, lively])


@dataclass(frozen=True, slots=True)
class Calibration:
    """Maps `features` to estimates of SyncNet's scores.

    p, the probability that lips and audio belong together, is the logistic function of the first four features times
    `together`. An estimate lies between APART (p = 0) and a linear function of all six features (p = 1). Without this
    gate, features that measure audio and video quality rather than sync would give mismatched clips a high score.
    """

    together: tuple[float, ...]
    lse_d: tuple[float, ...]
    lse_c: tuple[float, ...]

    def __call__(self, curve: SyncCurve, lip: Floats, mfcc: Floats) -> tuple[float, float]:
        """(LSE-D, LSE-C), neither below 0; the arguments are those of `features`."""
        return self.of(features(curve, lip, mfcc))

    def of(self, row: NDArray[np.float64]) -> tuple[float, float]:
        """(LSE-D, LSE-C) from one row of features, neither below 0."""
        p = float(probability(row, np.array(self.together)))
        lse_d, lse_c = (1 - p) * np.array(APART) + p * (np.array([self.lse_d, self.lse_c]) @ row)
        return max(0.0, float(lse_d)), max(0.0, float(lse_c))


def probability(rows: NDArray[np.float64], together: NDArray[np.float64]) -> NDArray[np.float64]:
    """Calibration's p: the logistic function of the first features of float64[..., 6] times weights float64[4]."""
    return 1.0 / (1.0 + np.exp(-(rows[..., : len(together)] @ together)))


class MiniEmbedder:
    """The built-in model behind `lipscore.syncnet.models.sync_pass.Embedder`.

    At the ends of the input, the outermost frame (or MFCC) is repeated as context.
    """

    name = "mini"
    unrelated = APART
    pads = False
    context = max(LIP_CONTEXT, -(-(AUDIO_CONTEXT + AUDIO_LAG) // MFCC_PER_FRAME))

    def __init__(
        self, net: MiniSyncNet, calibration: Calibration, device: torch.device, pool: Pool | None = None
    ) -> None:
        self._net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.calibration = calibration
        self._device, self._pool = device, pool or Pool()
        self._batches = Batches(BATCH, device)

    def lip(self, frames: NDArray[np.uint8]) -> Floats:
        """uint8[T, 224, 224, 3] BGR, T >= 5 -> float32[T - 4, 130], one per window of five frames."""
        return self.lip_of_mouths(grey_crops(frames)[:, MOUTH[0], MOUTH[1]])

    def lip_of_mouths(self, mouths: NDArray[np.uint8]) -> Floats:
        """uint8[T, 48, 48], grey mouth regions, T >= 5 -> float32[T - 4, 130]."""
        source = torch.from_numpy(np.pad(mouths, ((LIP_CONTEXT, LIP_CONTEXT), (0, 0), (0, 0)), mode="edge"))
        return self._through(self._net.lip, source, step=1, beyond=N_FRAMES - 1 + 2 * LIP_CONTEXT)

    def audio(self, mfcc: Floats) -> Floats:
        """float32[M, 13] at 100 per second, M >= 20 -> float32[(M - 20) // 4 + 1, 130], one per window of twenty."""
        around = (AUDIO_CONTEXT + AUDIO_LAG, AUDIO_CONTEXT - AUDIO_LAG)
        source = torch.from_numpy(np.pad(mfcc, (around, (0, 0)), mode="edge"))
        beyond = N_MFCC + 2 * AUDIO_CONTEXT - MFCC_PER_FRAME
        return self._through(self._net.audio, source, step=MFCC_PER_FRAME, beyond=beyond)

    def _through(self, tower: Callable[[Tensor], Tensor], source: Tensor, step: int, beyond: int) -> Floats:
        """The tower over windows `step` rows apart; the last window of a batch sees `beyond` rows more."""

        @torch.inference_mode()
        def embed(start: int, stop: int) -> Tensor:
            return tower(source[None, start * step : stop * step + beyond].to(self._device))[0]

        with on_device(self._device):
            parts = self._batches.over((len(source) - beyond) // step, embed, spread=self._pool.spread)
            return torch.cat(to_host(*parts)).numpy()

    def open(self, pcm: NDArray[np.int16], n_frames: int, vshift: int) -> MiniPass:
        """A pass over a track (`lipscore.types.SyncModel`)."""
        return MiniPass(self, pcm, n_frames, vshift)


class MiniPass(WindowPass):
    """A pass whose scores are estimates of SyncNet's: the calibration reads the curve, the lips and the audio."""

    def __init__(self, model: MiniEmbedder, pcm: NDArray[np.int16], n_frames: int, vshift: int) -> None:
        super().__init__(model, mfcc_of(pcm), len(pcm), n_frames, vshift)
        self._calibration = model.calibration

    def scores(self, curve: SyncCurve) -> tuple[float, float]:
        """(LSE-D, LSE-C) as SyncNet v2 would give them under protocol mochabench, as far as this model can tell."""
        return self._calibration(curve, self.lip(), self.mfcc)


def save_mini(net: MiniSyncNet, calibration: Calibration, path: Path) -> None:
    """Write weights (kernels in half precision, to save space) and calibration as one safetensors file."""
    state = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    stored = {key: (value.half() if value.ndim > 1 else value.float()).contiguous() for key, value in state.items()}
    numbers = json.dumps(asdict(calibration))
    path.write_bytes(save(stored, {"format": "lipscore-mini-3", "calibration": numbers}))


def load_mini(device: torch.device, path: Path = WEIGHTS, pool: Pool | None = None) -> MiniEmbedder:
    """The shipped model, or one that `lipscore train mini` wrote.

    Raises:
        WeightsError: the file is missing or is not a weight file of this model.
    """
    net = MiniSyncNet()
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
            numbers = json.loads((file.metadata() or {})["calibration"])
        missing, unexpected = net.load_state_dict(state, strict=False)
        wrong = [key for key in missing if not key.endswith("num_batches_tracked")] + list(unexpected)
        if wrong:
            raise KeyError(wrong[0])
        calibration = Calibration(*(tuple(numbers[name]) for name in ("together", "lse_d", "lse_c")))
    except (OSError, SafetensorError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise WeightsError(
            f"{path}: not the built-in model's weights ({error}); install lipscore again, or run lipscore train mini"
        ) from error
    return MiniEmbedder(net, calibration, device, pool)


@cache
def mini_sha256(path: Path = WEIGHTS) -> str:
    """Hex SHA-256 of a weight file, read once."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def held_out_figures() -> dict[str, Any]:
    """The figures on held-out clips: "held_out" in the training record (docs/measures/model-card.md)."""
    figures: dict[str, Any] = json.loads(RECORD.read_text())["held_out"]
    return figures
