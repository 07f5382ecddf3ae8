"""What a protocol makes of a file before faces are looked for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lipscore.errors import NotScoredError
from lipscore.media import read, write
from lipscore.media.decode.passes import Remembered, Stored
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.source import prepare


@pytest.mark.parametrize(("budget", "made"), [(1000, 1), (10, 2)])
def test_frames_are_kept_between_passes_up_to_a_bound(budget: int, made: int) -> None:
    calls = []

    frames = [np.full((2, 2), k, np.uint8) for k in range(3)]

    def make():  # type: ignore[no-untyped-def]
        calls.append(1)
        return iter(frames)

    stream = Remembered(make, budget)
    assert np.array_equal(list(stream()), frames) and np.array_equal(list(stream()), frames)
    assert len(calls) == made


@pytest.mark.parametrize(("budget", "made"), [(1000, 1), (10, 2)])
def test_jpegs_lie_on_disk_between_passes_up_to_a_bound(tmp_path: Path, budget: int, made: int) -> None:
    calls = []

    def make():  # type: ignore[no-untyped-def]
        calls.append(1)
        return iter([b"12345", b"6789", b"abcdef"])

    stream = Stored(make, tmp_path, budget)
    assert list(stream()) == list(stream()) == [b"12345", b"6789", b"abcdef"]
    assert len(calls) == made


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_full_disk_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY) if Path("/dev/full").exists() else pytest.skip("no /dev/full here")
    monkeypatch.setattr("lipscore.media.decode.passes.tempfile.mkstemp", lambda dir: (full, str(dir / "x")))
    large = [b"x" * size] * 3
    stream = Stored(lambda: iter(large), tmp_path)
    assert list(stream()) == large


def test_a_pass_that_breaks_off_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    for stream in (Remembered(lambda: iter(np.eye(3))), Stored(lambda: iter([b"1", b"2", b"3"]), tmp_path)):
        next(iter(stream()))
        assert len(list(stream())) == 3


def test_lipscore_1_writes_no_file_and_starts_on_the_video(tmp_path: Path, shared: Path) -> None:
    path = shared / "clips/real/interview.avi"
    source = prepare(read.probe(path), PROTOCOLS["lipscore-1"], tmp_path)
    assert not list(tmp_path.iterdir())
    frames = list(source.frames.packed())
    assert all(np.array_equal(a, b) for a, b in zip(frames[:5], read.frames_at(path), strict=False))
    assert np.array_equal(source.pcm, read.read_pcm(path))


@pytest.mark.parametrize("name", ["wav2lip", "latentsync", "lipscore-1"])
def test_missing_audio_is_reported_before_transcoding(tmp_path: Path, name: str) -> None:
    path = tmp_path / "silent.mp4"
    write.write_video(path, [np.zeros((48, 64, 3), np.uint8)] * 5, 25)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(NotScoredError, match="no audio"):
        prepare(read.probe(path), PROTOCOLS[name], work)
    assert not list(work.iterdir())
