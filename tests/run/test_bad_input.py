"""What users bring: broken files, odd ones, ones that only look odd. Each ends as a status with a reason, or scores."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipscore import Models, get_protocol, score_video
from lipscore.demo.clips import render_clip
from lipscore.media import ffmpeg
from lipscore.syncnet.crops import CropFile
from lipscore.syncnet.protocols import change
from lipscore.types import VideoScore

WAV2LIP = get_protocol("wav2lip")
SHIFT = 3  # of `talk`


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert not list(scratch.iterdir())


def remade(talk: Path, target: Path, *options: str, before: tuple[str, ...] = ()) -> Path:
    """The talking head once more, through FFmpeg with these options."""
    ffmpeg.run_ffmpeg([*before, *ffmpeg.input_args(talk), *options, f"file:{target}"], target)
    return target


def score(path: Path, models: Models, **changes: int) -> VideoScore:
    return score_video(path, change(WAV2LIP, changes), models)


def assert_talks(record: VideoScore) -> None:
    assert (record.status, record.reason) == ("ok", "")
    assert record.offset is not None
    assert abs(record.offset - SHIFT) <= 1


@pytest.mark.parametrize(
    ("name", "content"), [("text.mp4", b"this is no video\n" * 50), ("empty.mp4", b""), ("zeros.avi", bytes(5000))]
)
def test_no_media_file(tmp_path: Path, mini_models: Models, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    record = score(path, mini_models)
    assert record.status == "media_error"
    assert name in record.reason
    assert record.lse_d is None


def test_no_file_at_all(tmp_path: Path, mini_models: Models) -> None:
    record = score(tmp_path / "gone.mp4", mini_models)
    assert record.status == "media_error"
    assert "No such file" in record.reason


def test_a_truncated_mp4(tmp_path: Path, mini_models: Models, talk: Path) -> None:
    plain = remade(talk, tmp_path / "plain.mp4", "-c", "copy", "-movflags", "0")
    path = tmp_path / "cut.mp4"
    path.write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    record = score(path, mini_models)
    assert record.status == "media_error"
    assert "cut.mp4" in record.reason


def test_no_audio(tmp_path: Path, mini_models: Models, talk: Path) -> None:
    record = score(remade(talk, tmp_path / "silent.mp4", "-an", "-c", "copy"), mini_models)
    assert record.status == "no_audio"
    assert "no audio stream" in record.reason


def test_no_video(tmp_path: Path, mini_models: Models, talk: Path) -> None:
    record = score(remade(talk, tmp_path / "sound.mp4", "-vn", "-c", "copy"), mini_models)
    assert record.status == "media_error"
    assert "no video stream" in record.reason


def test_no_face(tmp_path: Path, mini_models: Models) -> None:
    path = tmp_path / "empty room.mp4"
    render_clip(path, seed=1, faces=0)
    record = score(path, mini_models)
    assert record.status == "no_face"
    assert "no face in any of 14" in record.reason  # 140 frames and what the AVI adds


def test_two_faces_are_two_tracks(tmp_path: Path, mini_models: Models) -> None:
    path = tmp_path / "two.mp4"
    render_clip(path, seed=2, faces=2, size=(960, 480), shift_frames=SHIFT)
    record = score(path, mini_models)
    assert len(record.tracks) == 2
    assert max(record.tracks, key=lambda track: track.lse_c).offset == record.offset


@pytest.mark.parametrize(("frames", "advice"), [(10, ""), (84, "--min-track 50")])
def test_too_short_says_what_would_help(
    tmp_path: Path, mini_models: Models, talk: Path, frames: int, advice: str
) -> None:
    path = remade(talk, tmp_path / "short.mp4", "-t", f"{frames / 25}")
    record = score(path, mini_models)
    assert record.status == "too_short"
    assert "this protocol needs more than 100" in record.reason
    assert advice in record.reason
    if advice:
        assert_talks(score(path, mini_models, min_track=50))


def test_a_small_face_says_its_size(tmp_path: Path, mini_models: Models, talk: Path) -> None:
    path = remade(talk, tmp_path / "small.mp4", "-vf", "scale=160:160,pad=480:480:160:160")
    record = score(path, mini_models)
    assert record.status == "no_track"
    assert "px on average; tracks need more than 100 px: --min-face-size" in record.reason
    smaller = int(record.reason.rsplit(" ", 1)[1])
    assert 50 < smaller < 100
    assert score(path, mini_models, min_face_size=smaller).status == "ok"


@pytest.mark.parametrize("fps", ["24", "30000/1001", "30", "50", "60"])
def test_no_frame_rate_moves_the_offset(tmp_path: Path, mini_models: Models, fps: str) -> None:
    path = tmp_path / "rate.mp4"
    render_clip(path, seed=5, fps=Fraction(fps), shift_frames=SHIFT * float(Fraction(fps)) / 25)
    assert_talks(score_video(path, get_protocol("lipscore-1"), mini_models))
    # wav2lip's transcoding to AVI repeats up to three frames at the start: docs/measures/precision.md
    assert score(path, mini_models).offset in range(SHIFT - 1, SHIFT + 3)


def test_variable_frame_rate(tmp_path: Path, mini_models: Models, talk: Path) -> None:
    drop = "select='not(eq(mod(n\\,7)\\,3))'"
    path = remade(talk, tmp_path / "vfr.mp4", "-vf", drop, "-fps_mode", "vfr")
    assert_talks(score_video(path, get_protocol("lipscore-1"), mini_models))
    assert score(path, mini_models).status == "ok"


def test_a_rotated_phone_video(tmp_path: Path, mini_models: Models, talk: Path) -> None:
    lying = remade(talk, tmp_path / "lying.mp4", "-vf", "transpose=1")
    upright = remade(lying, tmp_path / "phone.mp4", "-c", "copy", before=("-display_rotation", "90"))
    assert_talks(score(upright, mini_models))


@pytest.mark.parametrize("size", ["481:479", "355:641"])
def test_odd_sizes(tmp_path: Path, mini_models: Models, talk: Path, size: str) -> None:
    path = remade(talk, tmp_path / "odd.mkv", "-vf", f"scale={size},format=yuv444p", "-c:v", "libx264")
    assert score(path, mini_models).status == "ok"


@pytest.mark.parametrize("options", [("-ac", "2"), ("-ar", "48000"), ("-ar", "8000"), ("-ac", "2", "-ar", "44100")])
def test_audio_formats(tmp_path: Path, mini_models: Models, talk: Path, options: tuple[str, ...]) -> None:
    assert_talks(score(remade(talk, tmp_path / "audio.mp4", "-c:v", "copy", *options), mini_models))


@pytest.mark.parametrize("name", ["a b.mp4", 'it\'s "q".mp4', "-y.mp4", "%d:x#.mp4", "видео 口.mp4"])
def test_unusual_file_names_are_scored(
    tmp_path: Path, mini_models: Models, talk: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(talk.read_bytes())
    record = score(Path(name), mini_models)
    assert_talks(record)
    assert record.name == Path(name).stem
    assert record.model == "mini"
    assert not record.comparable


def test_crops_that_a_full_disk_swallowed_are_an_error(
    talk: Path, mini_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV's writer only warns on a full disk; 127 of 312 windows once scored with status ok."""
    written = CropFile.write

    def swallowed(self: CropFile, crops: np.ndarray) -> None:
        written(self, crops[: len(crops) // 2])

    monkeypatch.setattr(CropFile, "write", swallowed)
    record = score(talk, mini_models)
    assert (record.status, record.lse_d, record.tracks) == ("error", None, ())
    assert "could be read back" in record.reason and "TMPDIR" in record.reason


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, mini_models: Models) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        record = score(path, mini_models)
        assert record.status == "media_error" and "regular file" in record.reason, record
