"""Train the built-in model: videos and face boxes in; weight file, calibration and training record out.

Recipe holds the numbers of the recipe. docs/notes/model-card-attempts.md lists what else was tried and what helped.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

import lipscore
from lipscore.errors import UsageError
from lipscore.faces.yunet import YunetDetector
from lipscore.media.files.aside import written_aside
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.models.mini import MiniSyncNet, save_mini
from lipscore.training.batches import Batch, Clip, draw
from lipscore.training.clips import RENDERED, read_clips, rendered_clips
from lipscore.training.generators import LEADS, family_of
from lipscore.training.mini import figures, losses
from lipscore.training.mini.calibrate import read_published
from lipscore.training.split import Split, leave_out, split_clips
from lipscore.types import Floats

STEPS = 1500
FOLDS = 8
Progress = Callable[[str, int, int], None]  # (stage, done, of how many)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The hyperparameters.

    A step uses clips x length windows. lr is the peak of a one-cycle schedule (linear rise over the fraction `rise` of
    the steps, cosine fall). ema is the decay of the averaged weights, which are the ones that are kept. A checkpoint is
    written every `every` steps.
    """

    steps: int = STEPS
    seed: int = 0
    clips: int = 8
    length: int = 48
    lr: float = 2e-3
    rise: float = 0.15
    weight_decay: float = 0.05
    dropout: float = 0.1
    ema: float = 0.997
    clip_norm: float = 5.0
    every: int = 250


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The settings that all trainings of one run share."""

    recipe: Recipe
    device: torch.device
    out: Path
    resume: bool
    say: Progress


@dataclass(slots=True)
class _State:
    """The content of a checkpoint."""

    net: MiniSyncNet
    averaged: MiniSyncNet
    optimizer: torch.optim.Optimizer
    step: int
    curve: list[dict[str, float]]


def train_mini(
    clips: Path,
    boxes: Path,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    steps: int = STEPS,
    folds: int = FOLDS,
    more: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train the built-in model.

    One training per fold leaves that fold out (`split`). The record's figures and the calibration come from the
    held-out clips, whose scenes and speech those weights have never met. With enough clips below `more`, one training
    uses nothing else, and the clips with boxes are measured with it. A last training uses all clips, and its
    weights are written. The calibration reads `published_scores.csv` from the clips folder's parent.

    Args:
        clips: the folder that the names in `boxes` are relative to.
        boxes: face boxes, in the format of `training.clips.read_boxes`.
        out: the weight file to write (safetensors). The record gets the same name with .json, the checkpoints get
            .fold1.checkpoint ... and .all.checkpoint.
        device: where the towers are trained.
        seed: for the folds' order, the initial weights and all random draws.
        steps: steps per training; with resume, another number stretches or shortens the schedule.
        folds: the number of folds, at least two.
        more: a folder of videos of other generators and of real people (`training.generators`). Each family of
            generators is left out of one fold's training, and measured with it.
        resume: continue from existing checkpoints.
        progress: called with (stage, done, total).

    Returns:
        out.

    Raises:
        UsageError: the clips, boxes or published scores cannot be used.
    """
    say = progress or _silent
    recipe = Recipe(steps=steps, seed=seed)
    if folds < 2:
        raise UsageError(f"--folds {folds}: the figures need clips that were held out; use 2 or more")
    published = read_published(clips.parent / "published_scores.csv")
    data = read_clips(clips, boxes, more, say)
    known = [clip for clip in data if not clip.generator]
    if len(known) < recipe.clips + folds:
        raise UsageError(
            f"{boxes}: {len(known)} clips; training needs at least {recipe.clips + folds}, and hundreds to be any good"
        )
    families: dict[str, list[str]] = {}
    for clip in data[len(known) :]:
        families.setdefault(family_of(clip.generator), []).append(clip.name)
    try:
        split = leave_out(split_clips({clip.name: clip.pcm for clip in known}, folds, seed), families)
    except UsageError as error:
        raise UsageError(f"{boxes}: {error}") from error
    run = TrainingRun(recipe, torch.device(device), out, resume, say)
    drawn = rendered_clips()
    measured = _measured(data, drawn, split, [*split.recordings, *families.values()], run)
    state = fit(_in_sync(data) + drawn, run, "all")
    return _finish(state, measured, split, published, run, boxes)


def _measured(
    data: Sequence[Clip], drawn: Sequence[Clip], split: Split, groups: Sequence[Sequence[str]], run: TrainingRun
) -> figures.Measured:
    """Train without each fold, and without all clips that have boxes; measure what was left out.

    Args:
        groups: names of clips with the same speech, or of one family of generators.
    """
    folds = []
    for number, fold in enumerate(split.folds, 1):
        embedder = figures.raw_embedder(fit([*_in_sync(data, fold.trained), *drawn], run, f"fold{number}").averaged)
        held_out, left_out = ([clip for clip in data if clip.name in side] for side in (fold.held_out, fold.left_out))
        folds.append(
            figures.MeasuredFold(
                figures.measure(embedder, held_out, groups),
                figures.measure(embedder, left_out, groups, strangers=held_out),
            )
        )
    others = [clip for clip in data if clip.generator]
    if len(others) < run.recipe.clips:
        return figures.Measured(folds, [])
    embedder = figures.raw_embedder(fit([*_in_sync(others), *drawn], run, "others").averaged)
    return figures.Measured(folds, figures.measure(embedder, [clip for clip in data if not clip.generator], groups))


def _finish(
    state: _State,
    measured: figures.Measured,
    split: Split,
    published: dict[str, tuple[float, float]],
    run: TrainingRun,
    boxes: Path,
) -> Path:
    """Calibrate, write the weights, and write the record."""
    held_out = [fold.held_out for fold in measured.folds]
    save_mini(state.averaged, figures.calibration_of(held_out, published), run.out)
    record = {
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "weights_sha256": hashlib.sha256(run.out.read_bytes()).hexdigest(),
        "recipe": dataclasses.asdict(run.recipe),
        "data": {
            "boxes": boxes.name,
            "boxes_sha256": hashlib.sha256(boxes.read_bytes()).hexdigest(),
            "detector": YunetDetector.name,
            "rendered": RENDERED,
            "leads": LEADS,
            **dataclasses.asdict(split),
        },
        "versions": {"lipscore": lipscore.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "curve": state.curve,
        "held_out": figures.summary(held_out, published),
        "left_out": figures.by_generator(measured.folds, published),
        "others_only": figures.without_the_known(measured.unmet, measured.folds, published) if measured.unmet else None,
    }
    run.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    return run.out


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _in_sync(data: Sequence[Clip], names: Container[str] | None = None) -> list[Clip]:
    """The clips with these names, or all, each with its generator's lead taken out."""
    return [clip.in_sync() for clip in data if names is None or clip.name in names]


def fit(train: Sequence[Clip], run: TrainingRun, name: str) -> _State:
    """One training, continued from its checkpoint (OUT.NAME.checkpoint) if the run resumes."""
    recipe = run.recipe
    cv2.setNumThreads(1)
    rows = np.concatenate([mfcc(clip.pcm) for clip in train])
    mean: Floats = rows.mean(0)
    state = _start(mean, rows.std(0), recipe, run.device)
    checkpoint = run.out.with_suffix(f".{name}.checkpoint")
    if run.resume and checkpoint.is_file():
        _load(state, checkpoint)

    def prepared(step: int) -> Batch:
        return draw(train, recipe.clips, recipe.length, mean, np.random.default_rng([recipe.seed, step]))

    total, counted = 0.0, 0
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(prepared, state.step)
        while state.step < recipe.steps:
            batch = coming.result()
            coming = pool.submit(prepared, state.step + 1)
            total += _step(state, batch, recipe, run.device)
            counted += 1
            state.step += 1
            run.say(f"training {name}", state.step, recipe.steps)
            if state.step % recipe.every == 0 or state.step == recipe.steps:
                state.curve.append({"step": state.step, "loss": round(total / counted, 4)})
                total, counted = 0.0, 0
                _save(state, checkpoint)
    return state


def _start(mean: Floats, deviation: Floats, recipe: Recipe, device: torch.device) -> _State:
    torch.manual_seed(recipe.seed)
    net = MiniSyncNet(recipe.dropout)
    net.mfcc_mean.copy_(torch.from_numpy(mean))
    net.mfcc_std.copy_(torch.from_numpy(deviation))
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return _State(net, copy.deepcopy(net), torch.optim.AdamW(groups, lr=recipe.lr), 0, [])


def learning_rate(step: int, recipe: Recipe) -> float:
    """The one-cycle schedule: linear up to the peak, then half a cosine down to 0."""
    rise = recipe.rise * recipe.steps
    if step < rise:
        return recipe.lr * (0.04 + 0.96 * step / rise)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, recipe.steps - rise)))


def _step(state: _State, batch: Batch, recipe: Recipe, device: torch.device) -> float:
    """One update; returns the loss."""
    net = state.net.train()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, recipe)
    with torch.autocast(device.type, torch.bfloat16):
        lip = net.lip(torch.from_numpy(batch.mouths).to(device))
        audio = net.audio(torch.from_numpy(batch.mfcc).to(device))
    loss = losses.contrast(lip.float(), audio.float(), net.log_scale.exp().clamp(max=60))
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
    state.optimizer.step()
    # a shorter memory early on, so that the initial weights are forgotten
    _average(state.averaged, net, min(recipe.ema, (1 + state.step) / (10 + state.step)))
    return loss.item()


@torch.no_grad()
def _average(averaged: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the averaged parameters and running statistics towards the net's."""
    for old, new in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def _save(state: _State, path: Path) -> None:
    content: dict[str, Any] = {
        "net": state.net.state_dict(),
        "averaged": state.averaged.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "curve": state.curve,
    }
    with written_aside(path) as aside:
        torch.save(content, aside)


def _load(state: _State, path: Path) -> None:
    content = torch.load(path, weights_only=True, map_location="cpu")
    state.net.load_state_dict(content["net"])
    state.averaged.load_state_dict(content["averaged"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.step, state.curve = content["step"], content["curve"]
