"""The kinds of files of docs/measures/media.md: streams, geometry, the cost of damage, and what is said of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_files import clicks, convert, heard_at, make, number_of, numbered, read_all, under

from lipscore.errors import MediaError, NotScoredError
from lipscore.eval.reasons import edge_notes
from lipscore.eval.reference import score_reference
from lipscore.eval.run.inputs.paths import collect
from lipscore.media import edit, ffmpeg, notes, read, write
from lipscore.media.container.sniff import looks_like_video
from lipscore.media.decode.frames import upright
from lipscore.types import TrackScore

PROTOCOLS = ["lipscore-1", "wav2lip", "latentsync", "mochabench"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4")


def mux(target: Path, *inputs: Path, maps: str, options: str) -> Path:
    args = [word for path in inputs for word in ffmpeg.input_args(path)]
    args += [word for stream in maps.split() for word in ("-map", stream)]
    ffmpeg.run_ffmpeg([*args, *options.split(), str(target)], target)
    return target


def patched(path: Path, target: Path, old: bytes, new: bytes, which: int = 0) -> Path:
    """The file with the which-th occurrence of some bytes replaced."""
    data = path.read_bytes()
    at = -1
    for _ in range(which + 1):
        at = data.index(old, at + 1)
    target.write_bytes(data[:at] + new + data[at + len(old) :])
    return target


# Streams


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


def two_sounds(tmp_path: Path, clip: Path, options: str) -> Path:
    other = tmp_path / "other.wav"
    write.write_wav(other, clicks(1.6, [0.7]), 16000)
    return mux(tmp_path / "two.mkv", clip, other, maps="0:v 0:a 1:a", options=f"-c:v copy -c:a pcm_s16le {options}")


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


# Damage


def damaged(clip: Path, target: Path, start: float, n_bytes: int) -> Path:
    data = bytearray(clip.read_bytes())
    at = int(len(data) * start)
    data[at : at + n_bytes] = np.random.default_rng(1).integers(0, 256, n_bytes).astype(np.uint8).tobytes()
    target.write_bytes(data)
    return target


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """150 frames of noise, with key frames among them: a file large enough to be damaged in its middle."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(150)]
    path = tmp_path / "noise.mp4"
    write.write_video(path, frames, 25, clicks(6, [0.4]), crf=36)
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov"])
def test_what_is_cut_short_says_so_under_every_protocol(
    noisy: Path, tmp_path: Path, protocol: str, suffix: str
) -> None:
    options = ["-c", "copy", "-movflags", "+faststart"] if suffix in ("mp4", "mov") else ["-c", "copy"]
    whole = convert(noisy, tmp_path / f"whole.{suffix}", *options)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    _, heed = under(protocol, path, tmp_path)
    found = re.search(r"(\d+) of (\d+) frames could be decoded", heed.notes[-1])
    assert found is not None
    assert int(found[2]) == pytest.approx(150, abs=1)
    assert 70 < int(found[1]) == heed.counts.n_frames < 110
    assert not any("of" in note for note in under(protocol, whole, tmp_path)[1].notes)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_decoding_goes_on_after_damage(noisy: Path, tmp_path: Path, protocol: str) -> None:
    path = damaged(noisy, tmp_path / "damaged.mp4", 0.4, 3000)
    frames = list(read.frames_at(path, None))
    assert 130 < len(frames) < 150
    whole = list(read.frames_at(noisy, None))
    assert np.array_equal(frames[-1], whole[-1])
    _, heed = under(protocol, path, tmp_path)
    assert re.search(r"\d+ of 150 frames could be decoded", heed.notes[-1])


def test_both_sides_of_a_comparison_say_what_is_missing(noisy: Path, tmp_path: Path) -> None:
    whole = convert(noisy, tmp_path / "whole.mp4", "-c", "copy", "-movflags", "+faststart")
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    for pair, side in (((path, whole), "generated"), ((whole, path), "reference")):
        score = score_reference(*pair)
        assert score.alignment is not None and score.psnr == pytest.approx(100)
        assert re.search(rf"{side}: \d+ of 150 frames could be decoded", str(score.alignment.warning))


def test_a_hole_in_the_picture_is_said(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4", 120)
    holed = convert(clip, tmp_path / "holed.mkv", "-vf", "select=not(between(n\\,50\\,53))", "-fps_mode", "vfr")
    for protocol in PROTOCOLS:
        assert "leave out 4 frames" in under(protocol, holed, tmp_path)[1].notes[-1]
    varying = convert(clip, tmp_path / "varying.mkv", "-vf", "select=mod(n\\,6)", "-fps_mode", "vfr")
    assert under("lipscore-1", varying, tmp_path)[1].notes == ()


def test_a_piece_of_a_damaged_file_says_so(noisy: Path, tmp_path: Path) -> None:
    path = damaged(noisy, tmp_path / "damaged.mp4", 0.4, 3000)
    info = read.probe(path)
    said = []
    for k in range(3):
        counts = edit.cut(info, tmp_path / "piece.mkv", Fraction(2 * k), Fraction(2))
        said.append(notes.of_piece(info, counts))
    assert [bool(found) for found in said].count(True) in (1, 2)


# Geometry

FLIPS = {
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (1, 0, 0, -1): lambda image: image[::-1],
    (-1, 0, 0, -1): lambda image: image[::-1, ::-1],
    (0, 1, 1, 0): lambda image: image.transpose(1, 0, 2),
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (0, -1, 1, 0): lambda image: np.rot90(image),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).transpose(1, 0, 2),
}


@given(st.sampled_from(sorted(FLIPS)), st.integers(1, 9), st.integers(1, 9))
def test_the_display_matrix_in_full(matrix: tuple[int, int, int, int], height: int, width: int) -> None:
    """Every pixel lies where (x, y) -> (a x + c y, b x + d y) puts it, moved into the frame."""
    image = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    shown = upright(image, tuple(65536 * value for value in matrix))  # type: ignore[arg-type]
    assert np.array_equal(shown, FLIPS[matrix](image))
    a, b, c, d = matrix
    xs = [a * x + c * y for x in range(width) for y in range(height)]
    ys = [b * x + d * y for x in range(width) for y in range(height)]
    for x in range(width):
        for y in range(height):
            assert (shown[b * x + d * y - min(ys), a * x + c * y - min(xs)] == image[y, x]).all()


@pytest.mark.parametrize("matrix", sorted(FLIPS))
def test_mirrored_and_turned_files_look_as_ffmpeg_shows_them(
    clip: Path, tmp_path: Path, matrix: tuple[int, ...]
) -> None:
    path = tmp_path / "matrix.mp4"
    a, b, c, d = matrix
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_matrix([65536 * a, 65536 * b, 0, 65536 * c, 65536 * d, 0, 0, 0, 1 << 30])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    png = tmp_path / "shown.png"
    ffmpeg.run_ffmpeg([*ffmpeg.input_args(path), "-vf", "select=eq(n\\,21)", "-frames:v", "1", str(png)], path)
    want, got = np.asarray(cv2.imread(str(png))), list(read.frames_at(path, None))[21]
    assert got.shape == want.shape
    assert np.abs(got.astype(int) - want).mean() < 3
    info = read.probe(path)
    assert (info.height, info.width) == want.shape[:2]
    piece = tmp_path / "piece.mkv"
    edit.cut(info, piece, Fraction(20, 25), Fraction(5, 25))
    assert np.abs(next(read.frames_at(piece, None)).astype(int) - list(read.frames_at(path, None))[20]).mean() < 3


def test_pixels_are_squared_by_lipscore_1_alone(clip: Path, tmp_path: Path) -> None:
    wide = convert(clip, tmp_path / "sar.mp4", "-vf", "scale=72:64,setsar=4/3", "-c:a", "copy")
    tall = convert(clip, tmp_path / "tall.mp4", "-vf", "scale=96:48,setsar=3/4", "-c:a", "copy")
    for path, stored in ((wide, (64, 72, 3)), (tall, (48, 96, 3))):
        assert read.probe(path).display_size == (96, 64)
        for protocol in PROTOCOLS:
            source, _ = under(protocol, path, tmp_path)
            frame = source.frames.unpack(next(iter(source.frames.packed())))
            assert frame.shape == ((64, 96, 3) if protocol == "lipscore-1" else stored)
        score = score_reference(path, clip)
        assert score.alignment is not None and score.alignment.warning is None and not score.alignment.resized
        same = score_reference(path, path)
        assert same.psnr == 100


def test_hdr_against_sdr_is_said(clip: Path, tmp_path: Path) -> None:
    hdr = convert(clip, tmp_path / "hdr.mp4", "-c:v", "libx264", "-color_trc", "smpte2084", "-c:a", "copy")
    assert read.probe(hdr).transfer == "pq"
    score = score_reference(hdr, clip)
    assert score.alignment is not None
    assert "PQ generated, SDR in the reference" in str(score.alignment.warning)
    wide = convert(clip, tmp_path / "wide.mp4", "-vf", "scale=128:64,setsar=1", "-an")
    assert "aspect ratios differ" in str(score_reference(wide, clip).alignment.warning)  # type: ignore[union-attr]


# Sound that says nothing


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("level", "silent"), [(0, True), (20, True), (60, False)])
def test_silence_is_said(tmp_path: Path, protocol: str, level: int, silent: bool) -> None:
    """-60 dBFS is a sample of 33."""
    pcm = (level * np.sin(np.arange(25600) * 0.1)).astype(np.int16)
    path = tmp_path / "quiet.mkv"
    sound = tmp_path / "quiet.wav"
    write.write_wav(sound, pcm, 16000)
    mux(path, make(tmp_path / "clip.mp4"), sound, maps="0:v 1:a", options="-c:v copy -c:a pcm_s16le")
    _, heed = under(protocol, path, tmp_path)
    assert heed.silent == silent
    assert any("no audible speech" in note for note in heed.notes) == silent


def test_antiphase_is_heard_by_lipscore_1_and_said_of_the_others(clip: Path, tmp_path: Path) -> None:
    path = convert(clip, tmp_path / "anti.mkv", "-af", "pan=stereo|c0=c0|c1=-1*c0", "-c:a", "pcm_s16le", "-c:v", "copy")
    for protocol in PROTOCOLS:
        source, heed = under(protocol, path, tmp_path)
        ours = protocol == "lipscore-1"
        assert heed.silent != ours
        assert any("cancel each other" in note for note in heed.notes)
        assert bool(heard_at(source.pcm)) == ours
    stereo = convert(clip, tmp_path / "stereo.mkv", "-af", "pan=stereo|c0=c0|c1=0*c0", "-c:a", "pcm_s16le")
    assert under("lipscore-1", stereo, tmp_path)[1].notes == ()
    assert heard_at(read.read_pcm(stereo)) == pytest.approx([0.4, 1.0], abs=0.012)


def test_audio_that_ends_before_the_picture_is_said(tmp_path: Path) -> None:
    path = make(tmp_path / "short.mp4", 100, (0.4,), seconds=1.5)
    for protocol in PROTOCOLS:
        assert any("the audio ends at 1.5" in note for note in under(protocol, path, tmp_path)[1].notes)
    assert under("lipscore-1", make(tmp_path / "even.mp4", 100, (0.4,)), tmp_path)[1].notes == ()


def test_the_edge_of_the_range_is_said() -> None:
    def track(offset: int) -> TrackScore:
        return TrackScore(0, 0, 99, offset, 7.0, 5.0, 90, (0.0,) * 31)

    assert edge_notes([track(14), track(-14), track(0)]) == ()
    assert "-15, +15 frames" in edge_notes([track(15), track(3), track(-15)])[0]
    assert "--vshift 30" in edge_notes([track(15)])[0]


# Comparison


def test_a_shift_that_gains_is_hinted_at(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    small = [rng.integers(0, 256, (6, 8, 3)).astype(np.uint8) for _ in range(60)]
    frames = [cv2.resize(frame, (128, 96)).astype(np.uint8) for frame in small]
    whole, later, beyond = (tmp_path / name for name in ("whole.mp4", "later.mp4", "beyond.mp4"))
    write.write_video(whole, frames, 25)
    write.write_video(later, frames[2:], 25)
    write.write_video(beyond, frames[5:], 25)
    hint = score_reference(later, whole).alignment.warning  # type: ignore[union-attr]
    assert re.search(r"moved by -2 frames the two are \d+\.\d dB closer: try --align shift", str(hint))
    assert "align shift" not in str(score_reference(whole, whole).alignment.warning)  # type: ignore[union-attr]
    assert "moved by" not in str(score_reference(beyond, whole).alignment.warning)  # type: ignore[union-attr]


# Containers that lie


def test_a_stream_without_a_duration(clip: Path, tmp_path: Path) -> None:
    data = subprocess.run(
        [*ffmpeg.ffmpeg_command([*ffmpeg.input_args(clip), "-c:v", "libvpx", "-c:a", "libopus", "-f", "webm", "-"])],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    path = tmp_path / "live.webm"
    path.write_bytes(data)
    info = read.probe(path)
    assert info.n_frames == 40 and info.duration_s == pytest.approx(1.6, abs=0.01)
    assert under("lipscore-1", path, tmp_path)[1].notes == ()


@pytest.mark.parametrize("wrong", [7, 4000, 4_000_000_000])
def test_an_avi_with_a_wrong_frame_count(tmp_path: Path, wrong: int) -> None:
    avi = convert(
        make(tmp_path / "clip.mp4"), tmp_path / "right.avi", "-c:v", "mjpeg", "-q:v", "2", "-c:a", "pcm_s16le"
    )
    forty, claim = (40).to_bytes(4, "little"), wrong.to_bytes(4, "little")
    data = avi.read_bytes()
    path = tmp_path / "wrong.avi"
    path.write_bytes(data[:400].replace(forty, claim) + data[400:])
    info = read.probe(path)
    assert info.n_frames == 40 and info.duration_s == pytest.approx(1.6)
    assert read_all(path)[0] == list(range(40))


def test_an_edit_list_is_no_damage(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4", 80, (0.4, 1.0, 2.0))
    path = convert(clip, tmp_path / "edited.mp4", "-c", "copy", before=("-ss", "1.0", "-t", "1.4"))
    numbers, _ = read_all(path)
    assert numbers[:35] == list(range(25, 60)) and len(numbers) < 40  # FFmpeg's copy ends a few B-frames late
    for protocol in PROTOCOLS:
        assert under(protocol, path, tmp_path)[1].notes == ()
    assert heard_at(read.read_pcm(path))[-1] == pytest.approx(1.0, abs=0.03)


def test_hidden_packets_and_fields_are_no_damage(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4", 60)
    hidden = convert(clip, tmp_path / "vp8.webm", "-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-an")
    fields = convert(clip, tmp_path / "fields.ts", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-top", "1", "-an")
    packed = convert(clip, tmp_path / "packed.avi", "-c:v", "mpeg4", "-bf", "2", "-an")
    for path in (hidden, fields, packed):
        numbers, counts = read_all(path)
        assert numbers == list(range(60))
        assert notes.shortfall(read.probe(path), counts) == ""


# Files of other kinds


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
    assert found == {"a.mp4": "", "pipe.mp4": "is no regular file"}
    with pytest.raises(MediaError, match="no regular file"):
        read.probe(folder / "pipe.mp4")
    with pytest.raises(MediaError, match="no regular file"):
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


def test_no_sound_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    write.write_video(path, numbered(5), 25)
    with pytest.raises(NotScoredError, match="no audio"):
        read.read_pcm(path)
    assert number_of(next(read.frames_at(path))) == 0


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
