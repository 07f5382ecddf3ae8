"""Which scores are comparable with published ones: what ends it, and what is said then."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipscore import Models, load_models, score_video
from lipscore.errors import WeightsError
from lipscore.eval.options import ModelOptions
from lipscore.eval.scorer import Scorer
from lipscore.eval.tools.doctor import examine
from lipscore.media import ffmpeg
from lipscore.syncnet.protocols import PROTOCOLS, change
from lipscore.weights import fetch
from lipscore.weights.catalogue import PUBLISHED, S3FD, SYNCNET

WAV2LIP = PROTOCOLS["wav2lip"]


@pytest.fixture
def verified(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weight files whose SHA-256 are the published ones, for the test."""
    published = {}
    for name in (SYNCNET, S3FD):
        with (random_weights / name).open("rb") as file:
            published[name] = replace(PUBLISHED[name], sha256=hashlib.file_digest(file, "sha256").hexdigest())
    monkeypatch.setattr(fetch, "PUBLISHED", published)
    return random_weights


def test_official_weights_and_an_unchanged_protocol_are_comparable(verified: Path, tmp_path: Path) -> None:
    models = load_models("vgg", weights_dir=verified, device="cpu")
    assert [file.verified for file in models.weights] == [True, True]
    for name, protocol in PROTOCOLS.items():
        assert models.comparable(protocol) == (name != "lipscore-1"), name
    for change_of, comparable in (
        ({"min_track": 50}, False),
        ({"crop_scale": 0.5}, False),
        ({"vshift": 10}, False),
        ({"face_confidence": 0.8}, False),
        ({"batch_size": 2}, True),
        ({"min_track": 100}, True),
    ):
        assert models.comparable(change(WAV2LIP, change_of)) == comparable, change_of
    own = replace(WAV2LIP, name="mine")
    assert not models.comparable(own)
    record = score_video(tmp_path / "gone.mp4", WAV2LIP, models)
    assert record.comparable and record.detector == "s3fd" and record.notes == ()

    for other in (
        replace(models, changed=("fast (S3FD on every 5th frame)",)),
        replace(models, changed=("networks in bf16",)),
        replace(models, detector="given"),
        replace(models, detector="hog"),
        replace(models, weights=(models.weights[0], replace(models.weights[1], verified=False))),
        replace(models, weights=(replace(models.weights[0], verified=False), models.weights[1])),
    ):
        assert not other.comparable(WAV2LIP)


@pytest.mark.parametrize(
    ("options", "comparable", "changed"),
    [
        ({"fast": True, "precision": "fp32"}, False, ("fast (S3FD on every 5th frame)",)),
        ({"precision": "bf16"}, False, ("networks in bf16",)),
        ({"detections": True}, False, ()),
        ({"protocol": "wav2lip-lrs"}, True, ()),
        ({"protocol": "wav2lip-lrs", "precision": "bf16"}, False, ("networks in bf16",)),
    ],
)
def test_options_of_load_models_end_comparability(
    verified: Path, tmp_path: Path, options: dict[str, Any], comparable: bool, changed: tuple[str, ...]
) -> None:
    protocol = PROTOCOLS[options.get("protocol", "wav2lip")]
    asked = {name: value for name, value in options.items() if name != "protocol"}
    if "detections" in asked:
        asked["detections"] = tmp_path
    models = load_models("vgg", protocol, weights_dir=verified, device="cpu", **asked)
    assert (models.comparable(protocol), models.changed) == (comparable, changed)


def test_another_ffmpeg_ends_it_and_says_so(verified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = load_models("vgg", weights_dir=verified, device="cpu")
    assert models.comparable(WAV2LIP) and ffmpeg.ffmpeg_version() == "7.0.2-static"
    with monkeypatch.context() as patched:
        patched.setattr(ffmpeg, "ffmpeg_version", lambda: "9.0.2-static")
        other = score_video(tmp_path / "gone.mp4", WAV2LIP, models)
    assert not other.comparable and "FFmpeg 9.0.2-static" in other.notes[-1] and "7.0.2-static" in other.notes[-1]
    monkeypatch.setenv("LIPSCORE_FFMPEG", ffmpeg.ffmpeg_path())
    assert not models.comparable(WAV2LIP)
    said: list[str] = []
    monkeypatch.setattr("lipscore.eval.tools.doctor._clip", lambda: ("ok", "not tried"))
    examine(said.append)
    assert any(line.startswith("WARN  FFmpeg 7.0.2") for line in said)


def test_python_is_warned_when_the_built_in_model_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    for name in ("LIPSCORE_WEIGHTS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("LIPSCORE_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    load_models("mini", device="cpu")
    assert not recwarn.list, "who asks for it knows"
    with pytest.warns(UserWarning, match="the built-in model scores"):
        load_models("auto", device="cpu")
    with pytest.warns(UserWarning, match="the built-in model scores"):
        Scorer.load("wav2lip", ModelOptions("auto", device="cpu"))


@pytest.mark.parametrize("model", ["vgg", "auto"])
def test_files_that_are_not_the_published_ones_do_not_score_unasked(random_weights: Path, model: str) -> None:
    """Nor does the built-in model take over: the user has put files there, and must hear of it."""
    with pytest.raises(WeightsError, match="allow-unverified"):
        load_models(model, weights_dir=random_weights, device="cpu")


def test_other_weights_and_the_built_in_model_are_not_comparable(random_weights: Path, mini_models: Models) -> None:
    lrs = PROTOCOLS["wav2lip-lrs"]
    unverified = load_models("vgg", lrs, weights_dir=random_weights, allow_unverified=True, device="cpu")
    assert not unverified.comparable(lrs)
    assert "not verified: syncnet_v2.model" in unverified.weights_notes[0]
    for protocol in PROTOCOLS.values():
        assert not mini_models.comparable(protocol)
        assert not replace(mini_models, detector="s3fd").comparable(protocol)
