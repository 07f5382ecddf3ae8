"""Damaged copies of a video, 300 of them, by both ways of decoding: each ends as a status, none hangs, none leaks."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lipscore import Models, get_protocol
from lipscore.eval.run.batch import scorer_of
from lipscore.eval.run.jobs import Job, Silent, Task
from lipscore.eval.run.runner import run
from lipscore.eval.run.work import on_threads
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.eval.store.records import RecordStore
from lipscore.media import ffmpeg
from lipscore.media.limits import Limits
from lipscore.syncnet.protocols import change

N_FILES = 300
SUFFIXES = (".mp4", ".avi", ".mkv", ".ts", ".mov")
LONGEST_S = 60.0  # of one video; those of 2.4 s take two, so that only a hang reaches it
MEMORY = 700 << 20  # bytes by which the process may grow over the whole run


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One of five kinds of damage: bits flipped, a block overwritten, cut short, a block taken out, one repeated."""
    kind = int(rng.integers(5))
    content = bytearray(data)
    # half of the damage in the first or last part, where the indexes are
    span = len(content) if rng.integers(2) else min(len(content), 4096)
    start = 0 if rng.integers(2) else len(content) - span
    at = start + int(rng.integers(max(1, span)))
    size = int(rng.integers(1, 2000))
    if kind == 0:
        for place in rng.integers(start, start + span, int(rng.integers(1, 30))):
            content[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        content[at : at + size] = rng.integers(0, 256, len(content[at : at + size]), np.uint8).tobytes()
    elif kind == 2:
        del content[at:]
    elif kind == 3:
        del content[at : at + size]
    else:
        content[at:at] = content[at : at + size]
    return bytes(content)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
@pytest.mark.parametrize("protocol", ["lipscore-1", "wav2lip"])
def test_no_damage_is_an_error_a_hang_or_a_leak(
    tmp_path: Path, talk: Path, mini_models: Models, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    sources = []
    for suffix in SUFFIXES:
        path = tmp_path / f"short{suffix}"
        args = [*ffmpeg.input_args(talk), "-t", "2.4", "-vf", "scale=320:320", f"file:{path}"]
        ffmpeg.run_ffmpeg(args, path)
        sources.append(path)
    setup = Setup(change(get_protocol(protocol), {"min_track": 25}), mini_models)
    before = resident()
    statuses: Counter[str] = Counter()
    for number in range(N_FILES):
        source = sources[number % len(sources)]
        rng = np.random.default_rng([18, number])
        damaged = tmp_path / f"damaged-{number:03d}{source.suffix}"
        damaged.write_bytes(mutated(source.read_bytes(), rng))
        start = time.monotonic()
        score = scorer_of(setup, Stop(), lambda *_: None, limits=Limits(max_seconds=LONGEST_S))
        task = Task(setup.blank(), setup.settings())
        jobs, store = [Job(damaged, damaged.stem)], RecordStore(tmp_path / "out")
        outcome = run(jobs, on_threads(jobs, score, task, store, Silent()), task, store, Silent())
        record = outcome.records[0].score
        statuses[record.status] += 1
        assert record.status not in ("error", "timed_out"), (damaged, record.reason)
        assert record.status == "ok" or record.reason, damaged
        assert time.monotonic() - start < LONGEST_S, damaged
        assert not list(scratch.iterdir()) and not ffmpeg._running, damaged
        damaged.unlink()
    print(protocol, dict(statuses), f"grew by {(resident() - before) >> 20} MB")
    assert sum(statuses.values()) == N_FILES
    assert resident() - before < MEMORY
