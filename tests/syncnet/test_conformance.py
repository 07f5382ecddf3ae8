"""Every step and every number against what the original implementations gave, with the kit's weights and boxes.

`make test` takes two clips, `make test-all` all of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipscore import score_video
from lipscore.eval.setup import Models, load_models
from lipscore.faces.given import GivenBoxes
from lipscore.faces.scan import scan
from lipscore.media import ffmpeg, read
from lipscore.pool import Pool
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.shots import find_shots
from lipscore.syncnet.source import prepare
from lipscore.syncnet.tracks import find_tracks

QUICK = ("closeup_doctor", "dialogue_street")
SLOW = (
    *("closeup_reading", "camera_cave", "action_chef", "emotion_cat"),
    *("two_people", "phone_1080p", "phone_30fps", "speech_avi"),
)
CLIPS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
TRACKED = ("wav2lip", "mochabench", "latentsync")


def boxes_of(shared: Path, protocol: str) -> Path:
    return shared / "conformance/detections" / ("mp4" if protocol == "latentsync" else "avi")


@pytest.fixture(scope="module")
def load(shared: Path, kit_weights: Path) -> Any:
    """protocol name -> the kit's models for it, loaded once."""
    loaded: dict[str, Models] = {}

    def get(protocol: str) -> Models:
        if protocol not in loaded:
            loaded[protocol] = load_models(
                "vgg",
                PROTOCOLS[protocol],
                weights_dir=kit_weights,
                allow_unverified=True,
                detections=boxes_of(shared, protocol),
                device="cpu",
            )
        return loaded[protocol]

    return get


def assert_score(track: Any, golden: dict[str, Any]) -> None:
    assert (track.n_windows, track.offset) == (golden["n_windows"], golden["offset"])
    assert np.abs(np.array(track.curve) - golden["curve"]).max() < 1e-3
    assert track.lse_d == pytest.approx(golden["lse_d"], abs=1e-3)
    assert track.lse_c == pytest.approx(golden["lse_c"], abs=1e-3)


@pytest.mark.parametrize("protocol", TRACKED)
@pytest.mark.parametrize("name", CLIPS)
def test_shots_tracks_and_scores_are_the_originals(
    name: str, protocol: str, golden: dict[str, Any], clip_paths: dict[str, Path], load: Any, shared: Path
) -> None:
    want = golden[name][protocol]
    record = score_video(clip_paths[name], PROTOCOLS[protocol], load(protocol))
    assert [[shot.start, shot.end] for shot in record.shots] == want["scenes"]
    assert not record.comparable
    if not want["tracks"]:
        assert record.status == "no_track"
        return
    assert (record.status, record.reason) == ("ok", "")
    assert len(record.tracks) == len(want["tracks"])
    for track, golden_track in zip(record.tracks, want["tracks"], strict=True):
        assert (track.first_frame, track.last_frame) == (golden_track["first_frame"], golden_track["last_frame"])
        assert_score(track, golden_track)


@pytest.mark.parametrize("protocol", TRACKED)
@pytest.mark.parametrize("name", CLIPS)
def test_frames_samples_and_boxes(
    name: str, protocol: str, golden: dict[str, Any], clip_paths: dict[str, Path], shared: Path, tmp_path: Path
) -> None:
    want, settings = golden[name][protocol], PROTOCOLS[protocol]
    source = prepare(read.probe(clip_paths[name]), settings, tmp_path)
    assert sum(1 for _ in source.frames.packed()) == want["n_frames"]
    assert len(source.pcm) == want["n_samples"]
    shots = find_shots(source.shot_frames(), settings.shot_threshold)
    detector = GivenBoxes(boxes_of(shared, protocol)).for_video(clip_paths[name])
    tracks = find_tracks(scan(source.frames, shots, detector, Pool(2)).boxes, shots, settings).tracks
    for track, golden_track in zip(tracks, want["tracks"], strict=True):
        sample = track.boxes_xyxy[[0, len(track.frames) // 2, -1]]
        assert np.abs(sample - golden_track["boxes_xyxy_first_mid_last"]).max() < 1e-3


@pytest.mark.parametrize("name", [*CLIPS, pytest.param("example", marks=pytest.mark.slow)])
def test_whole_files_as_crops(name: str, golden: dict[str, Any], clip_paths: dict[str, Path], load: Any) -> None:
    record = score_video(clip_paths[name], PROTOCOLS["wav2lip-lrs"], load("wav2lip-lrs"))
    (track,) = record.tracks
    assert_score(track, golden[name]["wav2lip-lrs"])


def test_the_kit_is_what_this_file_lists(golden: dict[str, Any], shared: Path) -> None:
    assert set(golden) == {*QUICK, *SLOW, "example"}
    versions = json.loads((shared / "conformance/versions.json").read_text())
    assert versions["ffmpeg"].startswith(ffmpeg.ffmpeg_version().split("-")[0])
