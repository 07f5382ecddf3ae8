"""`lipscore combine` on real clips: what is matched, what is copied, what is cut, what is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lipscore.eval.cli.main import app
from lipscore.media import ffmpeg, read
from lipscore.media.edit import audio_seconds

ODD = """-it's "odd" & spaced"""


@pytest.fixture(scope="module")
def clip(shared: Path) -> Path:
    return shared / "clips/talking/1p_closeup_facingcamera/10_woman_doctor.mp4"


@pytest.fixture
def folders(clip: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """v with two videos, a with their sound taken apart (one cut to 3 s), and the name of an output folder."""
    video, audio = tmp_path / "v", tmp_path / "a"
    (video / "below").mkdir(parents=True)
    audio.mkdir()
    for name in ("talk", ODD):
        shutil.copy(clip, video / f"{name}.mp4")
    for name, limit in (("talk", []), (ODD, ["-t", "3"])):
        ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-vn", *limit, ffmpeg.file_url(audio / f"{name}.wav")], clip)
    shutil.copy(clip, video / "below" / "deeper.mp4")
    return video, audio, tmp_path / "o"


def combine(folders: tuple[Path, Path, Path], *more: str) -> Result:
    video, audio, out = (str(folder) for folder in folders)
    return CliRunner().invoke(app, ["combine", "-v", video, "-a", audio, "-o", out, *more])


def packets(path: Path) -> bytes:
    return ffmpeg.run_ffmpeg([*ffmpeg.input_args(path), "-map", "0:v", "-c", "copy", "-f", "h264", "-"], path)


def samples(path: Path) -> np.ndarray:
    return read.pcm_pipe(path, ["-ac", "1", "-ar", "16000"]).astype(float)


def test_pictures_are_copied_and_sound_is_the_wav(folders: tuple[Path, Path, Path]) -> None:
    result = combine(folders)
    assert result.exit_code == 0, result.output
    video, audio, out = folders
    assert sorted(path.name for path in out.iterdir()) == [f"{ODD}.mp4", "talk.mp4"]
    assert packets(out / "talk.mp4") == packets(video / "talk.mp4")
    sound, wav = samples(out / "talk.mp4"), samples(audio / "talk.wav")
    assert np.corrcoef(sound[: len(wav)], wav[: len(sound)])[0, 1] > 0.99
    assert f"{ODD}: the video lasts 5.33 s, the audio 3.00 s" in result.stderr
    assert "--shortest" in result.stderr


@pytest.mark.parametrize("codec", ["copy", "pcm"])
def test_sound_without_loss(folders: tuple[Path, Path, Path], codec: str) -> None:
    assert combine(folders, "--audio-codec", codec).exit_code == 0
    assert np.array_equal(samples(folders[2] / "talk.mp4"), samples(folders[1] / "talk.wav"))


def test_shortest_cuts_the_longer_one(folders: tuple[Path, Path, Path], clip: Path) -> None:
    wav = folders[1] / "talk.wav"
    wav.unlink()
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-vn", "-af", "apad=whole_dur=8", ffmpeg.file_url(wav)], clip)
    assert combine(folders, "--shortest").exit_code == 0
    out = folders[2]
    cut = read.probe(out / f"{ODD}.mp4")
    assert 72 <= cut.n_frames <= 75  # 3 s at 24 fps; copied pictures end with a group of B-frames
    assert audio_seconds(out / "talk.mp4") == pytest.approx(5.333, abs=0.03)


def test_unmatched_files_are_named(folders: tuple[Path, Path, Path]) -> None:
    (folders[1] / "talk.wav").rename(folders[1] / "lonely.wav")
    result = combine(folders)
    assert result.exit_code == 1
    assert f"{folders[0] / 'talk.mp4'}: no audio named talk.wav" in result.stderr
    assert f"{folders[1] / 'lonely.wav'}: no video named lonely.mp4" in result.stderr
    assert [path.name for path in folders[2].iterdir()] == [f"{ODD}.mp4"]


def test_outputs_are_kept_unless_told(folders: tuple[Path, Path, Path]) -> None:
    target = folders[2] / "talk.mp4"
    target.parent.mkdir()
    target.write_text("mine")
    assert combine(folders).exit_code == 0
    assert target.read_text() == "mine"
    assert combine(folders, "--overwrite").exit_code == 0
    assert read.probe(target).n_frames == 128


def test_a_broken_file_does_not_stop_the_others(folders: tuple[Path, Path, Path]) -> None:
    (folders[1] / "talk.wav").write_text("no sound")
    result = combine(folders)
    assert result.exit_code == 1
    assert f"{folders[1] / 'talk.wav'}: FFmpeg cannot process it" in result.stderr
    assert [path.name for path in folders[2].iterdir()] == [f"{ODD}.mp4"]


def test_two_sounds_of_one_name_are_not_guessed(folders: tuple[Path, Path, Path]) -> None:
    shutil.copy(folders[1] / "talk.wav", folders[1] / "talk.flac")
    result = combine(folders)
    assert result.exit_code == 1
    assert "talk.mp4, talk.flac, talk.wav share this name" in result.stderr


def test_wrong_folders(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    video, audio, out = folders
    assert combine((tmp_path / "none", audio, out)).exit_code == 3
    assert combine((video, audio, video), "--overwrite").exit_code == 2
    assert combine(folders, "--audio-codec", "mp3").exit_code == 2
