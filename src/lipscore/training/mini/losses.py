"""The training loss: find a window's audio among all windows of its own clip.

InfoNCE (van den Oord et al. 2018), in both directions. Negatives come from the same clip only: with negatives from
other clips, the towers learn which face goes with which voice, which does not help with new faces
(docs/notes/model-card-attempts.md has figures).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NEAR = 0.15  # the target's share for each neighbouring window, because the clips are in sync only to about a frame


def contrast(lip: Tensor, audio: Tensor, scale: Tensor) -> Tensor:
    """The scalar loss of unit embeddings [B, L, D] and [B, L, D]; `scale` multiplies the cosines."""
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
