"""Which files are videos, which of their streams count, and what is said where FFmpeg fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_files import clicks, convert, heard_at, make, mux, patched, read_all, under

from lipscore.errors import MediaError
from lipscore.eval.reference import score_reference
from lipscore.eval.run.inputs.paths import collect
from lipscore.media import edit, ffmpeg, read, write
from lipscore.media.container.sniff import looks_like_video

PROTOCOLS = ["lipscore-1", "wav2lip", "latentsync", "mochabench"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4")


def two_sounds(tmp_path: Path, clip: Path, options: str) -> Path:
    other = tmp_path / "other.wav"
    write.write_wav(other, clicks(1.6, [0.7]), 16000)
    return mux(tmp_path / "two.mkv", clip, other, maps="0:v 0:a 1:a", options=f"-c:v copy -c:a pcm_s16le {options}")


def test_a_cover_is_not_the_video(clip: Path, tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    cv2.imwrite(str(cover), np.full((400, 400, 3), 200, np.uint8))
    path = mux(tmp_path / "cover.mp4", cover, clip, maps="0:v 1:v 1:a", options="-c copy -disposition:v:0 attached_pic")
    assert read_all(path)[0] == list(range(40))
    for protocol in PROTOCOLS:
        source, heed = under(protocol, path, tmp_path)
        assert source.frames.unpack(next(iter(source.frames.packed()))).shape == (64, 96, 3)
        assert heed.notes == ()
    with pytest.raises(MediaError, match="only a cover picture"):
        read.probe(
            mux(tmp_path / "only.m4a", cover, clip, maps="0:v 1:a", options="-c copy -disposition:v attached_pic")
        )


def test_a_thumbnail_that_is_not_called_one_is_not_the_video(clip: Path, tmp_path: Path) -> None:
    still = tmp_path / "still.mkv"
    write_video = ["-f", "lavfi", "-i", "color=red:640x480", "-frames:v", "1", "-c:v", "mjpeg", str(still)]
    ffmpeg.run_ffmpeg(write_video, still)
    path = mux(tmp_path / "thumb.mkv", still, clip, maps="0:v 1:v 1:a", options="-c copy")
    assert read_all(path)[0] == list(range(40))


def test_the_first_default_sound_is_ours_and_the_most_channels_are_theirs(clip: Path, tmp_path: Path) -> None:
    path = two_sounds(tmp_path, clip, "-ac:a:1 2 -disposition:a default")
    for protocol in PROTOCOLS:
        source, heed = under(protocol, path, tmp_path)
        first = protocol == "lipscore-1"
        assert heard_at(source.pcm) == pytest.approx([0.4, 1.0] if first else [0.7], abs=0.1)
        assert f"2 audio streams: stream {1 if first else 2} was read" in heed.notes[0]
    path = two_sounds(tmp_path, clip, "-disposition:a:0 0 -disposition:a:1 default")
    assert (read.probe(path).own.audio, read.probe(path).published.audio) == (2, 2)


def test_what_ffmpeg_picks_is_what_it_picks(clip: Path, tmp_path: Path) -> None:
    """The streams of the published protocols against FFmpeg's own choice."""
    small = convert(clip, tmp_path / "small.mp4", "-vf", "scale=48:32", "-c:a", "copy")
    for k, options in enumerate(
        (
            "-disposition:v:0 0 -disposition:v:1 0 -ac:a:1 2",
            "-disposition:v:0 default -disposition:v:1 0",
            "-disposition:v:1 default -disposition:a:1 default -disposition:a:0 0 -disposition:v:0 0",
        )
    ):
        path = mux(tmp_path / f"{k}.mkv", small, clip, maps="0:v 1:v 0:a 1:a", options=f"-c:v copy -c:a aac {options}")
        command = [ffmpeg.ffmpeg_path(), "-nostdin", "-i", str(path), "-f", "avi", "-y", os.devnull]
        said = subprocess.run(command, stderr=subprocess.PIPE, text=True).stderr
        picked = [int(index) for index in re.findall(r"Stream #0:(\d+) -> #0:", said)]
        chosen = read.probe(path).published
        assert [chosen.video, chosen.audio] == picked


def test_a_sound_without_a_decoder_is_passed_over_and_left_behind(clip: Path, tmp_path: Path) -> None:
    two = mux(
        tmp_path / "two.mov", clip, clip, maps="0:v 0:a 1:a", options="-c:v copy -c:a pcm_s16le -disposition:a default"
    )
    path = patched(two, tmp_path / "unknown.mov", b"sowt", b"zzza", 0)
    info = read.probe(path)
    assert (info.own.audio, info.published.audio) == (2, 2)
    for protocol in PROTOCOLS:
        source, heed = under(protocol, path, tmp_path)
        assert heard_at(source.pcm) == pytest.approx([0.4, 1.0], abs=0.1)
        assert "no decoder for audio stream 1: zzza" in heed.notes[0]
    for delay in (Fraction(4, 25), Fraction(-4, 25)):
        shifted = edit.shift_audio(path, tmp_path / "shifted.mov", delay)
        assert shifted.left == ("stream 1 (audio, zzza)",)
        times = heard_at(read.read_pcm(tmp_path / "shifted.mov"))
        assert times == pytest.approx([0.4 + float(delay), 1.0 + float(delay)], abs=0.03)


def test_a_video_without_a_decoder_names_its_codec(clip: Path, tmp_path: Path) -> None:
    path = patched(clip, tmp_path / "unknown.mp4", b"avc1\0\0\0\0", b"zzz1\0\0\0\0")
    with pytest.raises(MediaError, match=r"no decoder for its video .*zzz1"):
        read.probe(path)
    score = score_reference(clip, path)
    assert (score.status, score.psnr) == ("media_error", None) and "zzz1" in score.reason


@pytest.mark.parametrize("name", ["a.mts", "b.3gp", "c.ogv", "d.mxf", "e.gif", "f.m2ts", "g.dat", "h", "i.mod"])
def test_videos_of_other_suffixes_are_found(clip: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    kind = {".3gp": "3gp", ".ogv": "ogg", ".mxf": "mxf", ".gif": "gif", ".mts": "mpegts", ".m2ts": "mpegts"}
    suffix = Path(name).suffix
    codec = {".ogv": "libtheora", ".mxf": "mpeg2video", ".gif": "gif"}.get(suffix, "libx264")
    form = kind.get(suffix, "mpegts" if suffix == ".mod" else "mp4")
    convert(clip, folder / name, "-c:v", codec, "-an", "-f", form)
    for other in ("notes.txt", "song.mp3", "list.json"):
        (folder / other).write_bytes((folder / name).read_bytes() if other == "song.mp3" else b"text")
    assert [found.path.name for found in collect([folder])] == [name]
    assert read.probe(folder / name).n_frames >= 20


def test_a_pipe_among_the_videos_is_named(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(folder / "pipe.mp4")
    os.mkfifo(folder / "pipe")
    (folder / "a.mp4").write_bytes(clip.read_bytes())
    found = {video.path.name: video.problem for video in collect([folder])}
    assert found == {"a.mp4": "", "pipe.mp4": "is not a regular file"}
    with pytest.raises(MediaError, match="not a regular file"):
        read.probe(folder / "pipe.mp4")
    with pytest.raises(MediaError, match="not a regular file"):
        read.file_sha256(folder / "pipe.mp4")


def test_a_list_of_files_is_no_video(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    with pytest.raises(MediaError, match="list of other files"):
        read.probe(path)
    assert not looks_like_video(path)


def test_a_service_name_does_not_end_ffmpeg(clip: Path, tmp_path: Path) -> None:
    """The bundled FFmpeg loads no gconv module of the host for it, which may be another glibc's."""
    path = convert(clip, tmp_path / "named.ts", "-c", "copy", "-metadata", "service_name=café")
    _, heed = under("wav2lip", path, tmp_path)
    assert heed.notes == ()
    with ffmpeg.started(["env"], stdout=subprocess.PIPE) as process:
        said = process.communicate()[0].decode()
    folder = re.search(r"^GCONV_PATH=(.*)$", said, re.M)
    assert folder is not None and not Path(folder[1]).exists()


def test_a_signal_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dies"
    program.write_text(f"#!/bin/sh\nkill -{signal.SIGSEGV.value} $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_path", lambda: str(program))
    with pytest.raises(MediaError, match="ended by signal SIGSEGV"):
        ffmpeg.run_ffmpeg([], tmp_path / "v.mp4")


def test_the_cause_is_named_not_the_aftermath(tmp_path: Path) -> None:
    said = b"[error] moov atom not found\n[in#0 @ 0x1] [error] Error opening input: x\n[fatal] Conversion failed!\n"
    assert str(ffmpeg.failure(Path("v.mp4"), said, 1)).endswith("Error opening input: x")
    assert "no reason given" in str(ffmpeg.failure(Path("v.mp4"), b"", 1))
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(MediaError, match=r"text\.mp4: FFmpeg cannot process it: .*Invalid data"):
        read.pcm_pipe(text, [])


@pytest.mark.parametrize(
    "text",
    ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n"],
    ids=["concat", "hls"],
)
def test_what_a_playlist_lists_is_not_opened(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.mp4"
    path.write_text(text)
    for name in ("other.mp4", "other.ts"):
        os.mkfifo(tmp_path / name)  # who opens it to read waits for ever

    def read_it() -> None:
        with pytest.raises(MediaError, match="list of other files"):
            read.probe(path)
        with pytest.raises(MediaError, match="FFmpeg cannot process it"):
            ffmpeg.run_ffmpeg([*ffmpeg.input_args(path), "-f", "null", "-"], path)
        done.append(True)

    done: list[bool] = []
    reader = threading.Thread(target=read_it, daemon=True)
    reader.start()
    reader.join(60)
    assert done, "it waits for what the list names"
