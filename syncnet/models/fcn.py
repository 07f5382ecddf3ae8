"""The long-range head: a small network that turns a map of cosines of any length into one answer per file.

"Fully convolutional" is the idea of R-V-Abhishek/Syncnet_FCN: the towers run once over a whole track, their products
make a map, and a head reads the map. The published head takes the shifts as channels, so it must learn every offset
separately. Here every layer treats all shifts alike, so what the head learns at one offset applies to all of them. Its
sign is SyncNet's.

A head belongs to its towers: the weight file names them by their SHA-256.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from lipscore.errors import WeightsError
from lipscore.media.files.aside import replace_whole
from lipscore.types import Floats

POOL = 4  # windows averaged into a step
FEATURES = 2  # cosine, share known
WIDTH = 12
LEAST = 4  # windows under which a shift takes no part
CLAMP = 6.0  # of a cell's logarithmic weight
SOFT = 2  # frames around the peak that the regression reading averages over
CONTEXT = 2  # steps to either side that a step's weight depends on: two kernels of three
BLOCK = 64  # steps through the head at a time: ten seconds
FORMAT = "lipscore-fcn-1"


def features(cosines: Floats) -> Floats:
    """The head's input for a map.

    Args:
        cosines: float32[W, D], NaN for windows without sound (`lipscore.metrics.longrange.cosine_map`).

    Returns:
        float32[2, ceil(W / POOL), D]: for each POOL windows, the mean of the known cosines, and their share, 0 ... 1.
    """
    known = ~np.isnan(cosines)
    cells = np.stack([np.where(known, cosines, 0), known]).astype(np.float32)
    cells = np.pad(cells, ((0, 0), (0, -len(cosines) % POOL), (0, 0)))
    total, count = cells.reshape(FEATURES, -1, POOL, cosines.shape[1]).sum(2)
    return np.stack([total / np.maximum(count, 1), count / POOL])


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums that a head keeps of a part of a file; those of several parts are added up. Tensors [B, D]."""

    weighted: Tensor
    weight: Tensor
    plain: Tensor
    count: Tensor

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.weighted + other.weighted,
            self.weight + other.weight,
            self.plain + other.plain,
            self.count + other.count,
        )


class OffsetHead(nn.Module):
    """From a map's features to a logit per shift, and one for "none of them".

    Args:
        attention: apply self-attention over the steps before they are weighted; it starts without effect (gamma 0).
    """

    def __init__(self, attention: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(FEATURES, WIDTH, (3, 5), padding=(1, 2))
        self.second = nn.Conv2d(WIDTH, WIDTH, (3, 5), padding=(1, 2))
        self.read = nn.Conv2d(WIDTH, 2, 1)
        self.along = nn.Sequential(
            *(nn.Conv1d(3, 16, 9, padding=4), nn.ReLU()),
            *(nn.Conv1d(16, 16, 9, padding=4), nn.ReLU(), nn.Conv1d(16, 1, 1)),
        )
        self.none_bias = nn.Parameter(torch.tensor(2.0))
        self.none_scale = nn.Parameter(torch.tensor(0.0))  # of the logarithm of the windows at shift 0
        self.attention = _StepAttention() if attention else None

    def sums(self, x: Tensor, steps: slice = slice(None)) -> Sums:
        """float32[B, 2, T, D] -> the sums for the file's answer, over all steps or over some of them."""
        share = x[:, 1:2]
        known = (share > 0).to(x.dtype)
        hidden = functional.relu(self.first(x)) * known
        hidden = functional.relu(self.second(hidden)) * known
        value, log_weight = self.read(hidden).unbind(1)
        if self.attention is not None:
            log_weight = log_weight + self.attention(hidden, known)[:, :, None]
        cells = share[:, 0] * POOL
        weight = torch.exp(log_weight.clamp(-CLAMP, CLAMP)) * cells
        weighted, plain = weight * value, x[:, 0] * cells
        return Sums(*(part[:, steps].sum(1) for part in (weighted, weight, plain, cells)))

    def logits(self, sums: Sums) -> Tensor:
        """float32[B, D + 1], the last for "none"; -inf at shifts with fewer than LEAST windows.

        Column k is shift k - reach: an offset of reach - k frames.
        """
        n = sums.count
        mean = sums.weighted / sums.weight.clamp_min(1e-6)
        plain = sums.plain / n.clamp_min(1e-6)
        enough = n >= LEAST
        along = self.along(torch.stack([mean * enough, plain * enough, torch.log1p(n)], 1))[:, 0]
        scaled = (along * torch.sqrt(n / (n + 4))).masked_fill(~enough, -math.inf)
        none = self.none_bias + self.none_scale * torch.log1p(n.amax(1))
        return torch.cat([scaled, none[:, None]], 1)

    def forward(self, x: Tensor) -> Tensor:
        """float32[B, 2, T, D] -> float32[B, D + 1] (`logits`)."""
        return self.logits(self.sums(x))


class _StepAttention(nn.Module):
    """One block of self-attention over a file's steps, which changes each step's logarithmic weight."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.out = nn.Linear(WIDTH, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor, known: Tensor) -> Tensor:
        """float32[B, 12, T, D] and its mask [B, 1, T, D] -> float32[B, T]."""
        tokens = (hidden.sum(3) / known.sum(3).clamp_min(1)).transpose(1, 2)
        mixed, _ = self.attend(tokens, tokens, tokens, need_weights=False)
        added: Tensor = self.gamma * self.out(mixed)[:, :, 0]
        return added


class HeadPass:
    """A head's pass over a track's map, block by block: add() the map's rows in order, then read sums()."""

    def __init__(self, head: OffsetHead) -> None:
        self._head = head
        self._windows: Floats | None = None  # those that do not fill a step yet
        self._steps: Floats | None = None  # waiting, the first `_seen` of them as context only
        self._seen = 0
        self._sums: Sums | None = None

    def add(self, cosines: Floats) -> None:
        """Add the next windows: float32[W, D], NaN for windows without sound."""
        rows = cosines if self._windows is None else np.concatenate([self._windows, cosines])
        whole = len(rows) // POOL * POOL
        self._windows = rows[whole:].copy()
        self._push(rows[:whole])
        while self._steps is not None and self._steps.shape[1] - self._seen >= BLOCK + CONTEXT:
            self._run(self._seen + BLOCK)

    def sums(self) -> Sums | None:
        """The sums of the whole track, once all rows are added; None if it has no rows."""
        if self._windows is not None and len(self._windows):
            self._push(self._windows)
            self._windows = None
        if self._steps is not None and self._steps.shape[1] > self._seen:
            self._run(self._steps.shape[1])
        return self._sums

    def _push(self, rows: Floats) -> None:
        if len(rows):
            fresh = features(rows)
            self._steps = fresh if self._steps is None else np.concatenate([self._steps, fresh], 1)

    @torch.inference_mode()
    def _run(self, stop: int) -> None:
        """Process the waiting steps up to `stop`, and keep the overlap that the next steps need."""
        assert self._steps is not None
        part = torch.from_numpy(self._steps[None, :, : stop + CONTEXT])
        found = self._head.sums(part, slice(self._seen, stop))
        self._sums = found if self._sums is None else self._sums + found
        keep = max(0, stop - CONTEXT)
        self._steps, self._seen = self._steps[:, keep:], stop - keep


@dataclass(frozen=True, slots=True)
class Reading:
    """A head's answer for a file.

    offset: by classification, in frames. subframe: the offset between frames, by regression (a mean over the shifts
    within SOFT frames of the peak). probability: that of the peak and its two neighbours.
    """

    offset: int
    subframe: float
    probability: float


def reading(logits: Tensor) -> Reading:
    """The answer in one file's logits float32[D + 1]."""
    p = torch.softmax(logits.double(), 0)[:-1].numpy()
    reach, best = len(p) // 2, int(p.argmax())
    near = slice(max(0, best - SOFT), best + SOFT + 1)
    around = np.arange(len(p))[near]
    total = float(p[near].sum())
    middle = float((p[near] * around).sum() / total) if total > 0 else float(best)
    return Reading(reach - best, reach - middle, float(p[max(0, best - 1) : best + 2].sum()))


def soft_offset(logits: Tensor) -> Tensor:
    """float32[B, D + 1] -> float32[B]: the offsets by regression, differentiable."""
    shifts = logits[:, :-1]
    reach = shifts.shape[1] // 2
    best = shifts.argmax(1, keepdim=True)
    at = torch.arange(shifts.shape[1], device=logits.device)
    near = (at[None] - best).abs() <= SOFT
    weights = torch.softmax(shifts.masked_fill(~near, -math.inf), 1)
    return reach - (weights * at).sum(1)


def save_head(head: OffsetHead, path: Path, towers_sha256: str, reach: int) -> None:
    """Write a head as one safetensors file, which is complete or absent.

    Raises:
        MissingError: the file cannot be written.
    """
    about = json.dumps({"towers_sha256": towers_sha256, "reach": reach, "attention": head.attention is not None})
    state = {key: value.detach().cpu().contiguous() for key, value in head.state_dict().items()}
    replace_whole(path, save(state, {"format": FORMAT, "about": about}))


def load_head(path: Path, towers_sha256: str) -> tuple[OffsetHead, int]:
    """A head that `lipscore train fcn` wrote, and the range that it was trained for.

    Raises:
        WeightsError: the file does not exist, holds something else, or belongs to other towers.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise KeyError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
            about = json.loads(metadata["about"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        head = OffsetHead(about["attention"])
        head.load_state_dict(state)
        reach, towers = int(about["reach"]), str(about["towers_sha256"])
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{path}: not a head of lipscore train fcn ({error}); train one, or name its file"
        ) from error
    if towers != towers_sha256:
        raise WeightsError(
            f"{path}: trained on towers with SHA-256 {towers[:12]}..., not on these ({towers_sha256[:12]}...): "
            "a head works only with its own towers; train one for these"
        )
    return head.eval(), reach
