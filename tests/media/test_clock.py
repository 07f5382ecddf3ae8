"""One clock: every decoded frame, in the decoder's order, and the audio where its timestamps put it."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_files import convert, heard_at, make, number_of, numbered, read_all, under

from lipscore.errors import MediaError
from lipscore.media import edit, ffmpeg, read, write
from lipscore.media.container.clock import corrected, joints
from lipscore.media.container.packets import Line
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.source import prepare


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4")


CONTAINERS = {
    "ts": ("-c", "copy"),
    "mpg": ("-c:v", "mpeg2video", "-q:v", "2", "-c:a", "mp2", "-ar", "48000", "-fps_mode", "passthrough"),
    "vob": ("-c:v", "mpeg2video", "-q:v", "2", "-c:a", "ac3", "-ar", "48000"),
    "mkv": ("-c", "copy"),
    "mov": ("-c:v", "copy", "-c:a", "pcm_s16le"),
    "ogv": ("-c:v", "libtheora", "-q:v", "9", "-c:a", "libvorbis", "-ar", "48000"),
    "webm": ("-c:v", "libvpx", "-b:v", "2M", "-deadline", "realtime", "-c:a", "libopus"),
    "flv": ("-c:v", "flv1", "-q:v", "2", "-c:a", "libmp3lame", "-ar", "44100"),
    "wmv": ("-c:v", "wmv2", "-q:v", "2", "-c:a", "wmav2", "-ar", "44100"),
    "mxf": ("-c:v", "mpeg2video", "-q:v", "2", "-c:a", "pcm_s16le", "-ar", "48000"),
    "m2ts": ("-c", "copy"),
    "3gp": ("-c", "copy"),
    "nut": ("-c", "copy"),
}


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_sound_and_picture_start_together_in_every_container(clip: Path, tmp_path: Path, suffix: str) -> None:
    path = convert(clip, tmp_path / f"it.{suffix}", *CONTAINERS[suffix])
    numbers, counts = read_all(path)
    assert numbers == list(range(40))
    assert counts.complete and not counts.n_errors
    assert heard_at(read.read_pcm(path)) == pytest.approx([0.4, 1.0], abs=0.012)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mpg", "nut"])
@pytest.mark.parametrize("delay", [0.25, -0.25])
def test_audio_that_starts_late_or_early_stays_there(clip: Path, tmp_path: Path, suffix: str, delay: float) -> None:
    late, early = (["-itsoffset", "0.25"], []) if delay > 0 else ([], ["-itsoffset", "0.25"])
    path = tmp_path / f"late.{suffix}"
    options = CONTAINERS.get(suffix, ("-c", "copy"))
    inputs = [*early, *ffmpeg.input_args(clip), *late, *ffmpeg.input_args(clip)]
    ffmpeg.run_ffmpeg([*inputs, "-map", "0:v", "-map", "1:a", *options, str(path)], clip)
    assert heard_at(read.read_pcm(path)) == pytest.approx([0.4 + delay, 1.0 + delay], abs=0.012)


@pytest.mark.parametrize("protocol", ["wav2lip", "latentsync", "mochabench"])
def test_a_published_protocol_throws_the_delay_away_and_says_so(clip: Path, tmp_path: Path, protocol: str) -> None:
    path = tmp_path / "late.mkv"
    inputs = [*ffmpeg.input_args(clip), "-itsoffset", "2", *ffmpeg.input_args(clip)]
    ffmpeg.run_ffmpeg([*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", str(path)], clip)
    source, heed = under(protocol, path, tmp_path)
    assert heard_at(source.pcm) == pytest.approx([0.4, 1.0], abs=0.2)
    assert any(re.search(r"starts (1\.9|2\.0).* discards the delay", note) for note in heed.notes)
    ours = under("lipscore-1", path, tmp_path)[1]
    assert not any("delay" in note for note in ours.notes)
    assert not any("delay" in note for note in under(protocol, clip, tmp_path)[1].notes)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("depth", ["0", "1", "2"])
def test_b_frames_in_avi_are_all_there_and_in_order(tmp_path: Path, codec: str, depth: str) -> None:
    """An AVI holds no display times: what a container says of them is not what decides."""
    clip = make(tmp_path / "clip.mp4", 48)
    options = ("-c:v", codec, "-bf", depth, "-g", "48", "-sc_threshold", "0", "-q:v", "2", "-c:a", "pcm_s16le")
    path = convert(clip, tmp_path / "b.avi", *options)
    assert read_all(path)[0] == list(range(48))
    assert read_all(path, 25)[0] == list(range(48))
    assert heard_at(read.read_pcm(path)) == pytest.approx([0.4, 1.0], abs=0.012)


@pytest.mark.parametrize("suffix", ["ts", "mpg", "vob"])
def test_joined_files_go_on_where_the_timestamps_start_again(clip: Path, tmp_path: Path, suffix: str) -> None:
    one = convert(clip, tmp_path / f"one.{suffix}", *CONTAINERS[suffix])
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(one.read_bytes() * 3)
    numbers, counts = read_all(path, 25)
    assert numbers == [*range(40)] * 3
    assert counts.n_frames == 120 and counts.end == pytest.approx(4.8)
    assert heard_at(read.read_pcm(path)) == pytest.approx([0.4, 1.0, 2.0, 2.6, 3.6, 4.2], abs=0.03)
    assert len(read.probe(path).clock.joints) == 4


def test_a_recording_that_starts_anywhere_in_time(clip: Path, tmp_path: Path) -> None:
    path = convert(clip, tmp_path / "late.ts", "-c", "copy", "-output_ts_offset", "5000")
    assert read_all(path, 25)[0] == list(range(40))
    assert heard_at(read.read_pcm(path)) == pytest.approx([0.4, 1.0], abs=0.012)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(convert(clip, tmp_path / "a.ts", "-c", "copy").read_bytes() + path.read_bytes())
    assert read_all(joined, 25)[0] == [*range(40)] * 2  # a leap of both streams is no hole


@pytest.mark.parametrize("hole", [0.06, 0.5, 3.0])
def test_a_hole_in_the_audio_is_silence(tmp_path: Path, hole: float) -> None:
    clip = make(tmp_path / "clip.mp4", 200, (0.4, 1.0, 2.0, 3.5))
    options = ("-c:v", "copy", "-af", f"asetpts=PTS+gte(T\\,0.8)*{hole}/TB", "-c:a", "pcm_s16le")
    path = convert(clip, tmp_path / "hole.mkv", *options)
    assert heard_at(read.read_pcm(path))[2:] == pytest.approx([2.0 + hole, 3.5 + hole], abs=0.012)


def test_a_clip_that_starts_between_key_frames(tmp_path: Path) -> None:
    """What comes before the first key frame is not decodable, and the sound begins with the first frame that is."""
    clip = make(tmp_path / "clip.mp4", 48, (0.4, 1.0, 1.4))
    gops = convert(
        clip, tmp_path / "gops.mkv", "-c:v", "libx264", "-g", "24", "-bf", "0", "-sc_threshold", "0", "-c:a", "aac"
    )
    path = tmp_path / "mid.ts"
    import av

    with av.open(str(gops)) as source, av.open(str(path), "w") as target:
        streams = {stream: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.pts is not None and packet.dts is not None and packet.pts * packet.time_base >= Fraction(1, 2):
                packet.stream = streams[packet.stream]
                target.mux(packet)
    assert read_all(path)[0] == list(range(24, 48))
    assert heard_at(read.read_pcm(path)) == pytest.approx([1.0 - 0.96, 1.4 - 0.96], abs=0.015)
    assert under("lipscore-1", path, tmp_path)[1].notes[-1] == "24 of 35 frames could be decoded"


def test_times_without_end_are_turned_down(tmp_path: Path) -> None:
    for stream, options in (
        ("video", ("-vf", "setpts=PTS+gte(N\\,20)*3600/TB", "-fps_mode", "passthrough", "-c:a", "copy")),
        ("audio", ("-c:v", "copy", "-af", "asetpts=PTS+gte(T\\,0.8)*3600/TB")),
    ):
        path = convert(make(tmp_path / "clip.mp4"), tmp_path / f"{stream}.mkv", *options)
        with pytest.raises(MediaError, match=f"its {stream} timestamps jump by 3[56]"):
            read.probe(path)


def test_a_pause_is_no_leap(tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4")
    path = convert(clip, tmp_path / "pause.mkv", "-vf", "setpts=PTS+gte(N\\,20)*30/TB", "-fps_mode", "passthrough")
    numbers, _ = read_all(path, 25)
    assert len(numbers) == 40 + 30 * 25
    assert set(numbers[30:700]) == {19, 20}


def line(times: list[float], step: float = 0.04) -> Line:
    made = Line(Fraction(1, 90000))
    for time in times:
        stamp = round(time * 90000)
        made.pts.append(stamp)
        made.dts.append(stamp)
        made.duration.append(round(step * 90000))
        made.shown.append(1)
    return made


def test_timestamps_that_go_wrong_for_a_moment_are_put_right() -> None:
    straight = [k * 0.04 for k in range(100)]
    for wrong in (7.0, -7.0, 3600.0):
        times = [time + wrong * (50 <= k < 52) for k, time in enumerate(straight)]
        found = corrected(line(times), 0, joints((0, line(times)), None, "mpegts"))
        assert np.allclose(found, straight, atol=0.05)
        assert (np.diff(found) > 0).all()


def test_a_wrap_of_one_stream_does_not_move_the_other() -> None:
    video = line([k * 0.04 for k in range(100)])
    audio = line([k * 0.02 if k < 100 else k * 0.02 - 1.9 for k in range(200)], 0.02)
    found = joints((0, video), (1, audio), "mpegts")
    assert {stream for stream, _, _ in found} == {1}
    assert np.allclose(corrected(audio, 1, found), [k * 0.02 for k in range(200)], atol=0.03)


@pytest.mark.parametrize("suffix", ["mp4", "avi", "ts", "mpg"])
def test_pieces_lie_on_the_files_clock(tmp_path: Path, suffix: str) -> None:
    """Frames and clicks of a piece are where they are in the whole, whether the file can be sought in or not."""
    clip = make(tmp_path / "clip.mp4", 150, [0.4 + 0.6 * k for k in range(9)])
    options = CONTAINERS.get(suffix, ("-c:v", "libx264", "-bf", "2", "-g", "30", "-c:a", "pcm_s16le"))
    path = convert(clip, tmp_path / f"whole.{suffix}", *options)
    info = read.probe(path)
    whole, times = read_all(path)[0], heard_at(read.read_pcm(path))
    for start in (0, 20, 95):
        piece = tmp_path / "piece.mkv"
        counts = edit.cut(info, piece, Fraction(start, 25), Fraction(40, 25))
        assert (counts.n_frames, counts.n_packets) == (40, 40)
        assert read_all(piece)[0] == whole[start : start + 40]
        wanted = [time - start / 25 for time in times if start / 25 + 0.01 <= time < (start + 39) / 25]
        assert heard_at(read.read_pcm(piece))[: len(wanted)] == pytest.approx(wanted, abs=0.015)


def test_frames_that_change_their_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    parts = []
    for name, size in (("a", (96, 64)), ("b", (48, 32)), ("c", (192, 64))):
        part = tmp_path / f"{name}.mp4"
        write.write_video(part, numbered(10, *size), 25)
        parts.append(convert(part, tmp_path / f"{name}.ts", "-c", "copy").read_bytes())
    path = tmp_path / "sizes.ts"
    path.write_bytes(b"".join(parts))
    frames = list(read.frames_at(path, 25))
    assert {frame.shape for frame in frames} == {(64, 96, 3)}
    assert [number_of(frame) for frame in frames] == [*range(10)] * 3


@pytest.mark.parametrize("rate", ["25", "30", "60", "24000/1001"])
@pytest.mark.parametrize("name", ["wav2lip", "latentsync"])
def test_without_jpegs_the_frames_are_those_that_the_jpegs_show(tmp_path: Path, name: str, rate: str) -> None:
    """The AVI lacks frames near its start; FFmpeg fills them in when it writes pictures."""
    path = convert(make(tmp_path / "made.mp4", n=60), tmp_path / "rate.mp4", "-r", rate, "-c:a", "copy")
    shown = []
    for jpegs in (True, False):
        frames = prepare(read.probe(path), PROTOCOLS[name], tmp_path, jpegs=jpegs).frames
        shown.append([number_of(frames.unpack(packed)) for packed in frames.packed()])
    assert shown[0] == shown[1] and len(shown[0]) > 55
