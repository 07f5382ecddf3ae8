"""A score must not depend on how many cores the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lipscore.syncnet import ffmpeg, media


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
            media.transcode(clip_paths["closeup_doctor"], target, ["-qscale:v", "2", "-async", "1", "-r", "25"])
        finally:
            os.sched_setaffinity(0, cores)
        pictures.append(ffmpeg.run_ffmpeg([*ffmpeg.input_args(target), "-map", "0:v", "-f", "md5", "-"], target))
    assert pictures[0] == pictures[1]
