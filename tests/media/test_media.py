"""Reading and writing media, against FFmpeg's own command line and against files made for the purpose."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lipscore.errors import MediaError, NotScoredError
from lipscore.media import ffmpeg, read, write
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.source import prepare


def numbered(n: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames whose grey level is their number."""
    return [np.full((height, width, 3), 8 * k % 256, np.uint8) for k in range(n)]


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    samples: np.ndarray = (8000 * np.sin(np.arange(int(seconds * rate)) * 0.3)).astype(np.int16)
    return samples


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "thirty frames.mp4"
    write.write_video(path, numbered(30), 25, tone(1.2))
    return path


def test_probe_tells_what_was_written(clip: Path) -> None:
    info = read.probe(clip)
    assert (info.fps, info.n_frames, info.width, info.height, info.sample_rate) == (Fraction(25), 30, 64, 48, 16000)
    assert info.duration_s == pytest.approx(1.2)


def test_frames_come_back_in_order(clip: Path) -> None:
    levels = [float(frame.mean()) for frame in read.frames_at(clip)]
    assert len(levels) == 30
    assert np.allclose(levels, [8 * k for k in range(30)], atol=5)


@pytest.mark.parametrize("fps", ["24", "30000/1001", "50", "60", "12", "25/2", "50/3"])
def test_resampling_takes_the_nearest_frame_in_time(tmp_path: Path, fps: str) -> None:
    rate = Fraction(fps)
    path = tmp_path / "clip.mp4"
    write.write_video(path, numbered(30), rate)
    got = [round(float(frame.mean()) / 8) for frame in read.frames_at(path, 25)]
    times = np.arange(30) / float(rate)
    want = [int(np.argmin(np.abs(times - k / 25 + 1e-9))) for k in range(len(got))]  # of two equally near, the earlier
    assert got == want
    assert len(got) == pytest.approx(30 / float(rate) * 25, abs=1)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied_as_ffmpeg_does(tmp_path: Path, degrees: int) -> None:
    plain, turned, upright = tmp_path / "plain.mp4", tmp_path / "turned.mp4", tmp_path / "upright.png"
    image = np.zeros((48, 64, 3), np.uint8)
    image[:10, :20] = (255, 255, 255)
    write.write_video(plain, [image] * 5, 25)
    ffmpeg.run_ffmpeg(["-display_rotation", str(degrees), *ffmpeg.input_args(plain), "-c", "copy", str(turned)], plain)
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(turned), "-frames:v", "1", "-update", "1", str(upright)], turned)
    want = np.asarray(cv2.imread(str(upright)), int)
    got = next(read.frames_at(turned)).astype(int)
    assert got.shape == want.shape
    assert np.abs(got - want).mean() < 2
    info = read.probe(turned)
    assert (info.height, info.width) == want.shape[:2]


def test_jpegs_in_the_pipe_are_the_files_ffmpeg_writes(tmp_path: Path, clip: Path) -> None:
    options = ["-qscale:v", "2"]
    ffmpeg.run_ffmpeg(
        [*ffmpeg.input_args(clip), *options, "-threads", "1", "-f", "image2", str(tmp_path / "%06d.jpg")], clip
    )
    files = [path.read_bytes() for path in sorted(tmp_path.glob("*.jpg"))]
    assert list(read.jpeg_pipe(clip, options)) == files
    assert len(files) == 30


def test_pcm_starts_with_the_first_frame(tmp_path: Path, clip: Path) -> None:
    late = tmp_path / "late.mkv"
    ffmpeg.run_ffmpeg(
        [
            *(*ffmpeg.input_args(clip), "-itsoffset", "0.5", *ffmpeg.input_args(clip)),
            *("-map", "0:v", "-map", "1:a", "-c", "copy", str(late)),
        ],
        clip,
    )
    straight, shifted = read.read_pcm(clip), read.read_pcm(late)
    assert np.abs(shifted[:7000]).max() < 50
    assert np.corrcoef(straight[1000:9000], shifted[9000:17000])[0, 1] > 0.99


def test_audio_before_the_first_frame_is_cut_off(tmp_path: Path, clip: Path) -> None:
    """Half a second of picture later: the samples begin where the picture does."""
    sound, late = tmp_path / "sound.wav", tmp_path / "late.mkv"
    noise = np.random.default_rng(2).integers(-9000, 9000, 32000).astype("<i2")
    raw = tmp_path / "sound.raw"
    raw.write_bytes(noise.tobytes())
    ffmpeg.run_ffmpeg(["-f", "s16le", "-ar", "16000", "-ac", "1", *ffmpeg.input_args(raw), str(sound)], raw)
    inputs = ["-itsoffset", "0.5", *ffmpeg.input_args(clip), *ffmpeg.input_args(sound)]
    ffmpeg.run_ffmpeg([*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", str(late)], clip)
    assert np.array_equal(read.read_pcm(sound), noise)
    assert np.array_equal(read.read_pcm(late), noise[8000:])
    source = prepare(read.probe(late), PROTOCOLS["lipscore-1"], tmp_path)
    assert np.array_equal(source.pcm, noise[8000:])


def test_a_hole_in_the_audio_is_silence_once_transcoded(tmp_path: Path, clip: Path) -> None:
    """-async 1 of the published protocols: without it the AVI's sound closes up, and what follows comes too early."""
    holed = tmp_path / "holed.mkv"
    hole = "asetpts=PTS+gte(T\\,0.6)*0.5/TB"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-c:v", "copy", "-af", hole, "-c:a", "pcm_s16le", str(holed)], clip)
    loud = {}
    for path in (clip, holed):
        pcm = prepare(read.probe(path), PROTOCOLS["wav2lip"], tmp_path).pcm.astype(float)
        blocks = np.abs(pcm[: len(pcm) // 1600 * 1600]).reshape(-1, 1600).max(axis=1)
        loud[path] = int((blocks > 1000).sum()), int((blocks < 100).sum())
    assert abs(loud[holed][0] - loud[clip][0]) <= 2
    assert loud[holed][1] - loud[clip][1] in (3, 4, 5)  # of the hole's five blocks of 0.1 s, less those at its edges


def test_stereo_and_other_rates_become_mono_16_khz(tmp_path: Path, clip: Path) -> None:
    stereo = tmp_path / "stereo.mov"
    ffmpeg.run_ffmpeg(
        [*ffmpeg.input_args(clip), "-c:v", "copy", "-ac", "2", "-ar", "48000", "-c:a", "pcm_s16le", str(stereo)], clip
    )
    assert len(read.read_pcm(stereo)) == pytest.approx(19200, abs=700)


def test_names_that_look_like_options_or_urls(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-y.mp4", "a:b.mp4", 'it\'s "q" #1.mp4', "видео 口.mp4", "per%cent%d.mp4"):
        Path(name).write_bytes(clip.read_bytes())
        assert read.probe(Path(name)).n_frames == 30
        assert len(read.read_pcm(Path(name))) > 10000
        assert sum(1 for _ in read.jpeg_pipe(Path(name))) == 30


def test_errors_name_the_file_and_what_is_wrong(tmp_path: Path, clip: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(MediaError, match=r"text\.mp4"):
        read.probe(text)
    with pytest.raises(MediaError, match=r"gone\.mp4.*No such file"):
        read.probe(tmp_path / "gone.mp4")
    sound = tmp_path / "sound.wav"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), "-vn", str(sound)], clip)
    with pytest.raises(MediaError, match="no video stream"):
        read.probe(sound)
    silent = tmp_path / "silent.mp4"
    write.write_video(silent, numbered(5), 25)
    with pytest.raises(NotScoredError, match="no audio") as caught:
        read.read_pcm(silent)
    assert caught.value.status == "no_audio"
    with pytest.raises(MediaError, match=r"text\.mp4.*FFmpeg"):
        read.pcm_pipe(text, [])


def test_a_truncated_file_is_an_error_or_gives_its_readable_part(tmp_path: Path, shared: Path) -> None:
    whole = (shared / "clips/real/interview.avi").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    assert 10 < sum(1 for _ in read.frames_at(cut)) < 133
    mp4 = (shared / "clips/real/phone_1080p_25fps.mp4").read_bytes()
    cut.write_bytes(mp4[: len(mp4) // 2])
    with pytest.raises(MediaError, match="cut"):
        read.probe(cut)


def test_an_abandoned_pipe_leaves_no_process(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Remembered(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Remembered)
    pipe = read.jpeg_pipe(clip)
    next(pipe)
    assert isinstance(pipe, Generator)
    (process,) = started
    pipe.close()
    assert process.returncode is not None, "it was not waited for"
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
