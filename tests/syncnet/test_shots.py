"""Shots against scenedetect's own SceneManager on files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenedetect import ContentDetector, SceneManager, open_video

from lipscore.media import read
from lipscore.syncnet.shots import _QuickDetector, find_shots


@pytest.mark.parametrize(
    "clip",
    ["talking/2p_2clip_2talk/12_woman_man_street_conversation.mp4", "talking/1p_closeup_facingcamera/7_woman_sing.mp4"],
)
def test_cuts_are_scenedetects(shared: Path, clip: str) -> None:
    path = shared / "clips" / clip
    video = open_video(str(path))
    manager = SceneManager()
    manager.add_detector(ContentDetector())
    n = manager.detect_scenes(video)
    shots = find_shots(read.opencv_frames(path), 27.0)
    assert [shot.start for shot in shots[1:]] == [cut.get_frames() for cut in manager.get_cut_list()]
    assert (shots[0].start, shots[-1].end) == (0, n)


def test_scores_are_scenedetects_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (61, 47, 3)).astype(np.uint8) // (1 + k % 5) for k in range(60)]
    scores: dict[type, list[float]] = {}
    for kind in (ContentDetector, _QuickDetector):
        detector, seen = kind(threshold=27.0), scores.setdefault(kind, [])
        score = detector._calculate_frame_score
        monkeypatch.setattr(
            detector, "_calculate_frame_score", lambda *a, score=score, seen=seen: seen.append(score(*a)) or seen[-1]
        )
        for number, frame in enumerate(frames):
            detector.process_frame(number, frame)
    one, other = scores.values()
    assert len(one) == 59 and one == other


def test_a_lower_threshold_cuts_no_less(shared: Path) -> None:
    path = shared / "clips/talking/1p_camera_movement/13_woman_walking_through_cave_handheld.mp4"
    counts = [len(find_shots(read.opencv_frames(path), threshold)) for threshold in (60.0, 27.0, 5.0)]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
