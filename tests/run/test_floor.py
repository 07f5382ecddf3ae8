"""The floor: what lips score with another video's sound, from the embeddings of the run that scored them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lipscore import Models, get_protocol, load_models
from lipscore.demo.clips import render_clip
from lipscore.errors import UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.run.floor import Kept, derangement, measure
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.store.records import Record
from lipscore.media import edit


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.integers(0, 5))
def test_every_sound_goes_once_to_another_video_that_has_another_sound(groups: list[int], seed: int) -> None:
    sounds = [str(group) for group in groups]
    if 2 * max(Counter(sounds).values()) > len(sounds):
        with pytest.raises(UsageError, match="same sound"):
            derangement(sounds, seed)
        return
    partner = derangement(sounds, seed)
    assert sorted(partner) == list(range(len(sounds)))
    assert all(sounds[own] != sounds[other] for own, other in enumerate(partner))
    assert derangement(sounds, seed) == partner


def test_the_seed_decides_who_meets_whom() -> None:
    sounds = [str(k) for k in range(12)]
    assert len({tuple(derangement(sounds, seed)) for seed in range(20)}) > 15


def test_the_floor_is_what_the_swapped_files_score(tmp_path: Path) -> None:
    """Swapped files are made and scored one by one, and the mean is the run's."""
    (tmp_path / "in").mkdir()
    for seed in (3, 4, 5):
        render_clip(tmp_path / "in" / f"{seed}.mp4", seed=seed, seconds=2, size=(224, 224))
    command = ["score", str(tmp_path / "in"), "--protocol", "wav2lip-lrs", "--model", "mini", "--floor"]
    command += ["--out", str(tmp_path / "out"), "--scores-file", str(tmp_path / "all_scores.txt")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    floor = json.loads((tmp_path / "out" / "floor.json").read_text())
    assert f"floor (others' sound, n=3): LSE-D~ {floor['means']['lse_d']:.3f}" in done.stdout

    protocol = get_protocol("wav2lip-lrs")
    setup = Setup(protocol, load_models("mini", protocol, device="cpu"))
    scored = []
    for video in floor["videos"]:
        swapped = tmp_path / f"swapped-{video['name']}.mp4"
        sound = tmp_path / "in" / f"{video['sound']}.mp4"
        edit.join(tmp_path / "in" / f"{video['name']}.mp4", sound, swapped, "copy")
        record = score_video(swapped, setup)
        assert (video["lse_d"], video["lse_c"]) == pytest.approx((record.lse_d, record.lse_c), abs=2e-3)
        scored.append(record.lse_d or 0.0)
    assert floor["means"]["lse_d"] == pytest.approx(np.mean(scored), abs=1e-3)

    # a run that goes on reads what was kept; without it, it embeds again and comes to the same
    again = CliRunner().invoke(app, command)
    assert "embedding them now" not in again.stderr
    for kept in (tmp_path / "out" / "floor").iterdir():
        kept.write_bytes(b"broken")
    third = CliRunner().invoke(app, command)
    assert "3 videos were scored without their embeddings" in third.stderr
    assert json.loads((tmp_path / "out" / "floor.json").read_text()) == floor
    assert len((tmp_path / "all_scores.txt").read_text().splitlines()) == 3  # no row twice


def test_one_video_has_no_floor(tmp_path: Path) -> None:
    render_clip(tmp_path / "a.mp4", seed=3, seconds=1.6, size=(224, 224))
    command = ["score", str(tmp_path / "a.mp4"), "--protocol", "wav2lip-lrs", "--model", "mini", "--floor"]
    command += ["--out", str(tmp_path / "out"), "--scores-file", str(tmp_path / "all_scores.txt")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2 and "same sound" in done.stderr
    assert (tmp_path / "out" / "scores.jsonl").exists()


@pytest.mark.slow
def test_on_real_people_too(shared: Path, tmp_path: Path, mini_models: Models) -> None:
    folder = shared / "clips" / "more" / "real"
    clips = sorted(folder.glob("grid_s1_*"))[:3] if folder.is_dir() else []
    if not clips:
        pytest.skip(f"no clips of real people in {folder}")
    setup = Setup(get_protocol("lipscore-1"), mini_models)
    kept = Kept(tmp_path, "s")
    records = [Record(kept.scoring(setup, lambda one, path=clip: score_video(path, one))) for clip in clips]  # type: ignore[misc]
    for floor in measure(records, kept, setup):
        own, other = (next(clip for clip in clips if clip.stem == name) for name in (floor.name, floor.sound))
        swapped = tmp_path / f"{floor.name}.mkv"
        edit.join(own, other, swapped, "pcm")
        record = score_video(swapped, setup)
        assert (floor.lse_d, floor.lse_c) == pytest.approx((record.lse_d, record.lse_c), abs=0.05)
