"""A score must not depend on how many cores the machine has, nor on what is scored beside it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lipscore import load_models, score_video
from lipscore.media import ffmpeg, write
from lipscore.syncnet.protocols import PROTOCOLS


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_transcoding_gives_the_same_picture_on_one_core(
    clip_paths: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("needs two cores")
    pictures = []
    for here in (cores, {min(cores)}):
        target = tmp_path / f"{len(here)}.{suffix}"
        try:
            os.sched_setaffinity(0, here)
            write.transcode(clip_paths["closeup_doctor"], target, ["-qscale:v", "2", "-async", "1", "-r", "25"])
        finally:
            os.sched_setaffinity(0, cores)
        pictures.append(ffmpeg.run_ffmpeg([*ffmpeg.input_args(target), "-map", "0:v", "-f", "md5", "-"], target))
    assert pictures[0] == pictures[1]


def test_concurrent_videos_score_as_they_do_alone(clip_paths: dict[str, Path]) -> None:
    protocol = PROTOCOLS["mochabench"]
    models = load_models("mini", protocol, device="cpu", cores=2)
    videos = [clip_paths[name] for name in ("closeup_doctor", "camera_cave")]
    alone = [score_video(video, protocol, models) for video in videos]
    with ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(lambda video: score_video(video, protocol, models), videos))
    for one, other in zip(alone, beside, strict=True):
        assert one.status == "ok" and one.tracks == other.tracks
