"""How the built-in model is trained: the split, what is drawn, the losses, the calibration, and a run that resumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lipscore.demo.clips import make_clip
from lipscore.errors import UsageError
from lipscore.media.read import read_pcm
from lipscore.media.write import write_video
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.models import mini
from lipscore.training import augment
from lipscore.training.batches import Clip, draw
from lipscore.training.clips import RENDERED_SEED, _rendered, read_boxes, read_clip
from lipscore.training.mini import figures, losses, train
from lipscore.training.mini.calibrate import fit_calibration, read_published
from lipscore.training.mini.train import Recipe, learning_rate, train_mini
from lipscore.training.split import recordings, scene_words, scenes, split_clips

WORDS = st.lists(
    st.sampled_from(["tennis", "chef", "moon", "guitar", "man", "woman", "2", "up"]), min_size=1, max_size=3
)


def speech(seed: int, seconds: float = 8.0) -> np.ndarray:
    """Noise with syllables: its loudness rises and falls at random, which tells recordings apart."""
    rng = np.random.default_rng(seed)
    level = np.exp(2 * np.repeat(rng.normal(size=int(seconds * 5)), 3200))
    return np.clip(rng.normal(size=len(level)) * 300 * level, -32768, 32767).astype(np.int16)


SPEECH = [speech(seed) for seed in range(12)]


@given(
    st.dictionaries(WORDS.map(lambda words: "set/1_" + "_".join(words) + ".mp4"), st.integers(0, 11), min_size=2),
    st.integers(0, 5),
)
def test_no_fold_shares_a_scene_or_speech_with_its_training(spoken: dict[str, int], seed: int) -> None:
    try:
        split = split_clips({name: SPEECH[number] for name, number in spoken.items()}, 2, seed)
    except UsageError:
        assume(False)
    held_out = [name for fold in split.folds for name in fold.held_out]
    assert sorted([*split.settings, *held_out]) == sorted(spoken)
    assert sorted(name for group in split.recordings for name in group) == sorted(spoken)
    for fold in split.folds:
        words = [set().union(*map(scene_words, side)) for side in (fold.held_out, fold.trained)]
        assert words[0].isdisjoint(words[1])
        assert {spoken[name] for name in fold.held_out}.isdisjoint(spoken[name] for name in fold.trained)


def test_folds_are_of_about_one_size_and_leave_much_to_train_on() -> None:
    sounds = {f"a/{k}_scene{k // 2}.mp4": speech(k // 3) for k in range(60)}
    split = split_clips(sounds, 3, 0)
    sizes = [len(fold.held_out) for fold in split.folds]
    assert max(sizes) - min(sizes) <= 2 and len(split.settings) <= 0.12 * 60
    assert min(len(fold.trained) for fold in split.folds) >= 36


def test_a_large_scene_is_dealt_to_several_folds() -> None:
    names = [f"a/{k}_tennis_{k}x.mp4" for k in range(18)] + [f"a/{k}_scene{k}.mp4" for k in range(18)]
    split = split_clips({name: SPEECH[k % 12] for k, name in enumerate(names)}, 3, 0)
    assert max(len(fold.held_out) for fold in split.folds) <= 1.1 * 36 / 3


def test_clips_of_one_scene_cannot_be_held_out() -> None:
    with pytest.raises(UsageError, match="6 clips with 1 scenes and 6 recordings"):
        split_clips({f"a/{k}_tennis.mp4": SPEECH[k] for k in range(6)}, 2, 0)


@pytest.mark.parametrize("spoken", [(0, 0, 0, 0), (0, 0, 1, 1)])
def test_a_fold_of_one_recording_has_no_others_to_be_told_from(spoken: tuple[int, ...]) -> None:
    sounds = {f"{word}.mp4": SPEECH[k] for word, k in zip(("tennis", "chef", "moon", "cave"), spoken, strict=True)}
    with pytest.raises(UsageError, match=rf"4 clips with 4 scenes and {len(set(spoken))} recordings .* 2 folds"):
        split_clips(sounds, 2, 0)


def test_one_recording_is_known_softer_later_in_noise_and_cut_short() -> None:
    rng = np.random.default_rng(0)
    again = (np.roll(SPEECH[0], 4000) * 0.4 + rng.normal(size=len(SPEECH[0])) * 5).astype(np.int16)
    sounds = {
        "a": SPEECH[0],
        "b": again,
        "c": SPEECH[1],
        "d": SPEECH[2][:80000],
        "e": SPEECH[2],
        "f": np.zeros(0, np.int16),
    }
    assert recordings(sounds) == [["a", "b"], ["c"], ["d", "e"], ["f"]]


def test_the_clips_recordings(shared: Path) -> None:
    """Two with the very same samples of speech, and a third."""
    clips = shared / "clips" / "talking"
    names = ["1p_closeup_facingcamera/6_woman_cat.mp4", "1p_protrait/38_girl_hold_a_teddy_bear.mp4"]
    other = "1p_closeup_facingcamera/10_woman_doctor.mp4"
    assert recordings({name: read_pcm(clips / name) for name in [*names, other]}) == [[other], names]


def test_scenes_join_through_a_third() -> None:
    names = ["a/1_man_chef_moon.mp4", "b/2_chef_soup.mp4", "c/3_soup_bowl.mp4", "d/4_woman_tennis.mp4"]
    assert scenes(names) == [names[:3], names[3:]]


def test_the_shipped_record_is_split_by_scene_and_speech() -> None:
    data = json.loads(mini.RECORD.read_text())["data"]
    spoken = {name: number for number, group in enumerate(data["recordings"]) for name in group}
    held_out = [name for fold in data["folds"] for name in fold["held_out"]]
    assert sorted([*held_out, *data["settings"]]) == sorted(spoken)
    for fold in data["folds"]:
        sides = fold["held_out"], [name for name in fold["trained"] if name in spoken]
        words = [set().union(*map(scene_words, side)) for side in sides]
        heard = [{spoken[name] for name in side} for side in sides]
        assert words[0].isdisjoint(words[1]) and heard[0].isdisjoint(heard[1])


def clip(seed: int, frames: int = 110) -> Clip:
    rng = np.random.default_rng(seed)
    pcm = (rng.normal(size=int(frames / 24 * 16000)) * 3000).astype(np.int16)
    return Clip(f"c{seed}", rng.integers(0, 256, (frames, mini.CROP, mini.CROP), np.uint8), 24.0, pcm)


def test_a_batch_fits_the_model_and_a_seed_repeats_it() -> None:
    clips = [clip(i) for i in range(3)]
    mean = np.zeros(13, np.float32)
    one, two = (draw(clips, 2, 40, mean, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.mouths, two.mouths)
    np.testing.assert_array_equal(one.mfcc, two.mfcc)
    net = mini.MiniSyncNet().eval()
    with torch.no_grad():
        assert net.lip(torch.from_numpy(one.mouths)).shape == (2, 40, mini.DIMENSIONS + 2)
        assert net.audio(torch.from_numpy(one.mfcc)).shape == (2, 40, mini.DIMENSIONS + 2)


def test_lips_and_audio_of_a_sample_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip whose brightness and loudness jump at the same time: in every sample they still do, whatever the speed."""
    frames = np.zeros((120, mini.CROP, mini.CROP), np.uint8)
    frames[60:] = 200
    pcm = np.ones(80000, np.int16)
    pcm[int(60 / 24 * 16000) :] = (np.random.default_rng(0).normal(size=40000) * 9000).astype(np.int16)
    monkeypatch.setattr("lipscore.training.batches.vary_mouths", lambda crops, rng: augment.plain_mouths(crops))
    monkeypatch.setattr("lipscore.training.batches.vary_speech", lambda pcm, other, rng: pcm)
    monkeypatch.setattr("lipscore.training.batches.vary_throat", lambda pcm, rng: mfcc(pcm))
    monkeypatch.setattr("lipscore.training.batches.mask_mfcc", lambda mfcc, mean, rng: None)
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(30):
        batch = draw([Clip("jump", frames, 24.0, pcm)], 1, 48, np.zeros(13, np.float32), rng)
        bright = batch.mouths[0].mean((1, 2)) > 100
        loud = batch.mfcc[0, :, 0] > 5
        if bright.any() and not bright.all():
            seen += 1
            seconds = (np.argmax(bright) - mini.LIP_CONTEXT) / 25, (np.argmax(loud) - mini.AUDIO_CONTEXT) / 100
            assert abs(seconds[0] - seconds[1]) <= 0.045, seconds
    assert seen > 10


def test_augmentation_moves_the_picture_a_little_and_keeps_its_form() -> None:
    crops = np.tile(np.add.outer(np.arange(84), np.arange(84)).astype(np.uint8), (6, 1, 1))
    varied = augment.vary_mouths(crops, np.random.default_rng(0))
    assert varied.shape == augment.plain_mouths(crops).shape == (6, 48, 48) and varied.dtype == np.uint8
    assert (varied != augment.plain_mouths(crops)).any()


def test_speech_keeps_its_length_and_its_time() -> None:
    pcm = np.zeros(32000, np.int16)
    pcm[16000:16800] = (np.random.default_rng(0).normal(size=800) * 9000).astype(np.int16)
    for seed in range(20):
        out = augment.vary_speech(pcm, np.zeros(100, np.int16), np.random.default_rng(seed)).astype(float)
        assert len(out) == len(pcm)
        loudest = np.argmax(np.convolve(out**2, np.ones(800), "valid"))
        assert abs(loudest - 16000) < 400


def test_a_stretched_spectrum_is_a_higher_sound_at_the_same_time() -> None:
    seconds = np.arange(32000) / 16000
    noise = np.random.default_rng(0).normal(size=len(seconds)) * 300
    tone, higher = ((np.sin(2 * np.pi * hz * seconds) * 9000 + noise).astype(np.int16) for hz in (1000, 1150))
    np.testing.assert_allclose(augment.stretched_mfcc(tone, 1.0), mfcc(tone), atol=1e-4)
    stretched = augment.stretched_mfcc(tone, 1.15)
    assert len(stretched) == len(mfcc(tone))
    off = [np.abs(rows[20:-20, 1:] - mfcc(higher)[20:-20, 1:]).mean() for rows in (stretched, mfcc(tone))]
    assert off[0] < 0.3 * off[1], off
    varied = augment.vary_throat(tone, np.random.default_rng(0))
    assert varied.shape == stretched.shape and np.abs(varied - mfcc(tone)).max() > 1


def test_the_loss_rewards_what_is_in_sync() -> None:
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(3, 40, 64), dim=-1)
    scale = torch.tensor(20.0)
    found = [losses.contrast(x, x.roll(k, 1), scale) for k in range(6)]
    assert int(torch.stack(found).argmin()) == 0 and found[1] < found[2]  # the neighbours are half right
    uniform = losses.contrast(torch.zeros(3, 40, 64), x, scale)
    assert uniform.item() == pytest.approx(np.log(40), abs=1e-4)  # the windows of a clip


def test_other_clips_do_not_count_in_the_loss() -> None:
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(2, 40, 64), dim=-1)
    scale = torch.tensor(20.0)
    each = torch.stack([losses.contrast(x[k : k + 1], x[k : k + 1], scale) for k in range(2)])
    torch.testing.assert_close(losses.contrast(x, x, scale), each.mean())


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    recipe = Recipe(steps=100)
    rates = [learning_rate(step, recipe) for step in range(101)]
    peak = int(np.argmax(rates))
    assert peak == 15 and rates[peak] == pytest.approx(recipe.lr) and rates[100] == pytest.approx(0, abs=1e-9)
    assert all(np.diff(rates[: peak + 1]) > 0) and all(np.diff(rates[peak:]) < 0)


def drawn_features(rng: np.random.Generator, minimum: float, count: int) -> np.ndarray:
    rows = rng.normal(size=(count, 6))
    rows[:, 0], rows[:, 1] = 1.0, rng.uniform(minimum - 0.3, minimum + 0.3, count)
    return rows


def test_calibration_finds_what_belongs_together_and_a_linear_law() -> None:
    rng = np.random.default_rng(0)
    own, others = drawn_features(rng, 0.5, 300), drawn_features(rng, 1.5, 900)
    calibration = fit_calibration(own, [(9 - x[5] / 2, 6 - 2 * x[1] + x[4]) for x in own], others)
    assert np.mean([mini.probability(x, np.array(calibration.together)) for x in own]) > 0.95
    assert np.mean([mini.probability(x, np.array(calibration.together)) for x in others]) < 0.05
    estimates = np.array([calibration.of(x) for x in own])
    np.testing.assert_allclose(estimates[:, 0], 9 - own[:, 5] / 2, atol=0.5)  # the ridge draws to the middle
    np.testing.assert_allclose(estimates[:, 1], 6 - 2 * own[:, 1] + own[:, 4], atol=0.6)
    np.testing.assert_allclose([calibration.of(x) for x in others], [mini.APART] * len(others), atol=2)


def test_calibration_leaves_what_is_not_together_out_of_the_law() -> None:
    """A feature of the sound alone must not speak for another clip's audio."""
    rng = np.random.default_rng(1)
    own, others = drawn_features(rng, 0.5, 300), drawn_features(rng, 1.5, 300)
    calibration = fit_calibration(own, [(8.0, 6 + 2 * x[5]) for x in own], others)
    of_own, of_others = (np.array([calibration.of(x)[1] for x in rows]) for rows in (own, others))
    assert np.corrcoef(own[:, 5], of_own)[0, 1] > 0.9 > 0.5 > of_others.std() / of_own.std()


def test_clips_without_a_face_have_no_published_score(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text("clip,offsets,lse_c,lse_d,has_face\na,[1],6.5,8.5,True\nb,[],0.0,0.0,False\n")
    assert read_published(path) == {"a": (8.5, 6.5)}
    path.write_text("clip\na\n")
    with pytest.raises(UsageError, match=r"published[.]csv"):
        read_published(path)


def test_auc_is_the_share_of_ordered_pairs() -> None:
    assert figures.auc([3, 1], [2, 1]) == (1 + 1 + 0 + 0.5) / 4


def test_shifted_audio_is_earlier_for_a_positive_offset() -> None:
    pcm = np.arange(6400, dtype=np.int16)
    assert figures.shifted(pcm, 2)[0] == 1280 and figures.shifted(pcm, 2)[-1] == 0
    assert figures.shifted(pcm, -2)[1280] == 0 and figures.shifted(pcm, -2)[1281] == 1


def test_boxes_are_filled_in_between_and_errors_name_the_file(tmp_path: Path) -> None:
    entry = {"n_frames_25fps": 11, "frames": [0, 5, 10], "boxes": [[0, 0, 10, 10, 0.9], None, [10, 20, 20, 30, 0.9]]}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.mp4": entry}))
    np.testing.assert_allclose(read_boxes(path)["a.mp4"].boxes_xyxy[5], [5, 10, 15, 20])
    for text in ("[]", "{", '{"a.mp4": {}}', '{"a.mp4": {"n_frames_25fps": 3, "frames": [0], "boxes": [null]}}'):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"boxes[.]json"):
            read_boxes(path)


def test_a_clip_is_read_at_its_own_rate(shared: Path) -> None:
    name = "1p_closeup_facingcamera/10_woman_doctor.mp4"
    clips = shared / "clips"
    read = read_clip(clips / "talking" / name, name, read_boxes(clips / "boxes.json")[name])
    assert read.fps == 24 and read.frames.shape[1:] == (84, 84)
    assert abs(len(read.frames) / 24 - len(read.pcm) / 16000) < 0.2
    lse_d, lse_c = read_published(clips / "published_scores.csv")[name]
    assert lse_d > 5 and lse_c > 2


def test_a_clip_through_the_codecs_is_in_step_with_itself(shared: Path) -> None:
    name = "1p_closeup_facingcamera/10_woman_doctor.mp4"
    clips = shared / "clips"
    read = read_clip(clips / "talking" / name, name, read_boxes(clips / "boxes.json")[name], lossy=True)
    assert read.lossy is not None
    at = np.rint(np.arange(len(read.lossy)) / 25 * 24).astype(int).clip(0, len(read.frames) - 1)
    moving = [np.abs(read.lossy[20:100].astype(int) - read.frames[at[20 + k : 100 + k]]).mean() for k in range(-3, 4)]
    assert int(np.argmin(moving)) == 3 and moving[3] > 0.3, "the same moment, but not the same pixels"


def test_rendered_heads_are_cut_like_the_clips() -> None:
    one = _rendered(RENDERED_SEED)
    assert one.frames.shape == (140, 84, 84) and one.fps == 25 and len(one.pcm) == 140 * 640


def test_figures_of_a_model_that_knows_nothing_are_those_of_chance() -> None:
    torch.manual_seed(0)
    embedder = figures.raw_embedder(mini.MiniSyncNet())
    spoken = [["c0", "c1", "c2", "c3", "c4", "c5", "c7"], ["c6"], ["c8"]]  # by whom does not matter to this model
    held = figures.measure(embedder, [clip(k) for k in range(9)], spoken)
    assert [len(one.others) for one in held] == [1, 1, 1, 1, 1, 1, 4, 1, 4], "no audio of the clip's own recording"
    (alone,) = figures.measure(embedder, [clip(3)], [["c3"]])
    assert (alone.own.offset, alone.own.raw, alone.moved) == (held[3].own.offset, held[3].own.raw, held[3].moved)
    assert all(set(one.moved) == set(range(-12, 13)) - {0} for one in held)
    published = {one.name: (8.0 + k, 3.0 + k) for k, one in enumerate(held)}
    found = figures.summary([held[:3], held[3:6], held[6:]], published)
    assert found["clips"] == 9 and found["folds"] == 3 and len(found["offsets"]) == 9
    assert 0.1 < found["auc"] < 0.9 and found["through_codecs_within_1"] is None
    assert len(figures.calibrated([held[:3], held[3:6], held[6:]], published)) == 3


@pytest.mark.slow
def test_a_run_resumes_and_leaves_weights_and_a_record(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = shared / "clips"
    entries = json.loads((clips / "boxes.json").read_text())
    few = {name: entries[name] for name in sorted(entries)[::4]}
    boxes = tmp_path / "few.json"
    boxes.write_text(json.dumps(few))
    more = tmp_path / "more"
    more.mkdir()
    for name, seed in (("grid_a", 3), ("humo_b", 4)):
        drawn = make_clip(seed=seed, seconds=4.0, size=(320, 320))
        write_video(more / f"{name}.mp4", drawn.frames, 25, drawn.pcm)
    others = {"grid_a.mp4", "humo_b.mp4"}
    out = tmp_path / "mine.safetensors"
    told: list[tuple[str, int, int]] = []
    learned: dict[str, set[str]] = {}

    def watched(clips: list[Clip], run: train.TrainingRun, name: str) -> object:
        learned[name] = {clip.name for clip in clips if not clip.name.startswith("rendered/")}
        return fit(clips, run, name)

    fit = train.fit
    monkeypatch.setattr(train, "fit", watched)

    def train_for(steps: int, resume: bool = False) -> None:
        told.clear()
        train_mini(
            clips / "talking",
            boxes,
            out,
            steps=steps,
            folds=2,
            more=more,
            resume=resume,
            progress=lambda *what: told.append(what),
        )

    train_for(2)
    assert told[0] == ("reading clips", 1, len(few) + 2) and told[-1] == ("training all", 2, 2)
    train_for(3, resume=True)
    names = ("training fold1", "training fold2", "training all")
    assert [what for what in told if what[0] in names] == [(name, 3, 3) for name in names]
    record = json.loads(out.with_suffix(".json").read_text())
    assert [point["step"] for point in record["curve"]] == [2, 3]
    held_out = [name for fold in record["data"]["folds"] for name in fold["held_out"]]
    assert sorted(held_out + record["data"]["settings"]) == sorted(few)
    trained = {f"fold{k}": set(fold["trained"]) for k, fold in enumerate(record["data"]["folds"], 1)}
    assert learned == trained | {"all": set(few) | others}
    left_out = [set(fold["left_out"]) for fold in record["data"]["folds"]]
    assert left_out[0] | left_out[1] == others and not left_out[0] & left_out[1]
    assert left_out == [others - trained["fold1"], others - trained["fold2"]]
    assert {generator: row["clips"] for generator, row in record["left_out"].items()} == {"grid": 1, "humo": 1}
    mini.load_mini(torch.device("cpu"), out)
