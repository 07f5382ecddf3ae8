"""The kinds of files of docs/measures/media.md: streams, geometry, the cost of damage, and what is said of it."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_files import clicks, convert, heard_at, make, mux, number_of, numbered, read_all, under

from lipscore.errors import NotScoredError
from lipscore.eval.reasons import edge_notes
from lipscore.eval.reference import score_reference
from lipscore.media import edit, ffmpeg, notes, read, write
from lipscore.media.decode.frames import upright
from lipscore.syncnet import protocols
from lipscore.syncnet.source import Heed
from lipscore.types import TrackScore

PROTOCOLS = ["lipscore-1", "wav2lip", "latentsync", "mochabench"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4")


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


def test_a_shift_that_gains_is_hinted_at(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    small = [rng.integers(0, 256, (6, 8, 3)).astype(np.uint8) for _ in range(60)]
    frames = [cv2.resize(frame, (128, 96)).astype(np.uint8) for frame in small]
    whole, later, beyond = (tmp_path / name for name in ("whole.mp4", "later.mp4", "beyond.mp4"))
    write.write_video(whole, frames, 25)
    write.write_video(later, frames[2:], 25)
    write.write_video(beyond, frames[5:], 25)
    hint = score_reference(later, whole).alignment.warning  # type: ignore[union-attr]
    assert re.search(r"moved by -2 frames, the two are \d+\.\d dB closer: try --align shift", str(hint))
    assert "align shift" not in str(score_reference(whole, whole).alignment.warning)  # type: ignore[union-attr]
    assert "moved by" not in str(score_reference(beyond, whole).alignment.warning)  # type: ignore[union-attr]


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


def test_no_sound_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    write.write_video(path, numbered(5), 25)
    with pytest.raises(NotScoredError, match="no audio"):
        read.read_pcm(path)
    assert number_of(next(read.frames_at(path))) == 0


@pytest.mark.parametrize(("fps", "said"), [(25, False), (30, True), (24, True), (50, True)])
def test_a_crop_of_another_rate_than_the_networks_is_said(clip: Path, tmp_path: Path, fps: int, said: bool) -> None:
    """Only the protocol that takes the file as the crop has no step that brings it to 25."""
    path = convert(clip, tmp_path / f"{fps}.mkv", "-vf", f"fps={fps}", "-c:a", "copy")
    info = read.probe(path)
    for name, protocol in protocols.PROTOCOLS.items():
        found = [note for note in Heed(info, protocol).notes if "frames a second" in note]
        assert bool(found) == (said and name == "wav2lip-lrs")
        if found:
            assert f"its {fps} frames a second are taken for 25" in found[0]
            assert f"{1.6 * abs(fps / 25 - 1):.2f} s apart" in found[0]
