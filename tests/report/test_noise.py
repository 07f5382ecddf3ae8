"""The noise band, and a release judged against the last one by it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_table import GOOD, REAL, SIGNED, wrote
from typer.testing import CliRunner

from lipscore import get_protocol, load_models
from lipscore.demo.clips import render_clip
from lipscore.errors import MissingError, UsageError
from lipscore.eval.cli.main import app
from lipscore.eval.report import baseline
from lipscore.eval.run.inputs.paths import Found
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.eval.store.records import read_records
from lipscore.eval.store.signature import Signature
from lipscore.eval.tools.noise import CHANGES, Change, Moved, Noise, measure, sample, scored_under
from lipscore.media import ffmpeg, read
from lipscore.types import VideoScore

DIRECT = ["--protocol", "wav2lip-lrs", "--model", "mini"]
BANDS = {"lse_d": {"video": 0.5, "mean": 0.1}, "lse_c": {"video": 1.2, "mean": 0.1}}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    render_clip(path, seed=3, seconds=1.6, size=(224, 224))
    return path


def test_the_band_is_worked_out_from_the_differences() -> None:
    one, two = Change("one", "one"), Change("two", "two")
    moved = (
        Moved(one, {"lse_d": [0.1, -0.3], "lse_c": [], "abs_offset_ms": [1.0]}, ()),
        Moved(two, {"lse_d": [0.2, 0.4], "lse_c": [], "abs_offset_ms": [-3.0]}, ()),
    )
    bands = Noise(2, moved, ()).bands
    assert bands["lse_d"]["mean"] == pytest.approx(0.3)  # of two; one moves the mean by 0.1
    assert bands["lse_d"]["video"] == pytest.approx(np.quantile([0.1, 0.3, 0.2, 0.4], 0.95))
    assert bands["abs_offset_ms"]["mean"] == 3 and "lse_c" not in bands


def test_the_sample_is_drawn_by_the_seed_and_keeps_the_order() -> None:
    videos = [Found(Path(f"{k:02d}.mp4"), Path()) for k in range(30)]
    drawn = sample(videos, 20, 1)
    assert drawn == sample(videos, 20, 1) != sample(videos, 20, 2)
    assert len(drawn) == 20 and [video.path for video in drawn] == sorted({video.path for video in drawn})
    assert sample(videos, 40, 1) == videos


def test_every_change_is_made_and_scored(clip: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["noise", str(clip), "--out", str(tmp_path), *DIRECT])
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "noise.json").read_text())
    made = {change["name"]: change for change in content["changes"]}
    # a protocol that takes the file as the crop has no margin to change
    assert set(made) == {change.name for change in CHANGES if change.crop == 1}
    setup = Setup(get_protocol("wav2lip-lrs"), load_models("mini", get_protocol("wav2lip-lrs"), device="cpu"))
    for change in made.values():
        (difference,) = change["differences"]["lse_d"]
        assert not change["not_scored"] and abs(difference) < 2
    assert any(made["smaller"]["differences"]["lse_d"])  # a change is one
    assert content["signature"] == str(setup.signature)
    assert "band of LSE-D~" in done.stdout


def test_crops_of_another_size_are_a_change_too(talk: Path) -> None:
    protocol = get_protocol("lipscore-1")
    setup = Setup(protocol, load_models("mini", protocol, device="cpu"))
    wider = next(change for change in CHANGES if change.crop > 1)
    changed = scored_under(Found(talk, talk.parent, "talk"), wider, setup)
    by_hand = score_video(talk, replace(setup, protocol=replace(protocol, crop_scale=0.4 * 1.04)))
    assert changed.lse_d == by_hand.lse_d


def test_a_frame_off_takes_picture_and_sound(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(path: Path, setup: Setup, **_: object) -> VideoScore:
        seen.append(len(list(read.frames_at(path, 25))))
        return replace(setup.blank(), status="ok", lse_d=1.0, lse_c=1.0, offset_ms=0.0)

    monkeypatch.setattr("lipscore.eval.tools.noise.score_video", spy)
    setup = Setup(get_protocol("wav2lip-lrs"), load_models("mini", get_protocol("wav2lip-lrs"), device="cpu"))
    found = measure([Found(clip, clip.parent, "clip")], setup, lambda _: None)
    lengths = dict(zip(["original", *(moved.change.name for moved in found.moved)], seen, strict=True))
    assert lengths["frame_off"] == lengths["original"] - 1 == lengths["h264"] - 1


def test_a_sample_that_cannot_be_scored_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    done = CliRunner().invoke(app, ["noise", str(tmp_path / "broken.mp4"), "--out", str(tmp_path / "out"), *DIRECT])
    assert done.exit_code == 2 and "none of 1 videos" in done.stderr


def test_silence_is_no_sample(clip: Path, tmp_path: Path) -> None:
    """What silence scores moves by nothing, and would make the band too narrow."""
    silent = tmp_path / "silent.mp4"
    sound = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-map", "0:v", "-map", "1:a", "-shortest"]
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), *sound, "-c:v", "copy", f"file:{silent}"], silent)
    done = CliRunner().invoke(app, ["noise", str(silent), "--out", str(tmp_path / "out"), *DIRECT])
    assert done.exit_code == 2 and "no audible speech" in done.stderr


# A release against the last one


def scores_of(folder: Path) -> list[VideoScore]:
    return [record.score for record in read_records(folder / "scores.jsonl")[0]]


def test_worse_is_what_leaves_the_noise_band(tmp_path: Path) -> None:
    last = wrote(tmp_path / "last", REAL)
    (last / "noise.json").write_text(json.dumps({"bands": BANDS, "signature": str(SIGNED)}))
    found = baseline.judge(scores_of(wrote(tmp_path / "now", GOOD)), baseline.read(last, None))
    # a, b: LSE-D is 0.2 lower, c: LSE-C 0.5 lower: inside the band; d: LSE-D 2 higher and LSE-C 5 lower
    assert "by LSE-D, LSE-C: 1 worse, 0 better, 3 within the noise band" in found.summary
    assert found.worse == ("d: worse: LSE-D 7.000 -> 9.000 (band 0.500), LSE-C 6.000 -> 1.000 (band 1.200)",)
    assert not found.warnings


def test_a_video_that_is_gone_or_fails_is_worse(tmp_path: Path) -> None:
    last = wrote(tmp_path / "last", REAL)
    (last / "noise.json").write_text(json.dumps({"bands": BANDS}))
    now = wrote(tmp_path / "now", {"a": REAL["a"], "b": None, "new": REAL["a"]})
    found = baseline.judge(scores_of(now), baseline.read(last, None))
    assert any(line.startswith("c: in the baseline, but not in this run") for line in found.worse)
    assert "b: scored in the baseline, now no_face: no face" in found.worse and len(found.worse) == 3
    assert "1 videos are not in the baseline" in found.summary
    silent = [replace(score, silent=score.name == "c") for score in scores_of(wrote(tmp_path / "quiet", REAL))]
    assert baseline.judge(silent, baseline.read(last, None)).worse == (
        "c: scored in the baseline, now silent: no audible speech",
    )


def test_what_was_scored_differently_is_refused_and_a_band_is_needed(tmp_path: Path) -> None:
    last = wrote(tmp_path / "last", REAL)
    with pytest.raises(MissingError, match="noise band"):
        baseline.read(last, None)
    (tmp_path / "noise.json").write_text(json.dumps({"bands": BANDS, "signature": str(SIGNED)}))
    against = baseline.read(last, tmp_path / "noise.json")
    other = Signature({**SIGNED.values, "model": "vgg@other"})
    now = scores_of(wrote(tmp_path / "now", REAL, other))
    with pytest.raises(UsageError, match="model vgg@34 and vgg@other"):
        baseline.judge(now, against)
    assert len(baseline.judge(now, against, allow_mixed=True).warnings) == 2  # the results, and the band


def test_the_command_ends_with_1_where_a_video_is_worse(clip: Path, tmp_path: Path) -> None:
    command = ["score", str(clip), *DIRECT, "--scores-file", str(tmp_path / "all_scores.txt")]
    assert CliRunner().invoke(app, [*command, "--out", str(tmp_path / "last")]).exit_code == 0
    (tmp_path / "last" / "noise.json").write_text(json.dumps({"bands": BANDS}))
    judged = [*command, "--out", str(tmp_path / "now"), "--baseline", str(tmp_path / "last")]
    same = CliRunner().invoke(app, judged)
    assert same.exit_code == 0 and "0 worse, 0 better, 1 within the noise band" in same.stdout
    lines = (tmp_path / "last" / "scores.jsonl").read_text()
    record = json.loads(lines)
    record |= {"lse_d": record["lse_d"] - 1}
    (tmp_path / "last" / "scores.jsonl").write_text(json.dumps(record) + "\n")
    worse = CliRunner().invoke(app, judged)
    assert worse.exit_code == 1 and "clip: worse: LSE-D~" in worse.stderr
    assert CliRunner().invoke(app, [*command, "--noise", "x"]).exit_code == 2
