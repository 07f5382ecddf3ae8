"""From embedded clips to a long-range head, by folds that share neither scene nor speech, and its training record."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import lipscore
from lipscore.errors import UsageError
from lipscore.media.files.aside import replace_whole, written_aside
from lipscore.metrics.longrange import REACH, cosine_map
from lipscore.syncnet.models.fcn import OffsetHead, features, reading, save_head, soft_offset
from lipscore.syncnet.models.sync_pass import Embedder
from lipscore.training.fcn.evaluate import (
    by_head,
    by_nothing,
    by_root_n,
    figures,
    measure,
    paired_difference,
    windows_in,
)
from lipscore.training.fcn.streams import File, Shape, Stream, embed_clips, files, named
from lipscore.training.split import split_clips

Progress = Callable[[str, int, int], None]  # (stage, done, of how many)
LENGTHS = (48, 260)  # windows of a training file
LEAST_OVERLAP = 16  # windows that a training file has at its own offset
STRANGERS = 0.2
PER_CLIP = 8  # files an epoch per clip
NEIGHBOUR = 0.1  # of the target, on either side of the true shift
REGRESSION = 0.02  # of the loss: Huber of the regression reading, in frames
NEAR = 3.0  # frames of the truth within which the regression reading is trained: the peak itself is right
CHECKED = 120  # held-out files after each epoch
EVALUATED = ((5.0, (0, 0)), (10.0, (0, 0)), (15.0, (0, 0)), (5.0, (REACH, REACH)))  # seconds, sound around


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training is made of; lr is the peak of a one-cycle schedule."""

    epochs: int = 10
    lr: float = 3e-3
    batch_size: int = 8
    max_offset: int = REACH
    use_attention: bool = False
    val_share: float = 0.25
    folds: int = 2
    seed: int = 0
    weight_decay: float = 1e-3
    clip_norm: float = 1.0


def train_fcn(
    clips: Path,
    boxes: Path,
    out: Path,
    embedder: Embedder,
    towers_sha256: str,
    recipe: Recipe | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train the head on frozen towers.

    A training per fold leaves that fold out and gives the record's figures. A last training uses all clips except the
    share that decides when to stop. The function writes `out`, its record (the same name with .json) and a checkpoint
    per epoch (.NAME.checkpoint).

    Args:
        clips: the folder that the names in `boxes` are relative to.
        boxes: as `training.clips.read_boxes` takes them.
        towers_sha256: of the towers' weight file; other towers refuse the head.
        resume: continue from existing checkpoints.
        progress: called with (stage, done, total).

    Returns:
        out.

    Raises:
        UsageError: the clips or the boxes cannot be used, or there are too few.
    """
    recipe, say = recipe or Recipe(), progress or _silent
    streams, sounds = embed_clips(clips, boxes, embedder, say)
    split = split_clips(sounds, recipe.folds, recipe.seed)
    held_out = []
    for number, fold in enumerate(split.folds, 1):
        head, _ = fit(named(streams, fold.trained), recipe, out, f"fold{number}", resume=resume, say=say)
        held_out.append(compare(head, named(streams, fold.held_out), recipe))
    head, curve = fit(streams, recipe, out, "all", resume=resume, say=say)
    save_head(head, out, towers_sha256, recipe.max_offset)
    record = {
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "recipe": dataclasses.asdict(recipe),
        "towers_sha256": towers_sha256,
        "parameters": sum(p.numel() for p in head.parameters()),
        "clips": len(streams),
        "recordings": len(split.recordings),
        "folds": [dataclasses.asdict(fold) for fold in split.folds],
        "versions": {"lipscore": lipscore.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "curve": curve,
        "held_out": held_out,
    }
    replace_whole(out.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    return out


def compare(head: OffsetHead, streams: Sequence[Stream], recipe: Recipe, samples: int = 200) -> list[dict[str, Any]]:
    """Compare a head with root n and with the constant 0, by length, on clips that it was not trained on.

    Lengths with too few such clips are left out.
    """
    methods = {"root-n": by_root_n, "head": by_head(head), "constant 0": by_nothing}
    rows = []
    for seconds, around in EVALUATED:
        shape = Shape(windows_in(seconds), around, recipe.max_offset)
        try:
            items = measure(streams, shape, methods, samples, recipe.seed)
        except UsageError:
            continue
        rows.append(
            {
                "seconds": seconds,
                "whole_sound": around != (0, 0),
                **{name: figures(items, name, recipe.max_offset) for name in methods},
                "head_minus_root_n": paired_difference(items, "root-n", "head"),
            }
        )
    return rows


@dataclass(slots=True)
class _State:
    head: OffsetHead
    optimizer: torch.optim.Optimizer
    best: OffsetHead
    epoch: int = 0
    best_mae: float = math.inf
    curve: list[dict[str, float]] = dataclasses.field(default_factory=list)


def fit(
    streams: Sequence[Stream],
    recipe: Recipe,
    out: Path,
    name: str,
    *,
    resume: bool = False,
    say: Progress | None = None,
) -> tuple[OffsetHead, list[dict[str, float]]]:
    """One training: the head of the epoch with the lowest mean error on `val_share` of the recordings, and its curve.

    Raises:
        UsageError: the clips are too few.
    """
    say = say or _silent
    train, check = _set_apart(streams, recipe)
    state = _start(recipe)
    checkpoint = out.with_suffix(f".{name}.checkpoint")
    if resume and checkpoint.is_file():
        _load(state, checkpoint)
    steps = max(1, len(train) * PER_CLIP // recipe.batch_size)
    held = list(itertools.islice(samples(check, recipe, np.random.default_rng([recipe.seed, 1])), CHECKED))
    while state.epoch < recipe.epochs:
        drawn = samples(train, recipe, np.random.default_rng([recipe.seed, 2, state.epoch]))
        total = 0.0
        for step in range(steps):
            at = (state.epoch * steps + step) / (recipe.epochs * steps)
            for group in state.optimizer.param_groups:
                group["lr"] = recipe.lr * _one_cycle(at)
            total += _step(state, list(itertools.islice(drawn, recipe.batch_size)), recipe)
            say(f"training {name}", state.epoch * steps + step + 1, recipe.epochs * steps)
        state.epoch += 1
        mae = _mae(state.head, held, recipe)
        state.curve.append({"epoch": state.epoch, "loss": round(total / steps, 4), "held_out_mae": round(mae, 3)})
        if mae < state.best_mae:
            state.best_mae, state.best = mae, copy.deepcopy(state.head)
        _save(state, checkpoint)
    return state.best.eval(), state.curve


def samples(streams: Sequence[Stream], recipe: Recipe, rng: np.random.Generator) -> Iterator[File]:
    """Training files: half with the file's sound around the picture, half without, a fifth with another's sound."""
    kinds = [
        files(streams, Shape(LENGTHS, around, recipe.max_offset), rng, STRANGERS)
        for around in ((0, 0), (0, recipe.max_offset))
    ]
    while True:
        file = next(kinds[int(rng.integers(2))])
        if file.offset is None or _overlap(file) >= LEAST_OVERLAP:
            yield file


def _overlap(file: File) -> int:
    """Windows that have their sound at the file's own offset."""
    assert file.offset is not None
    start = file.first - file.offset
    return min(len(file.audio), start + len(file.lip)) - max(0, start)


def target(file: File, reach: int) -> Tensor:
    """float32[2 * reach + 2]: the true shift and its neighbours, or the last for another's sound."""
    wanted = torch.zeros(2 * reach + 2)
    if file.offset is None:
        wanted[-1] = 1
        return wanted
    at = reach - file.offset
    for neighbour in (at - 1, at + 1):
        if 0 <= neighbour <= 2 * reach:
            wanted[neighbour] = NEIGHBOUR
    wanted[at] = 1 - float(wanted.sum())
    return wanted


def loss_of(logits: Tensor, wanted: Tensor, offsets: Sequence[int | None]) -> Tensor:
    """Cross entropy, and a share of the Huber loss of the regression reading where the peak is near the truth."""
    log_p = functional.log_softmax(logits, 1)
    known = torch.isfinite(log_p)
    wanted = torch.where(known, wanted, 0)
    wanted = wanted / wanted.sum(1, keepdim=True).clamp_min(1e-6)
    loss = -torch.where(known, wanted * log_p, 0).sum(1).mean()
    own = [k for k, offset in enumerate(offsets) if offset is not None]
    if own:
        truth = torch.tensor([float(offsets[k] or 0) for k in own])
        off = soft_offset(logits[own]) - truth
        near = off[off.abs() <= NEAR]
        if len(near):
            loss = loss + REGRESSION * functional.huber_loss(near, torch.zeros_like(near))
    return loss


def _step(state: _State, batch: Sequence[File], recipe: Recipe) -> float:
    """One update; gives the loss. Files differ in length: each goes through alone, their sums together."""
    head = state.head.train()
    logits = torch.cat([head(_features(file, recipe)) for file in batch])
    wanted = torch.stack([target(file, recipe.max_offset) for file in batch])
    loss = loss_of(logits, wanted, [file.offset for file in batch])
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(head.parameters(), recipe.clip_norm)
    state.optimizer.step()
    return loss.item()


def _features(file: File, recipe: Recipe) -> Tensor:
    return torch.from_numpy(features(cosine_map(file.lip, file.audio, file.first, recipe.max_offset)))[None]


@torch.inference_mode()
def _mae(head: OffsetHead, held: Sequence[File], recipe: Recipe) -> float:
    head = head.eval()
    errors = [
        abs(reading(head(_features(file, recipe))[0]).offset - file.offset) for file in held if file.offset is not None
    ]
    return float(np.mean(errors))


def _set_apart(streams: Sequence[Stream], recipe: Recipe) -> tuple[list[Stream], list[Stream]]:
    """Whole recordings for the training, and for choosing its epoch."""
    numbers = sorted({stream.recording for stream in streams})
    order = np.random.default_rng([recipe.seed, 3]).permutation(numbers)
    chosen = set(order[: max(1, round(recipe.val_share * len(numbers)))].tolist())
    return (
        [stream for stream in streams if stream.recording not in chosen],
        [stream for stream in streams if stream.recording in chosen],
    )


def _start(recipe: Recipe) -> _State:
    torch.manual_seed(recipe.seed)
    head = OffsetHead(recipe.use_attention)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return _State(head, optimizer, copy.deepcopy(head))


def _one_cycle(at: float, rise: float = 0.2) -> float:
    """From 0 to 1 over the first `rise` of the training, then half a cosine down to 0."""
    if at < rise:
        return 0.04 + 0.96 * at / rise
    return 0.5 * (1 + math.cos(math.pi * (at - rise) / (1 - rise)))


def _save(state: _State, path: Path) -> None:
    content = {
        "head": state.head.state_dict(),
        "best": state.best.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "best_mae": state.best_mae,
        "curve": state.curve,
    }
    with written_aside(path) as aside:
        torch.save(content, aside)


def _load(state: _State, path: Path) -> None:
    content = torch.load(path, weights_only=True, map_location="cpu")
    state.head.load_state_dict(content["head"])
    state.best.load_state_dict(content["best"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.epoch, state.best_mae, state.curve = content["epoch"], content["best_mae"], content["curve"]


def _silent(stage: str, done: int, total: int) -> None:
    pass
