"""Milliseconds on real people: sound moved by 10 ms moves the offset by 10 ms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lipscore import Models, get_protocol
from lipscore.eval.run.floor import Keeping
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.metrics.subframe import offset_ms
from lipscore.syncnet.models.sync_pass import WindowPass

SHIFTS_MS = range(-80, 81, 10)
CLIPS = ("more/real/grid_pwij3p.mpg", "more/real/grid_s1_bbaf3s.mpg", "more/real/grid_sbwe5n.mpg", "real/interview.avi")


def later(pcm: NDArray[np.int16], ms: int) -> NDArray[np.int16]:
    """The same samples, heard so much later, and as many of them."""
    samples = 16 * ms
    moved = np.roll(pcm, samples)
    if samples > 0:
        moved[:samples] = 0
    elif samples < 0:
        moved[samples:] = 0
    return moved


@pytest.mark.slow
def test_the_offset_follows_the_sound_in_steps_of_10_ms(shared: Path, mini_models: Models) -> None:
    protocol = get_protocol("lipscore-1")
    errors: list[float] = []
    for clip in (shared / "clips" / name for name in CLIPS):
        if not clip.is_file():
            pytest.skip(f"no {clip}")
        keeping = Keeping(mini_models.sync)
        record = score_video(clip, Setup(protocol, replace(mini_models, sync=keeping)))
        assert record.status == "ok", record.reason
        track = max(keeping.tracks, key=lambda track: len(track.lips))
        found = []
        for ms in SHIFTS_MS:
            opened = mini_models.sync.open(later(track.pcm, ms), track.n_frames, protocol.vshift)
            assert isinstance(opened, WindowPass)
            opened.feed_lips(track.lips)
            found.append(offset_ms(opened.curve().mean))
        slope, own = np.polyfit([-ms for ms in SHIFTS_MS], found, 1)
        assert 0.95 <= slope <= 1.05, clip
        errors += [abs(ms + value - own) for ms, value in zip(SHIFTS_MS, found, strict=True)]
    assert np.mean(errors) < 3
