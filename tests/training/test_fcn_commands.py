"""`detect --method head`, `lipscore evaluate` and `lipscore train fcn` on drawn clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from typer.testing import CliRunner

from lipscore.demo.clips import render_clip
from lipscore.errors import WeightsError
from lipscore.eval.cli.main import app
from lipscore.eval.options import DetectOptions
from lipscore.eval.setup import Setup
from lipscore.eval.tools.longrange.detect import detect, towers_of
from lipscore.syncnet.models.fcn import OffsetHead, save_head
from lipscore.syncnet.models.mini import mini_sha256
from lipscore.syncnet.models.published_fcn import PublishedNet
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.training.fcn import train

if TYPE_CHECKING:
    from lipscore import Models

MINI = ["--model", "mini", "--device", "cpu"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn heads of 4 seconds, each with speech of its own, and their boxes in boxes.json beside the folder."""
    return drawn(tmp_path_factory.mktemp("drawn") / "clips", 3, 4)


def drawn(folder: Path, count: int, seconds: float) -> Path:
    folder.mkdir()
    boxes = {}
    for seed in range(count):
        clip = render_clip(folder / f"person{seed}.mp4", seed=200 + seed, seconds=seconds, size=(160, 160))
        n = len(clip.boxes[0])
        rows = [[*map(float, box), 1.0] for box in clip.boxes[0]]
        boxes[f"person{seed}.mp4"] = {"n_frames_25fps": n, "frames": list(range(n)), "boxes": rows}
    (folder.parent / "boxes.json").write_text(json.dumps(boxes))
    return folder


def test_a_head_answers_for_its_own_towers(clips: Path, mini_models: Models, tmp_path: Path) -> None:
    assert towers_of(mini_models)[1] == {"name": "mini", "sha256": mini_sha256()}
    torch.manual_seed(0)
    path, video = tmp_path / "head.safetensors", clips / "person0.mp4"
    save_head(OffsetHead(), path, mini_sha256(), 30)
    setup = Setup(PROTOCOLS["wav2lip-lrs"], mini_models)  # the whole frame is the crop: no face is looked for
    found = detect(video, setup, DetectOptions(30, "head", path, 0.0))
    assert found.method == "head" and found.answer is not None and found.answer.peak is not None, found
    with pytest.raises(WeightsError, match="trained for --max-offset 30"):
        detect(video, setup, DetectOptions(40, "head", path))
    save_head(OffsetHead(), path, "0" * 64, 30)
    with pytest.raises(WeightsError, match="works only with its own towers"):
        detect(video, setup, DetectOptions(30, "head", path))


def test_a_published_checkpoint_says_what_it_is_and_gives_no_answer(
    clips: Path, mini_models: Models, tmp_path: Path
) -> None:
    path = tmp_path / "epoch2.pth"
    torch.save({"epoch": 2, "model_state_dict": PublishedNet("classification", 5).state_dict()}, path)
    setup = Setup(PROTOCOLS["lipscore-1"], mini_models)
    found = detect(clips / "person1.mp4", setup, DetectOptions(5, "head", path))
    assert found.status == "unknown" and found.offset is None
    assert found.reason.startswith("published classification head, +-5 frames, epoch 2: offset ")
    assert detect(clips / "gone.mp4", setup, DetectOptions(5, "head", path)).status == "media_error"


def test_evaluate(clips: Path, tmp_path: Path) -> None:
    boxes, report, readme = clips.parent / "boxes.json", tmp_path / "r.json", tmp_path / "r.md"
    common = ["evaluate", "--data-dir", str(clips), "--boxes", str(boxes), *MINI]
    ran = CliRunner().invoke(
        app,
        [
            *common,
            "--samples",
            "6",
            "--lengths",
            "2,60",
            "--max-offset",
            "16",
            "--report",
            str(report),
            "--readme",
            str(readme),
        ],
    )
    assert ran.exit_code == 0, ran.output
    content = json.loads(report.read_text())
    assert content["data"]["clips"] == 3 and content["model_info"]["towers"]["sha256"] == mini_sha256()
    row = content["evaluation_metrics"][0]
    assert row["root-n"]["num_samples"] == 6 and row["root-n"]["mae_frames"] <= row["guess"]["mae_frames"]
    assert "| 2 s | root-n | 6 |" in readme.read_text() and "skipped" in readme.read_text()
    assert readme.read_text() == ran.stdout
    assert CliRunner().invoke(app, [*common, "--lengths", "two"]).exit_code == 2
    assert CliRunner().invoke(app, [*common[:3], "--boxes", str(tmp_path / "no.json"), *MINI]).exit_code == 2


@pytest.mark.slow
def test_train_fcn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight people of 3 seconds, shorter files than the shipped recipe's: a head, its record, and a search with it."""
    monkeypatch.setattr(train, "LENGTHS", (24, 40))
    monkeypatch.setattr(train, "EVALUATED", ((2.0, (0, 0)),))
    folder, out = drawn(tmp_path / "clips", 8, 3), tmp_path / "head.safetensors"
    names = json.loads((tmp_path / "boxes.json").read_text())
    scenes = ["river", "kitchen", "bus", "garden", "roof", "beach", "cellar", "office"]
    for old, scene in zip(list(names), scenes, strict=True):  # a scene each, so that folds can be made
        (folder / old).rename(folder / f"{scene}.mp4")
        names[f"{scene}.mp4"] = names.pop(old)
    (tmp_path / "boxes.json").write_text(json.dumps(names))
    ran = CliRunner().invoke(
        app,
        [
            "train",
            "fcn",
            "--data-dir",
            str(folder),
            "--boxes",
            str(tmp_path / "boxes.json"),
            "--out",
            str(out),
            "--epochs",
            "1",
            "--max-offset",
            "16",
            "--val-share",
            "0.4",
            *MINI,
        ],
    )
    assert ran.exit_code == 0, ran.output
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["towers_sha256"] == mini_sha256() and len(record["folds"]) == 2 and record["clips"] == 8
    for fold in record["folds"]:
        assert not {*fold["held_out"]} & {*fold["trained"]}
    video = folder / "river.mp4"
    ran = CliRunner().invoke(
        app,
        [
            "detect",
            str(video),
            *MINI,
            "--protocol",
            "wav2lip-lrs",
            "--method",
            "head",
            "--head",
            str(out),
            "--json",
            "--max-offset",
            "16",
        ],
    )
    assert json.loads(ran.stdout)["method"] == "head"
