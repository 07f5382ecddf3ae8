"""What the two towers learn: to find a window's audio among all windows of its own clip.

InfoNCE (van den Oord et al. 2018), both ways. Other clips are no negatives: towers that may tell clips apart learn
which face goes with which voice, which says nothing about faces they have not seen (docs/model-card.md has figures).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NEAR = 0.15  # how much of the target goes to either neighbour: the clips are in sync to about a frame


def contrast(lip: Tensor, audio: Tensor, scale: Tensor) -> Tensor:
    """Embeddings [B, L, D] and [B, L, D] of length 1 -> the loss, a number; `scale` multiplies the cosines."""
    logits = lip @ audio.transpose(1, 2) * scale
    target = _near_identity(logits.shape[1], logits)
    return (_soft(logits, target) + _soft(logits.transpose(1, 2), target)) / 2


def _near_identity(length: int, like: Tensor) -> Tensor:
    ones = torch.ones(length, length, dtype=like.dtype, device=like.device)
    target = (1 - 2 * NEAR) * torch.eye(length, dtype=like.dtype, device=like.device)
    target += NEAR * ((ones.triu(1) - ones.triu(2)) + (ones.tril(-1) - ones.tril(-2)))
    return target / target.sum(1, keepdim=True)


def _soft(logits: Tensor, target: Tensor) -> Tensor:
    return -(functional.log_softmax(logits, -1) * target).sum(-1).mean()
