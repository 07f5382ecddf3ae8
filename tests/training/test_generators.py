"""Clips of other generators in the training: whose they are, what is taken out of their sound, what is left out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lipscore.syncnet.models.mini import RECORD, Calibration
from lipscore.training.batches import Clip, later
from lipscore.training.generators import LEADS, family_of, generator_of
from lipscore.training.mini.figures import HeldOut, MeasuredFold, Pairing, by_generator, without_the_known
from lipscore.training.split import Fold, Split, leave_out


@pytest.mark.parametrize(
    ("name", "generator", "family"),
    [
        ("generated/joyhallo_hallo_1_0.mp4", "hallo", "joyhallo"),
        ("generated/joyhallo_joyhallo-en_1_5.mp4", "joyhallo", "joyhallo"),
        ("generated/linly_example_answer1.mp4", "linly", "sadtalker"),
        ("real/grid_s1_bbaf3s.mpg", "grid", "grid"),
        ("joyhallo.mp4", "joyhallo", "joyhallo"),
    ],
)
def test_the_file_name_says_whose_a_clip_is(name: str, generator: str, family: str) -> None:
    assert (generator_of(name), family_of(generator_of(name))) == (generator, family)


def test_each_family_is_left_out_of_one_training_and_in_all_others() -> None:
    plain = Split((), (), tuple(Fold((f"h{k}",), (f"t{k}", "a")) for k in range(3)))
    families = {"many": ["m1", "m2", "m3"], "two": ["z1", "z2"], "one": ["o1"], "few": ["f1"]}
    split = leave_out(plain, families)
    assert [set(fold.left_out) for fold in split.folds] == [{"m1", "m2", "m3"}, {"z1", "z2"}, {"f1", "o1"}]
    every = {name for names in families.values() for name in names}
    for before, fold in zip(plain.folds, split.folds, strict=True):
        assert fold.held_out == before.held_out
        assert set(fold.trained) == {*before.trained, *every} - set(fold.left_out)


def test_sound_is_moved_by_its_lead_and_keeps_its_length() -> None:
    pcm = np.arange(1, 6401, dtype=np.int16)
    assert later(pcm, 0).tolist() == pcm.tolist()
    for lead, first, last in ((2.0, 0, 6400 - 1280), (-0.5, 321, 0)):
        clip = Clip("a", np.zeros((10, 84, 84), np.uint8), 25.0, pcm, lead=lead)
        moved = clip.in_sync()
        assert (len(moved.pcm), moved.pcm[0], moved.pcm[-1], moved.lead) == (6400, first, last, 0.0)
        assert moved.in_sync().pcm.tolist() == moved.pcm.tolist(), "only once"
    # a lead of two frames: what was heard at frame 3 is heard at frame 5
    assert later(pcm, 1280)[5 * 640] == pcm[3 * 640]


def held(name: str, between: float, lse_c: float) -> HeldOut:
    """A clip whose estimate, under the calibration below, is lse_c, and 1 with other sound."""
    own = Pairing(round(between), between, 0.5, np.array([1.0, lse_c, 0, 0, 0, 0]))
    return HeldOut(name, own, (replace(own, features=np.array([1.0, 1.0, 0, 0, 0, 0])),), {}, None)


def test_a_generator_is_measured_against_its_own_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    sure = Calibration((50.0, 0.0, 0.0, 0.0), (0.0,) * 6, (0.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr("lipscore.training.mini.figures.calibrated", lambda folds, published: [sure for _ in folds])
    hallo = [held(f"joyhallo_hallo_{k}.mp4", offset, 6.0) for k, offset in enumerate((-1.7, -1.6, -1.5, -0.3, 9.0))]
    grid = [held("grid_a.mpg", 0.4, 8.0)]
    found = by_generator([MeasuredFold([], hallo), MeasuredFold([], grid)], {})
    assert list(found) == ["grid", "hallo"]
    assert found["hallo"]["constant"] == -1.5 and found["hallo"]["clips"] == 5
    assert found["hallo"]["within_1"] == 0.8 and found["hallo"]["within_1_exact"] == 0.6
    assert found["hallo"]["lse_c"] == 6.0 and found["hallo"]["lse_c_others"] == 1.0 and found["hallo"]["auc"] == 1.0
    assert found["grid"]["constant"] == 0.4 and found["grid"]["offsets"] == {"grid_a.mpg": 0.4}


def test_the_known_clips_under_a_training_that_met_none(monkeypatch: pytest.MonkeyPatch) -> None:
    sure = Calibration((50.0, 0.0, 0.0, 0.0), (0.0,) * 6, (0.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr("lipscore.training.mini.figures.calibration_of", lambda folds, published: sure)
    clips = [held("a.mp4", 0.1, 4.0), held("b.mp4", 0.2, 6.0), held("c.mp4", 2.0, 5.0)]
    found = without_the_known(clips, [], {"a.mp4": (8.0, 5.0), "b.mp4": (8.0, 7.5)})
    assert found["clips"] == 3 and found["constant"] == 0.2 and found["within_1"] == round(2 / 3, 4)
    assert (found["lse_c"], found["lse_c_scored"], found["lse_c_published"]) == (5.0, 5.0, 6.25)
    assert found["lse_c_mae"] == 1.25 and found["lse_c_spearman"] == 1.0


def test_the_shipped_record_leaves_each_family_out_once() -> None:
    record = json.loads(RECORD.read_text())
    folds = record["data"]["folds"]
    left = [name for fold in folds for name in fold["left_out"]]
    assert len(left) == len(set(left)) == 86
    for fold in folds:
        families = [{family_of(generator_of(name)) for name in fold[side]} for side in ("left_out", "trained")]
        assert families[0].isdisjoint(families[1])
    assert record["data"]["leads"] == LEADS and set(record["left_out"]) == set(LEADS)
    assert record["others_only"]["clips"] == len(record["others_only"]["offsets"]) == 164
    for generator, row in record["left_out"].items():
        offsets = np.array(list(row["offsets"].values()))
        assert row["clips"] == len(offsets) and row["constant"] == pytest.approx(np.median(offsets), abs=0.011)
        assert {generator_of(name) for name in row["offsets"]} == {generator}
