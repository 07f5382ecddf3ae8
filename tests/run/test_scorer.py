"""The Python interface: files, arrays and folders; it prints nothing and writes only where it is told."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import lipscore
from lipscore import ModelOptions, ProtocolOptions, ReferenceOptions, Scorer, Trace, UsageError, VideoScore
from lipscore.eval.options import InputOptions, OutputOptions, Request, RunOptions
from lipscore.eval.store.scores_file import read_scores
from lipscore.media import ffmpeg, read
from lipscore.media.decode.arrays import nearest_frames


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load("lipscore-1", "mini")


@pytest.fixture(scope="module")
def arrays(talk: Path) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """The drawn head's frames, RGB at 25 fps, and its samples at 16 kHz."""
    return np.stack(list(read.frames_at(talk)))[..., ::-1], read.read_pcm(talk)


def lossless(path: Path, frames: NDArray[np.uint8], pcm: NDArray[np.int16]) -> Path:
    """Frames (RGB, 25 fps) and samples (16 kHz) in a file that keeps every bit."""
    sound = path.with_suffix(".raw")
    sound.write_bytes(pcm.tobytes())
    height, width = frames.shape[1:3]
    picture = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    args = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", str(sound), "-c:v", "ffv1", "-pix_fmt", "bgr0"]
    command = [ffmpeg.ffmpeg_path(), "-v", "error", "-y", *picture, *args, "-c:a", "pcm_s16le", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


def same(one: VideoScore, other: VideoScore) -> None:
    assert one.status == other.status == "ok", (one.reason, other.reason)
    for a, b in zip(one.tracks, other.tracks, strict=True):
        assert (a.offset, a.n_windows) == (b.offset, b.n_windows)
        assert (a.lse_d, a.lse_c) == pytest.approx((b.lse_d, b.lse_c), abs=1e-4)
        np.testing.assert_allclose(a.curve, b.curve, atol=1e-4)


def test_frames_score_as_the_same_frames_from_a_lossless_file(
    scorer: Scorer, arrays: tuple[NDArray[np.uint8], NDArray[np.int16]], tmp_path: Path
) -> None:
    frames, pcm = arrays
    trace = Trace()
    from_arrays = scorer.score_frames(frames, 25, pcm, 16000, name="loop", trace=trace)
    same(from_arrays, scorer.score(lossless(tmp_path / "talk.mkv", frames, pcm)))
    assert (from_arrays.name, from_arrays.n_frames, from_arrays.protocol) == ("loop", len(frames), "lipscore-1")
    assert trace.faces is not None and len(trace.faces.boxes) == len(frames) and len(trace.tracks) == 1
    loud = (pcm.astype(np.float32) / 32768)[:, None].repeat(2, axis=1)
    same(from_arrays, scorer.score_frames(frames, 25.0, loud, 16000))


def test_other_rates_are_brought_to_the_protocols(
    scorer: Scorer, arrays: tuple[NDArray[np.uint8], NDArray[np.int16]]
) -> None:
    frames, pcm = arrays
    doubled = scorer.score_frames(frames.repeat(2, axis=0), Fraction(50), pcm.repeat(3), 48000)
    plain = scorer.score_frames(frames, 25, pcm, 16000)
    assert doubled.offset == plain.offset and doubled.n_frames == plain.n_frames
    assert doubled.lse_c == pytest.approx(plain.lse_c, abs=0.5)  # held samples are not a clean resampling


@given(st.integers(1, 60), st.fractions(Fraction(1), Fraction(120)), st.integers(1, 60))
def test_the_nearest_frame_is_taken(count: int, fps: Fraction, rate: int) -> None:
    chosen = nearest_frames(count, fps, rate)
    assert len(chosen) == -(-count * rate // fps)
    for k, number in enumerate(chosen):
        wanted = Fraction(k, rate)
        naive = min(range(count), key=lambda i: (abs(Fraction(i) / fps - wanted), i))
        assert number == naive


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"frames": np.zeros((9, 8, 8), np.uint8)}, "frames"),
        ({"frames": np.zeros((9, 8, 8, 3), np.float32)}, "frames"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, "frames"),
        ({"fps": 0}, "fps"),
        ({"pcm": np.zeros(99, np.int32)}, "pcm"),
        ({"pcm": np.full(99, np.nan, np.float32)}, "pcm"),
        ({"sample_rate": -1}, "sample_rate"),
    ],
)
def test_arrays_that_cannot_be_scored_are_named(scorer: Scorer, change: dict[str, Any], argument: str) -> None:
    given_ = {
        "frames": np.zeros((9, 8, 8, 3), np.uint8),
        "fps": 25,
        "pcm": np.zeros(99, np.int16),
        "sample_rate": 16000,
    }
    with pytest.raises(UsageError, match=f"^{argument} = "):
        scorer.score_frames(**{**given_, **change})


def test_a_protocol_that_reads_files_takes_no_arrays() -> None:
    with pytest.raises(UsageError, match="reads files"):
        Scorer.load("wav2lip", "mini").score_frames(np.zeros((9, 8, 8, 3), np.uint8), 25, np.zeros(9, np.int16), 16000)


@pytest.fixture
def folder(talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a good and a broken video; nothing may appear in the current folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "talk.mp4").symlink_to(talk)
    (tmp_path / "in" / "text.mp4").write_text("no video")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path
    assert not list((tmp_path / "here").iterdir())


def test_a_batch_prints_nothing_and_writes_nothing(
    scorer: Scorer, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    records = {record.name: record for record in scorer.score_all(str(folder / "in"))}
    assert {name: record.status for name, record in records.items()} == {"talk": "ok", "text": "media_error"}
    assert records["talk"].lse_c == pytest.approx(scorer.score(folder / "in" / "talk.mp4").lse_c)
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in folder.iterdir()} == {"in", "here"}


def test_a_batch_writes_where_it_is_told_and_goes_on_from_there(scorer: Scorer, folder: Path) -> None:
    out, lines = folder / "out", folder / "rows.txt"
    for _ in range(2):
        records = list(scorer.score_all([folder / "in"], out, scores_file=lines, workers=2))
        assert len(records) == 2
    assert {path.name for path in out.iterdir()} == {"scores.jsonl", "scores.csv"}
    assert [row.name for row in read_scores(lines).rows] == ["talk"]


def test_a_batch_that_is_left_early_keeps_what_it_has(scorer: Scorer, folder: Path) -> None:
    for record in scorer.score_all(folder / "in", folder / "out", workers=1):
        assert record.name == "talk"
        break
    assert (folder / "out" / "scores.csv").read_text().count("\n") == 2


def test_options_are_frozen_checked_and_picklable() -> None:
    request = Request(
        InputOptions((Path("a"),)),
        ProtocolOptions("mochabench", min_track=30),
        ModelOptions("mini", cores=2),
        ReferenceOptions("index"),
        RunOptions(shard="1/2"),
        OutputOptions(Path("out")),
    )
    assert pickle.loads(pickle.dumps(request)) == request
    assert request.protocol.resolve().changed == ("min_track=30 (mochabench: 50)",)
    for make in (
        lambda: ModelOptions(model="none"),
        lambda: ModelOptions(cores=0),
        lambda: ReferenceOptions(align="never"),  # type: ignore[arg-type]
        lambda: ReferenceOptions(max_shift=-1),
        lambda: RunOptions(workers=0),
        lambda: RunOptions(chunk=float("nan")),
        lambda: ProtocolOptions("none").resolve(),
    ):
        with pytest.raises(UsageError):
            make()


def test_errors_speak_of_arguments_and_the_command_line_of_flags() -> None:
    with pytest.raises(UsageError) as caught:
        ReferenceOptions(max_shift=-1)
    assert str(caught.value) == "max_shift = -1: must be 0 or more"
    assert caught.value.flagged == "--max-shift -1: must be 0 or more"


def test_the_public_names_are_there() -> None:
    assert set(lipscore.__all__) <= set(dir(lipscore))
    for name in lipscore.__all__:
        assert getattr(lipscore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lipscore.nothing
