"""What makes a number trustworthy: the protocols, how tracks become a video, what is comparable, what is resumed.

Tables of literals: what is written here is the contract, and a record of an earlier run depends on it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import subprocess
from dataclasses import replace
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from lipscore import Models, __version__
from lipscore.eval import setup as eval_setup
from lipscore.eval.cli.main import app
from lipscore.eval.options import ReferenceOptions
from lipscore.eval.run.jobs import Piece
from lipscore.eval.run.work import record_key
from lipscore.eval.setup import Setup, settings_hash
from lipscore.eval.store.manifest import DECIDING, deciding_versions
from lipscore.eval.store.records import Record, read_records
from lipscore.eval.store.summary import lines, summarise
from lipscore.media import ffmpeg
from lipscore.metrics.reduce import reduce_tracks
from lipscore.syncnet.protocols import PROTOCOLS, Protocol, change
from lipscore.types import MediaInfo, TrackScore, VideoScore
from lipscore.weights.catalogue import S3FD, SYNCNET, WeightFile

ROOT = Path(__file__).resolve().parents[2]


BLANK = VideoScore("", "", "", "media_error", "", "wav2lip", "vgg", False)
WAV2LIP = PROTOCOLS["wav2lip"]


# docs/measures/protocols.md and the originals that `lipscore protocols NAME` names
ALIKE: dict[str, Any] = {
    "transcode": "avi",
    "direct": False,
    "audio_from": "transcoded",
    "frame_rate": 25,
    "facedet_scale": 0.25,
    "face_confidence": 0.9,
    "shot_threshold": 27.0,
    "min_track": 100,
    "min_face_size": 100,
    "max_gap": 25,
    "track_iou": 0.5,
    "low_iou": "next_box",
    "iou_epsilon": 0.0,
    "crop_scale": 0.4,
    "crop_codec": "xvid",
    "crop_audio": "async",
    "vshift": 15,
    "reduce": "mean",
}


PROTOCOL_TABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2lip": ("cb55f4db4907", {}),
    "joonson": ("cb55f4db4907", {}),
    "wav2lip-lrs": (
        "6757f166bd1e",
        {"direct": True, "transcode": "none", "audio_from": "input", "crop_codec": "none"},
    ),
    "mochabench": (
        "5e9d4dfa9d75",
        {
            "audio_from": "input",
            "min_track": 50,
            "low_iou": "next_frame",
            "iou_epsilon": 1e-8,
            "crop_audio": "aresample",
            "reduce": "extremes",
        },
    ),
    "latentsync": (
        "0d55a0544190",
        {"transcode": "mp4", "min_track": 50, "crop_codec": "mp4v", "reduce": "mean_offset"},
    ),
    "lipscore-1": (
        "44869e661b9e",
        {"transcode": "none", "audio_from": "clock", "min_track": 50, "crop_codec": "none", "crop_audio": "none"},
    ),
}


def test_the_protocols_are_these() -> None:
    assert list(PROTOCOLS) == list(PROTOCOL_TABLE)


@pytest.mark.parametrize("name", PROTOCOL_TABLE)
def test_a_protocols_numbers_and_hash(name: str) -> None:
    digest, differs = PROTOCOL_TABLE[name]
    assert PROTOCOLS[name].settings == {**ALIKE, **differs}
    assert PROTOCOLS[name].hash == digest
    assert PROTOCOLS[name].published == (name != "lipscore-1")


def track(lse_d: float, lse_c: float, offset: int, number: int = 0) -> TrackScore:
    return TrackScore(number, 0, 99, offset, lse_d, lse_c, 95, (0.0,) * 31)


# LSE-D, LSE-C, offset: neither the first nor the last is the most confident, which is not that of the least distance
THREE = track(8.0, 3.0, 4, 0), track(9.0, 7.0, -3, 1), track(7.0, 5.0, -3, 2)


NEGATIVE = track(8.0, 3.0, -2, 0), track(9.0, 7.0, -1, 1)


@pytest.mark.parametrize(
    ("rule", "tracks", "expected"),
    [
        ("mean", THREE, (8.0, 5.0, -3)),
        ("extremes", THREE, (7.0, 7.0, -3)),
        ("mean_offset", THREE, (8.0, 5.0, 0)),  # -2 / 3 towards zero
        ("mean", THREE[:2], (8.5, 5.0, -3)),
        ("extremes", THREE[:2], (8.0, 7.0, -3)),
        ("mean_offset", THREE[:2], (8.5, 5.0, 0)),  # 1 / 2
        ("mean_offset", NEGATIVE, (8.5, 5.0, -1)),  # -3 / 2 towards zero, where rounding gives -2
        ("mean_offset", (track(8.0, 3.0, 2), track(9.0, 7.0, 3)), (8.5, 5.0, 2)),  # 5 / 2, truncated
        ("mean_offset", (track(8.0, 3.0, 3), track(9.0, 7.0, 4)), (8.5, 5.0, 3)),  # 7 / 2, where rounding gives 4
        *((rule, THREE[1:2], (9.0, 7.0, -3)) for rule in ("mean", "extremes", "mean_offset")),
        ("mean", (track(8.0, 5.0, 1), track(8.0, 5.0, 2)), (8.0, 5.0, 1)),  # equally confident: the first
    ],
)
def test_tracks_become_a_video(rule: str, tracks: tuple[TrackScore, ...], expected: tuple[float, float, int]) -> None:
    assert reduce_tracks(tracks, rule) == pytest.approx(expected)


class Named:
    """Of an embedder no more than its name, and that it estimates nothing."""

    unrelated = None

    def __init__(self, name: str) -> None:
        self.name = name


def models_of(
    embedder: str = "vgg", detector: str = "s3fd", sha256: str = "ab" * 32, path: str = "/w", **more: Any
) -> Models:
    files = (
        WeightFile(SYNCNET, Path(path) / SYNCNET, "cd" * 32, True),
        WeightFile(S3FD, Path(path) / S3FD, sha256, True),
    )
    device = torch.device(more.pop("device", "cpu"))
    return Models(Named(embedder), lambda _: pytest.fail("not asked for"), detector, files, device, **more)  # type: ignore[arg-type]


ASKED = {
    "align": "timestamp",
    "max_shift": 5,
    "region": "frame",
    "resize": "area",
    "all_variants": False,
    "detections": False,
    "changed": [],
    "ffmpeg": "7.0.2-static",
    "lipscore": "0.1.0",
}


def test_the_settings_hash_of_a_run_stays_what_it_was() -> None:
    """If this fails, every result of an earlier version is scored again: raise the record's schema, or undo it."""
    assert settings_hash(Setup(WAV2LIP, models_of()), ASKED) == "91aab01866a2fad9"
    assert settings_hash(Setup(PROTOCOLS["wav2lip-lrs"], models_of(detector="none")), ASKED) == "cbbdb155f5b77d20"


def test_a_records_key_stays_what_it_was(tmp_path: Path) -> None:
    settings, video, other = "91aab01866a2fad9", "ef" * 32, hashlib.sha256(b"other").hexdigest()
    info = MediaInfo(tmp_path / "talk.mp4", Fraction(25), 100, 64, 64, 16000, 4.0)
    keys = [
        record_key(settings, [video, "", ""]),
        record_key(settings, [video, other, ""]),
        record_key(settings, [video, "", other]),
        record_key(settings, [video, "", ""], Piece(info, Fraction(1, 25), Fraction(2))),
    ]
    assert keys == ["93cb2c00956420b9", "316224eb0daa51e8", "ed0ac47e02e6d01a", "2d50ba0204f81ec7"]


def test_the_options_in_the_settings_hash() -> None:
    asked = Setup(WAV2LIP, models_of(), ReferenceOptions(max_shift=5)).options_record()
    made_with = {"ffmpeg": ffmpeg.ffmpeg_version(), "lipscore": __version__, **deciding_versions()}
    assert asked == {**ASKED, **made_with}
    assert asked["packages"] == {
        name: metadata.version(name).partition("+")[0] for name in ("torch", "opencv-python-headless", "av", "dlib-bin")
    }
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert asked["revision"] == (head.stdout.strip() or None)
    assert ffmpeg.ffmpeg_version()


def hash_with(protocol: Protocol = WAV2LIP, models: dict[str, Any] | None = None, **options: Any) -> str:
    detections = options.pop("detections", False)
    return Setup(protocol, models_of(**(models or {})), ReferenceOptions(**options), detections).settings()


def test_each_setting_that_decides_a_number_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {
        "nothing": hash_with(),
        "region": hash_with(region="face"),
        "mouth": hash_with(region="mouth"),
        "align": hash_with(align="index"),
        "max_shift": hash_with(max_shift=6),
        "resize": hash_with(resize="bicubic"),
        "all_variants": hash_with(all_variants=True),
        "detections": hash_with(detections=True),
        "protocol": hash_with(PROTOCOLS["joonson"]),  # the same numbers, but another name in the record
        "weights": hash_with(models={"sha256": "00" * 32}),
        "detector": hash_with(models={"detector": "given"}),
        "model": hash_with(models={"embedder": "mini"}),
        "changed": hash_with(models={"changed": ("networks in bf16",)}),
    }
    for name, value in ALIKE.items():
        other: Any = not value if isinstance(value, bool) else f"{value}?" if isinstance(value, str) else value + 1
        hashes[f"protocol's {name}"] = hash_with(replace(WAV2LIP, **dict[str, Any]({name: other})))
    monkeypatch.setattr(ffmpeg, "ffmpeg_version", lambda: "another build")
    hashes["FFmpeg"] = hash_with()
    monkeypatch.undo()
    each: list[dict[str, Any]] = [{"revision": "another"}, *({"packages": {name: "another"}} for name in DECIDING)]
    for changed in each:
        made_with = {**deciding_versions(), **changed}
        monkeypatch.setattr(eval_setup, "deciding_versions", lambda made_with=made_with: made_with)
        hashes[str(changed)] = hash_with()
    for one, two in itertools.combinations(hashes, 2):
        assert hashes[one] != hashes[two], f"{one} and {two}"


def test_options_that_decide_no_number_leave_the_hash() -> None:
    for same in (
        hash_with(change(WAV2LIP, {"batch_size": 3})),
        hash_with(models={"path": "/elsewhere"}),
        hash_with(models={"device": "cuda"}),
        hash_with(models={"note": "said aloud"}),
    ):
        assert same == hash_with()


@pytest.mark.parametrize("protocol", ["wav2lip", "wav2lip-lrs"])
def test_a_video_that_fails_before_scoring_has_a_whole_record(
    random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setenv("LIPSCORE_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.mp4").write_text("no video")
    run = ["score", "in/gone.mp4", "in", "--protocol", protocol, "--vshift", "10", "--device", "cpu"]
    weights_of = ["--model", "vgg", "--weights-dir", str(random_weights), "--allow-unverified"]
    assert CliRunner().invoke(app, [*run, *weights_of, "--out", "out"]).exit_code == 1
    records, problems = read_records(tmp_path / "out" / "scores.jsonl")
    records.sort(key=lambda record: record.score.name)
    assert [record.score.name for record in records] == ["gone", "text"] and not problems
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    for record in records:
        score = record.score
        assert (score.status, score.protocol, score.model) == ("media_error", protocol, "vgg")
        assert score.detector == ("s3fd" if protocol == "wav2lip" else "none")
        assert score.protocol_hash == change(PROTOCOLS[protocol], {"vshift": 10}).hash
        assert score.changed == (f"vshift=10 ({protocol}: 15)",)
        assert score.notes and all("weights not verified" in note for note in score.notes)
        assert not score.comparable
        assert (score.lse_d, score.lse_c, score.offset, score.tracks) == (None, None, None, ())
        assert score.reason and record.settings == settings


def test_psnr_of_videos_without_a_face_counts_in_the_means() -> None:
    scored = replace(
        BLANK, status="ok", tracks=(track(7.0, 6.0, 0),), lse_d=7.0, lse_c=6.0, offset=0, psnr=40.0, ssim=0.9
    )
    faceless = replace(BLANK, status="no_face", psnr=30.0, ssim=0.5)
    found = summarise([Record(scored, "s"), Record(faceless, "s"), Record(BLANK, "s")], 4)
    means = {name: (round(value.value, 12), value.n) for name, value in found.videos.items()}
    assert means == {"lse_d": (7.0, 1), "lse_c": (6.0, 1), "psnr": (35.0, 2), "ssim": (0.7, 2)}
    assert {name: (value.value, value.n) for name, value in found.rows.items()} == {"lse_d": (7, 1), "lse_c": (6, 1)}
    assert (found.scored, found.total, len(found.not_scored)) == (1, 4, 2)
    assert "PSNR 35.000000 (n=2)" in lines(found)[0]


def test_rows_and_videos_are_averaged_apart() -> None:
    first = replace(BLANK, status="ok", tracks=THREE, lse_d=7.0, lse_c=7.0, offset=-3)
    second = replace(BLANK, status="ok", tracks=(track(6.0, 9.0, 1),), lse_d=6.0, lse_c=9.0, offset=1)
    found = summarise([Record(first, "s"), Record(second, "s")], 2)
    assert (found.rows["lse_d"].value, found.rows["lse_c"].n) == (7.5, 4)
    assert (found.videos["lse_d"].value, found.videos["lse_c"].value) == (6.5, 8.0)
    assert math.isnan(found.videos["psnr"].value)
