"""A score must not depend on how many cores the machine has, nor on what is scored beside it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from lipscore import load_models, score_video
from lipscore.errors import MediaError
from lipscore.eval.run.threads import Threads
from lipscore.eval.stop import Stop
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


def test_a_run_that_ends_leaves_the_others_of_its_process_alone(tmp_path: Path) -> None:
    """Its own FFmpegs end with it; one that another thread of the caller's started goes on to its end."""
    began = threading.Semaphore(0)
    read: list[int] = []

    def sound(seconds: float) -> int:
        args = ["-f", "lavfi", "-re", "-i", f"anullsrc=d={seconds}", "-f", "s16le", "-"]
        with ffmpeg.open_ffmpeg(args, tmp_path) as pipe:
            began.release()
            return len(pipe.read())

    def results() -> None:
        with suppress(MediaError):  # its FFmpeg was ended
            read.extend(found for _, found in run.results())

    beside = threading.Thread(target=lambda: read.append(sound(1.5)))
    run = Threads([60, 60], sound, 2, Stop())
    own = threading.Thread(target=results)
    for thread in (beside, own):
        thread.start()
    assert all(began.acquire(timeout=10) for _ in range(3))
    run.stop()
    own.join(5)
    assert not own.is_alive()
    beside.join()
    assert read == [round(1.5 * 44100) * 2 * 2]
