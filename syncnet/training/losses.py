"""What the two towers learn: to find the right audio among that of other clips, of the same clip, and of near shifts.

The first two are InfoNCE (van den Oord et al. 2018) both ways; the third is the score's own question, which shift of
the audio fits a run of windows best, asked with a cross-entropy over the shifts of its own audio and of another clip's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

VSHIFT = 15
NEAR = 0.15  # how much of the target goes to either neighbour: the clips are in sync to about a frame


def similarity(lip: Tensor, audio: Tensor) -> Tensor:
    """[B, L, D] and [B, L, D] of length 1 -> cosines [B, L, B, L]."""
    return torch.einsum("bld,cmd->blcm", lip, audio)


def contrast(cosines: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """(InfoNCE over the whole batch, InfoNCE within each clip), each the mean of both ways."""
    clips, length = cosines.shape[:2]
    logits = cosines * scale
    target = _near_identity(length, logits)
    within = torch.diagonal(logits, dim1=0, dim2=2).permute(2, 0, 1)
    own = (_soft(within, target) + _soft(within.transpose(1, 2), target)) / 2
    flat = logits.reshape(clips * length, clips * length)
    every = torch.kron(torch.eye(clips, dtype=target.dtype, device=target.device), target)
    return (_soft(flat, every) + _soft(flat.T, every)) / 2, own


def shift(cosines: Tensor, scale: Tensor, run: int) -> Tensor:
    """Cross-entropy over the shifts -15 ... 15 of the mean cosine over `run` windows in a row, lips and audio.

    The next clip's audio at the same 31 shifts stands beside the clip's own, all of it wrong. Only runs for which every
    shift has a partner count.
    """
    clips = torch.arange(len(cosines), device=cosines.device)
    own = _runs(cosines[clips, :, clips], run)
    runs = torch.cat([own, _runs(cosines[clips, :, clips.roll(1)], run)], -1)  # [B, runs, 62]
    target = runs.new_zeros(runs.shape[-1])
    target[VSHIFT - 1 : VSHIFT + 2] = runs.new_tensor([NEAR, 1 - 2 * NEAR, NEAR])
    return -(functional.log_softmax(runs * scale * run**0.5, -1) * target).sum(-1).mean()


def _runs(cosines: Tensor, run: int) -> Tensor:
    """[B, L, L] -> [B, L - 30 - run + 1, 31]: for each run of lips, its mean cosine at each shift."""
    length = cosines.shape[1]
    rows = torch.stack([cosines[:, i, i - VSHIFT : i + VSHIFT + 1] for i in range(VSHIFT, length - VSHIFT)], 1)
    return functional.avg_pool1d(rows.transpose(1, 2), run, 1).transpose(1, 2)


def _near_identity(length: int, like: Tensor) -> Tensor:
    ones = torch.ones(length, length, dtype=like.dtype, device=like.device)
    target = (1 - 2 * NEAR) * torch.eye(length, dtype=like.dtype, device=like.device)
    target += NEAR * ((ones.triu(1) - ones.triu(2)) + (ones.tril(-1) - ones.tril(-2)))
    return target / target.sum(1, keepdim=True)


def _soft(logits: Tensor, target: Tensor) -> Tensor:
    return -(functional.log_softmax(logits, -1) * target).sum(-1).mean()
