"""Another file's sound in place of a video's own: under each protocol what a remuxed file would be, from frame 0 on."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import RATE, clicks, convert, heard_at, make, number_of, numbered

from lipscore.errors import MediaError, NotScoredError
from lipscore.media import edit, ffmpeg, limits, notes, read, write
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.source import Heed, direct_input, prepare
from lipscore.types import MediaInfo

ALL = ("wav2lip", "latentsync", "mochabench", "wav2lip-lrs", "lipscore-1")
LOSSY = {"wav2lip": 0.075, "latentsync": 0.03}  # seconds that the protocol's own lossy audio may come later


def given(path: Path, at: Sequence[float] = (0.4, 0.9), rate: int = 44100, seconds: float = 1.2) -> Path:
    """A WAV with clicks."""
    write.write_wav(path, clicks(seconds, at, rate), rate)
    return path


def beneath(video: Path, sound: Path, target: Path, *before: str) -> Path:
    """A file with the picture of one and the sound of another, both copied; before: options of the picture's input."""
    streams = ["-map", "0:v", "-map", "1:a", "-c", "copy"]
    ffmpeg.run_ffmpeg([*before, *ffmpeg.input_args(video, sound), *streams, ffmpeg.file_url(target)], video)
    return target


def read_as(protocol: str, info: MediaInfo, folder: Path) -> tuple[list[Any], np.ndarray, tuple[str, ...]]:
    """A video's frames as the protocol keeps them, its samples, and its notes."""
    settings = PROTOCOLS[protocol]
    heed = Heed(info, settings)
    if settings.direct:
        pcm, frames = direct_input(info, settings, heed)
        found = [frame.tobytes() for frame in frames()]
        heed.settle()
    else:
        work = folder / f"{protocol}-{info.path.name}"
        work.mkdir()
        source = prepare(info, settings, work, heed)
        found, pcm = [bytes(frame) for frame in source.frames.packed()], source.pcm
    return found, pcm, heed.notes


@pytest.mark.parametrize("protocol", ALL)
def test_a_given_sound_is_heard_as_a_remuxed_files_own(protocol: str, tmp_path: Path) -> None:
    video, sound = tmp_path / "v.mp4", given(tmp_path / "s.wav")
    write.write_video(video, numbered(29), 24, clicks(1.2, (0.2,)))
    info = read.hearing(read.probe(video), sound)
    frames, pcm, said = read_as(protocol, info, tmp_path)
    own_frames, own_pcm, own_said = read_as(protocol, read.probe(beneath(video, sound, tmp_path / "r.mov")), tmp_path)
    assert np.array_equal(pcm, own_pcm) and said == own_said
    assert ["24 frames a second" in note for note in said] == [True] * (protocol == "wav2lip-lrs")
    assert frames == own_frames or protocol == "mochabench"  # which transcodes the picture with its own audio
    late = LOSSY.get(protocol, 0.0)
    assert len(frames) == 29 if protocol == "wav2lip-lrs" else 30 <= len(frames) <= 32
    assert all(0 <= heard - meant <= late + 0.002 for heard, meant in zip(heard_at(pcm), (0.4, 0.9), strict=True))


def test_mochabench_reads_the_speech_as_the_original_does(tmp_path: Path) -> None:
    """`ffmpeg -i SPEECH -ac 1 -ar 16000 -f wav`, and the frames of the video with its own sound."""
    video, sound = make(tmp_path / "v.mp4", 30, at=(0.2,)), given(tmp_path / "s.wav", seconds=3.0)
    frames, pcm, _ = read_as("mochabench", read.hearing(read.probe(video), sound), tmp_path)
    there = tmp_path / "speech.raw"
    program = [ffmpeg.ffmpeg_path(), "-v", "error", "-i", sound, "-ac", "1", "-ar", "16000", "-f", "s16le", there]
    subprocess.run([str(word) for word in program], check=True)
    assert np.array_equal(pcm, np.frombuffer(there.read_bytes(), "<i2")) and len(pcm) == 3 * RATE
    (tmp_path / "own").mkdir()
    assert frames == read_as("mochabench", read.probe(video), tmp_path / "own")[0]


@pytest.mark.parametrize("protocol", ALL)
def test_a_sound_starts_with_the_first_frame_of_a_picture_that_starts_late(protocol: str, tmp_path: Path) -> None:
    video, sound = make(tmp_path / "v.mp4", 30), given(tmp_path / "s.wav")
    late = beneath(video, video, tmp_path / "late.mp4", "-itsoffset", "0.4")
    frames, pcm, said = read_as(protocol, read.hearing(read.probe(late), sound), tmp_path)
    assert abs(heard_at(pcm)[0] - 0.4) < LOSSY.get(protocol, 0.0) + 0.002
    if protocol == "mochabench":  # its original repeats the first frame, and starts the speech with the file
        assert len(frames) >= 40 and "the picture starts 0.40 s after the file's own audio" in said[0]
        return
    first = read.decode_jpeg(frames[1]) if protocol in LOSSY else np.frombuffer(frames[1], np.uint8)
    assert number_of(first if first.ndim == 3 else first.reshape(64, 96, 3)) == 1
    assert 30 <= len(frames) <= 32 and said == ()


@pytest.mark.parametrize(
    "options", [("s.flac", "-ac", "2"), ("s.mp3",), ("s.m4a",), ("s.opus",), ("s.mka", "-c", "copy")]
)
def test_sound_of_any_kind_starts_at_its_first_sample(options: tuple[str, ...], tmp_path: Path) -> None:
    video, (name, *how) = make(tmp_path / "v.mp4", 30, at=()), options
    info = read.hearing(read.probe(video), convert(given(tmp_path / "s.wav"), tmp_path / name, *how))
    for protocol in ("lipscore-1", "mochabench"):
        _, pcm, _ = read_as(protocol, info, tmp_path)
        assert heard_at(pcm) == pytest.approx([0.4, 0.9], abs=0.003)


def test_another_videos_sound_keeps_the_place_that_it_has_beside_its_own_picture(tmp_path: Path) -> None:
    video = make(tmp_path / "v.mp4", 30, at=(0.2,))
    other = beneath(video, given(tmp_path / "s.wav"), tmp_path / "other.mkv", "-itsoffset", "0.2")
    _, pcm, said = read_as("lipscore-1", read.hearing(read.probe(video), other), tmp_path)
    assert heard_at(pcm) == pytest.approx([0.2, 0.7], abs=0.003)
    shifted = tmp_path / "shifted.mkv"
    inputs = [*ffmpeg.input_args(video), "-itsoffset", "0.3", *ffmpeg.input_args(tmp_path / "s.wav")]
    ffmpeg.run_ffmpeg([*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", str(shifted)], video)
    info = read.hearing(read.probe(video), shifted)
    assert heard_at(read.read_pcm(info)) == pytest.approx([0.7, 1.2], abs=0.003)
    _, pcm, said = read_as("mochabench", info, tmp_path)
    assert heard_at(pcm) == pytest.approx([0.4, 0.9], abs=0.003)
    assert "starts 0.30 s after its own picture; this protocol discards the delay" in said[0]


def test_what_is_said_is_said_of_the_sound_that_is_heard(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    write.write_video(video, numbered(60), 25)  # without a sound of its own
    one, two = given(tmp_path / "a.wav"), given(tmp_path / "b.wav", at=())
    both = tmp_path / "both.mka"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(one, two), "-map", "0", "-map", "1", "-c", "copy", str(both)], one)
    _, pcm, said = read_as("lipscore-1", read.hearing(read.probe(video), both), tmp_path)
    assert heard_at(pcm) == pytest.approx([0.4, 0.9], abs=0.003)
    assert said[0].startswith("of the sound, 2 audio streams: stream 0 was read")
    assert said[1] == "the audio ends at 1.20 s, the picture at 2.40 s; the rest is not scored"
    with pytest.raises(NotScoredError, match=r"the sound .*v\.mp4 has no audio stream") as caught:
        read_as("wav2lip", read.hearing(read.probe(make(tmp_path / "w.mp4")), video), tmp_path)
    assert caught.value.status == "no_audio"
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(MediaError, match=r"text\.wav"):
        read.hearing(read.probe(video), tmp_path / "text.wav")


def test_a_piece_has_its_part_of_the_given_sound(tmp_path: Path) -> None:
    video, sound = make(tmp_path / "v.mp4", 60, at=(0.2,)), given(tmp_path / "s.wav", at=(0.4, 1.5), seconds=2.4)
    info = read.hearing(read.probe(video), sound)
    assert notes.streams(info, published=False) == ""
    edit.cut(info, tmp_path / "piece.mkv", Fraction(1), Fraction(1))
    part = read.pcm_pipe(tmp_path / "piece.mkv", ["-ac", "1", "-ar", "44100"])
    assert np.array_equal(part, read.pcm_pipe(sound, ["-ac", "1", "-ar", "44100"])[44100:88200])


def test_a_sound_has_the_limit_of_its_own_file() -> None:
    """A little video may be held against a long sound, but not against more than that sound's file can hold."""
    watch = limits.Watch(limits.Limits(), 1000, 25)
    hour = 3600 * 32000
    watch.hearing(hour)
    watch.heard(3600)
    with pytest.raises(NotScoredError, match=f"a file of {hour} bytes"):
        watch.heard(hour)
    fixed = limits.Watch(limits.Limits(max_audio=5), 1000, 25)
    fixed.hearing(hour)
    with pytest.raises(NotScoredError, match="more than 5 seconds of audio, the limit"):
        fixed.heard(6)
