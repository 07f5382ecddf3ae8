"""The long-range head, its training and evaluation on made-up embeddings; the published networks by their keys."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lipscore.errors import UsageError, WeightsError
from lipscore.metrics.longrange import cosine_map, unit
from lipscore.syncnet.models import fcn, published_fcn
from lipscore.syncnet.models.fcn import HeadPass, OffsetHead, load_head, reading, save_head, soft_offset
from lipscore.syncnet.models.published_fcn import PublishedNet, load_published
from lipscore.training.fcn import evaluate
from lipscore.training.fcn.report import Wanted, readme, rows_of
from lipscore.training.fcn.streams import File, Shape, Stream, files, in_step
from lipscore.training.fcn.train import Recipe, fit, loss_of, samples, target
from lipscore.types import Floats

REACH = 20


def noise(rng: np.random.Generator, count: int) -> Floats:
    return unit(rng.normal(size=(count, 12)).astype(np.float32))


def talk(seed: int, count: int = 150, recording: int | None = None, fit: float = 1.0) -> Stream:
    """Lips that follow their audio, noisily."""
    rng = np.random.default_rng(seed)
    audio = noise(rng, count)
    lip = unit(fit * audio + noise(rng, count))
    return Stream(f"clip{seed}", lip, audio, seed if recording is None else recording)


STREAMS = [talk(seed) for seed in range(12)]


def map_of(windows: int, reach: int = REACH, seed: int = 0, first: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return cosine_map(noise(rng, windows), noise(rng, windows), first, reach)


def test_files_have_the_offset_that_they_say() -> None:
    for shape in (Shape((60, 90), (0, 0), REACH), Shape((60, 60), (5, 30), REACH)):
        for file in itertools.islice(files(STREAMS, shape, np.random.default_rng(1)), 20):
            assert shape.windows[0] <= len(file.lip) <= shape.windows[1] and file.offset is not None
            answer = evaluate.by_root_n(file, cosine_map(file.lip, file.audio, file.first, REACH), REACH)
            assert answer.offset == file.offset
            assert shape.around[0] <= len(file.audio) - len(file.lip) - file.first <= shape.around[1]


def test_lengths_tell_nothing_and_no_recording_is_twice_in_a_file() -> None:
    twins = [talk(seed, recording=seed // 2) for seed in range(12)]
    made = list(itertools.islice(files(twins, Shape((100, 100), (0, 0), REACH), np.random.default_rng(2), 0.3), 60))
    assert {len(file.audio) for file in made} == {100} and {file.first for file in made} == {0}
    for file in made:
        numbers = [int(name.removeprefix("clip")) // 2 for name in file.names]
        assert len(numbers) == len(set(numbers))
    assert 5 < sum(file.offset is None for file in made) < 35
    with pytest.raises(UsageError, match="too little"):
        next(files(twins[:2], Shape((400, 400), (0, 0), REACH), np.random.default_rng(0)))


@pytest.mark.parametrize("offset", [-3, 0, 4])
def test_a_clips_own_offset_is_taken_out(offset: int) -> None:
    """Sound that comes `offset` frames early is put beside its lips."""
    one = talk(5)
    audio = np.roll(one.audio, -offset, axis=0)  # window i sounds at i - offset
    stream = in_step("x", one.lip, audio, 0, offset)
    assert float((stream.lip * stream.audio).sum(1).mean()) == pytest.approx(
        float((one.lip * one.audio).sum(1).mean()), abs=0.02
    )


def test_the_head_treats_all_shifts_alike() -> None:
    """Equivariance: what is known away from the ends of the range moves with the map."""
    torch.manual_seed(0)
    head = OffsetHead().eval()
    cosines = map_of(80)
    cosines[np.isnan(cosines)] = 0.0
    moved = np.roll(cosines, 3, axis=1)
    with torch.inference_mode():
        here, there = (head(torch.from_numpy(fcn.features(x))[None])[0, :-1] for x in (cosines, moved))
    inner = slice(16, -16)
    torch.testing.assert_close(there[3:][inner], here[:-3][inner], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("attention", [False, True])
def test_blocks_change_nothing(attention: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    head = OffsetHead(attention).eval()
    cosines = map_of(403, first=5)
    with torch.inference_mode():
        whole = head(torch.from_numpy(fcn.features(cosines))[None])
        monkeypatch.setattr(fcn, "BLOCK", 16)
        track = HeadPass(head)
        for start in range(0, 403, 37):
            track.add(cosines[start : start + 37])
        sums = track.sums()
        assert sums is not None
        torch.testing.assert_close(head.logits(sums), whole, atol=1e-4, rtol=1e-4)
    assert HeadPass(head).sums() is None


def test_readings() -> None:
    logits = torch.full((2 * REACH + 2,), -8.0)
    logits[REACH - 7], logits[REACH - 6] = 4.0, 3.0
    found = reading(logits)
    assert found.offset == 7 and 6.5 < found.subframe < 7 and found.probability > 0.98
    assert float(soft_offset(logits[None])) == pytest.approx(found.subframe, abs=1e-4)
    logits[-1] = 12.0  # none of them
    assert reading(logits).probability < 0.01


def test_the_loss_is_least_at_the_truth() -> None:
    file = next(files(STREAMS, Shape((60, 60), (0, 0), REACH), np.random.default_rng(4)))
    wanted = target(file, REACH)
    assert float(wanted.sum()) == pytest.approx(1) and int(wanted.argmax()) == REACH - (file.offset or 0)
    assert int(target(File(file.lip, file.audio, 0, None, ()), REACH).argmax()) == 2 * REACH + 1
    right, wrong = torch.log(wanted[None] + 1e-4), torch.log(wanted.roll(6)[None] + 1e-4)
    assert loss_of(right, wanted[None], [file.offset]) < loss_of(wrong, wanted[None], [file.offset])
    gone = torch.where(wanted[None] > 0.5, -torch.inf, right)
    assert torch.isfinite(loss_of(gone, wanted[None], [file.offset]))


def test_a_head_learns_resumes_and_is_at_chance_on_noise(tmp_path: Path) -> None:
    """A few steps find offsets; embeddings that know nothing, in files of the same lengths, are answered at chance."""
    recipe = Recipe(epochs=2, max_offset=REACH, batch_size=4, lr=1e-2)
    out = tmp_path / "head.safetensors"
    head, curve = fit(STREAMS, recipe, out, "all")
    again, same = fit(STREAMS, recipe, out, "all", resume=True)
    assert same == curve and len(curve) == 2
    torch.testing.assert_close(dict(again.named_parameters()), dict(head.named_parameters()))
    methods = {"head": evaluate.by_head(head), "root-n": evaluate.by_root_n}
    shape = Shape((80, 120), (0, 0), REACH)
    items = evaluate.measure([talk(seed) for seed in range(50, 60)], shape, methods, 40, 0)
    assert evaluate.figures(items, "head", REACH)["accuracy_1_frame"] > 80
    deaf = [talk(seed, fit=0.0) for seed in range(80, 92)]
    items = evaluate.measure(deaf, shape, methods, 150, 0)
    chance = 3 / (2 * REACH + 1)
    for method in methods:
        share = evaluate.figures(items, method, REACH)["accuracy_1_frame"] / 100
        assert share < chance + 3 * (chance * (1 - chance) / 150) ** 0.5


def test_training_files_overlap_at_their_offset() -> None:
    made = itertools.islice(samples(STREAMS, Recipe(max_offset=100), np.random.default_rng(7)), 30)
    for file in made:
        if file.offset is not None:
            known = ~np.isnan(cosine_map(file.lip, file.audio, file.first, 100)[:, 100 - file.offset])
            assert known.sum() >= 16


def test_figures_by_hand() -> None:
    answers = [(0, 0, 0.9), (10, 12, 0.8), (-5, -4, 0.7), (8, -22, 0.1)]
    items = [
        evaluate.Item(truth, 50, f"c{k}", {"m": evaluate.Answer(said, sure)}, {"m": 0.002})
        for k, (truth, said, sure) in enumerate(answers)
    ]
    found = evaluate.figures(items, "m", 25)
    assert found["mae_frames"] == pytest.approx((0 + 2 + 1 + 30) / 4)
    assert found["rmse_frames"] == pytest.approx(((4 + 1 + 900) / 4) ** 0.5, abs=1e-3)
    assert (found["accuracy_1_frame"], found["accuracy_3_frames"], found["accuracy_1_second"]) == (50, 75, 75)
    assert found["median_error_frames"] == 1.5 and found["max_error_frames"] == 30
    assert found["coverage_99"] == 25 and found["coverage_95"] == 25
    assert found["avg_inference_time_ms"] == pytest.approx(2)
    strangers = [evaluate.Item(None, 50, "s", {"m": evaluate.Answer(1, sure)}, {"m": 0}) for sure in (0.9, 0.2)]
    assert evaluate.accepted([*items, *strangers], "m", 0.75) == {
        "strangers": 2,
        "strangers_answered": 50.0,
        "own_answered": 50.0,
        "of_these_right": 50.0,
    }


def test_the_report_has_every_method_and_says_what_it_skips() -> None:
    told: list[tuple[str, int, int]] = []
    rows = rows_of(STREAMS, dict(evaluate.METHODS), Wanted(12, REACH, (4.0, 900.0)), lambda *step: told.append(step))
    assert [("skipped" in row, row["whole_sound"]) for row in rows] == [
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    ]
    assert rows[0]["root-n"]["accuracy_1_frame"] > rows[0]["constant 0"]["accuracy_1_frame"]
    report = {
        "timestamp": "now",
        "model_info": {"towers": {"name": "mini", "sha256": "ab" * 32}, "max_offset": REACH},
        "data": {"clips": 12, "recordings": 12},
        "evaluation_metrics": json.loads(json.dumps(rows)),
    }
    table = readme(report)
    assert table.count("| 4 s | ") == 6 and "too little different speech" in table
    with pytest.raises(UsageError):
        rows_of(STREAMS, {}, Wanted(12, REACH, (900.0,)), lambda *step: None)


def test_a_head_belongs_to_its_towers(tmp_path: Path) -> None:
    head, path = OffsetHead(attention=True), tmp_path / "h.safetensors"
    save_head(head, path, "a" * 64, 30)
    loaded, reach = load_head(path, "a" * 64)
    assert reach == 30
    torch.testing.assert_close(dict(loaded.state_dict()), dict(head.state_dict()))
    with pytest.raises(WeightsError, match="works only with its own towers"):
        load_head(path, "b" * 64)
    path.write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"h\.safetensors: not a head"):
        load_head(path, "a" * 64)


SIZES = {("regression", 125, False): 14_917_730, ("regression", 15, False): 14_833_250}
SIZES |= {("regression", 125, True): 17_675_620, ("classification", 125, False): 14_998_390}


@pytest.mark.parametrize(("kind", "reach", "attention"), SIZES)
def test_published_networks(kind: published_fcn.Kind, reach: int, attention: bool, shared: Path) -> None:
    """Their numbers of parameters, and every key and shape."""
    with torch.device("meta"):
        net = PublishedNet(kind, reach, attention)
    assert sum(p.numel() for p in net.parameters()) == SIZES[kind, reach, attention]
    if reach != 125:
        return
    title = f"# {kind}{' with attention' if attention else ''} K=125"
    text = (shared / "design" / "fcn_shapes.txt").read_text().split(title + "\n")[1].split("\n#")[0]
    shapes = {
        line.split(" ")[0].removeprefix("fcn_model."): line.split(" ")[1].strip() for line in text.strip().splitlines()
    }
    assert {key: "x".join(map(str, value.shape)) for key, value in net.state_dict().items()} == shapes


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("published") / "epoch2.pth"
    state = {f"fcn_model.{key}": value for key, value in PublishedNet("regression", 15).state_dict().items()}
    torch.save({"epoch": 2, "model_state_dict": state, "optimizer_state_dict": {}}, path)
    return path


def test_a_published_checkpoint_is_named_and_runs_in_blocks(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = load_published(checkpoint)
    assert published.about == "published regression head, +-15 frames, epoch 2"
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (30, 40, 30, 3), dtype=np.uint8)
    mfcc = rng.normal(size=(120, 13)).astype(np.float32)
    whole = published.offset(iter(frames), mfcc)
    monkeypatch.setattr(published_fcn, "CHUNK", 10)
    blocks = published.offset(iter(frames), mfcc)
    assert blocks[0] == pytest.approx(whole[0], abs=1e-3) and blocks[1] == whole[1]
    with pytest.raises(ValueError, match="no frames"):
        published.offset(iter(frames[:0]), mfcc)
    content = torch.load(checkpoint, weights_only=True)
    del content["model_state_dict"]["fcn_model.video_encoder.conv_layers.8.weight"]
    torch.save(content, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match=r"conv_layers\.8\.weight"):
        load_published(tmp_path / "less.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="neither"):
        load_published(tmp_path / "other.pth")


def test_published_signs() -> None:
    """The correlation counts late sound, the classes early sound; both come out in SyncNet's sign."""
    net = PublishedNet("classification", 5).eval()
    rng = np.random.default_rng(1)
    audio = torch.from_numpy(noise(rng, 40).T[None].copy())
    late = torch.roll(audio, 2, 2)  # what is said at t sounds at t + 2
    assert int(net.correlation(late, audio).mean(2)[0].argmax()) - 5 == 2
    last = net.global_classifier[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.eye(11)[8])  # class 8: 3 frames early
    assert net.head(net.correlation(late, audio)).tolist() == [3]
