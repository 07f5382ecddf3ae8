"""What a protocol makes of a file before faces are looked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipscore.errors import NotScoredError
from lipscore.syncnet import media
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.source import Remembered, prepare


@pytest.mark.parametrize(("budget", "made"), [(1000, 1), (10, 2)])
def test_frames_are_kept_between_passes_up_to_a_bound(budget: int, made: int) -> None:
    calls = []

    def make():  # type: ignore[no-untyped-def]
        calls.append(1)
        return iter([b"12345", b"6789", b"abcdef"])

    stream = Remembered(make, budget)
    assert list(stream()) == list(stream()) == [b"12345", b"6789", b"abcdef"]
    assert len(calls) == made


def test_a_pass_that_breaks_off_is_not_taken_for_the_whole() -> None:
    stream = Remembered(lambda: iter([b"1", b"2", b"3"]))
    assert next(stream()) == b"1"
    assert list(stream()) == [b"1", b"2", b"3"]


def test_lipscore_1_writes_no_file_and_starts_on_the_video(tmp_path: Path, shared: Path) -> None:
    path = shared / "clips/real/interview.avi"
    source = prepare(media.probe(path), PROTOCOLS["lipscore-1"], tmp_path)
    assert not list(tmp_path.iterdir())
    frames = list(source.frames.packed())
    assert all(np.array_equal(a, b) for a, b in zip(frames[:5], media.frames_at(path), strict=False))
    assert np.array_equal(source.pcm, media.read_pcm(path))


@pytest.mark.parametrize("name", ["wav2lip", "latentsync", "lipscore-1"])
def test_no_audio_is_said_before_anything_is_transcoded(tmp_path: Path, name: str) -> None:
    path = tmp_path / "silent.mp4"
    media.write_video(path, [np.zeros((48, 64, 3), np.uint8)] * 5, 25)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(NotScoredError, match="no audio"):
        prepare(media.probe(path), PROTOCOLS[name], work)
    assert not list(work.iterdir())
