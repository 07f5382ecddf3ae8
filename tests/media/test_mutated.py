"""Three hundred mutated and odd files, scored one after another: a record each, soon, and nothing left behind."""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from lipscore.demo.clips import render_clip
from lipscore.eval.options import ModelOptions, ProtocolOptions
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.media import ffmpeg

SEED = 17
N_FILES = 300
N_FRAMES = 64
LONGEST = 60.0  # seconds that a file may take
# Muxer and encoders of each kind of file that is mutated
KINDS = {
    "a.mp4": ("-c:v", "libx264", "-c:a", "aac", "-movflags", "+faststart"),
    "b.mp4": ("-c:v", "mpeg4", "-c:a", "aac"),
    "c.mov": ("-c:v", "libx264", "-bf", "2", "-c:a", "pcm_s16le"),
    "d.mkv": ("-c:v", "libx264", "-c:a", "libopus"),
    "e.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"),
    "f.avi": ("-c:v", "mpeg4", "-bf", "2", "-c:a", "libmp3lame"),
    "g.avi": ("-c:v", "libx264", "-bf", "2", "-c:a", "pcm_s16le"),
    "h.flv": ("-c:v", "flv1", "-ar", "44100", "-c:a", "libmp3lame"),
    "i.ts": ("-c:v", "libx264", "-c:a", "aac"),
    "j.mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "k.mp4": ("-c:v", "libx264", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-g", "12"),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A clip of N_FRAMES frames in each kind of file."""
    folder = tmp_path_factory.mktemp("kinds")
    clip = folder / "clip.mp4"
    render_clip(clip, seed=SEED, seconds=N_FRAMES / 25, size=(240, 240))
    made = {}
    for name, options in KINDS.items():
        target = folder / name
        ffmpeg.run_ffmpeg([*ffmpeg.input_args(clip), *options, str(target)], clip)
        made[name] = target.read_bytes()
    return made


@pytest.fixture(scope="module")
def setups() -> list[Setup]:
    """lipscore-1, wav2lip, and wav2lip-lrs, which needs no face."""
    model = ModelOptions(model="mini", device="cpu")
    options = [
        ProtocolOptions("lipscore-1", min_face_size=60),
        ProtocolOptions("wav2lip", min_track=50, min_face_size=60),
        ProtocolOptions("wav2lip-lrs"),
    ]
    return [Setup.load(option, model) for option in options]


def flip(data: bytearray, rng: random.Random, start: int, stop: int) -> None:
    """Overwrite a few bytes between the two places."""
    for _ in range(rng.choice((1, 3, 10, 40))):
        data[rng.randrange(start, max(start + 1, stop))] = rng.randrange(256)


def block(data: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(data))
    return slice(start, start + rng.choice((100, 1000, 5000)))


def cut(data: bytearray, rng: random.Random) -> None:
    del data[int(len(data) * rng.uniform(0.05, 0.98)) :]


def zeros(data: bytearray, rng: random.Random) -> None:
    where = block(data, rng)
    data[where] = bytes(len(data[where]))


def noise(data: bytearray, rng: random.Random) -> None:
    where = block(data, rng)
    data[where] = rng.randbytes(len(data[where]))


def removed(data: bytearray, rng: random.Random) -> None:
    del data[block(data, rng)]


def inserted(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice((1, 188, 3000)))


def twice(data: bytearray, rng: random.Random) -> None:
    data += data[rng.choice((0, len(data) // 2)) :]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    lambda data, rng: flip(data, rng, 0, 1500),
    lambda data, rng: flip(data, rng, len(data) - 3000, len(data)),
    lambda data, rng: flip(data, rng, 0, len(data)),
    cut,
    zeros,
    noise,
    removed,
    inserted,
    twice,
)
ODD = {
    "empty.mp4": b"",
    "byte.avi": b"\0",
    "text.mkv": b"no video\n" * 100,
    "concat.mp4": b"ffconcat version 1.0\nfile a.mp4\n",
    "zeros.ts": bytes(50_000),
    "sync.ts": b"\x47" * 18_800,
    "riff.avi": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xff",
    "ftyp.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isomiso2\xff\xff\xff\xffmoov",
    "ebml.webm": b"\x1a\x45\xdf\xa3" + b"\xff" * 1000,
    "gif.gif": b"GIF89a\xff\xff\xff\xff\0\0\0" + bytes(100),
}


def files(originals: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Name and content of each file."""
    rng = random.Random(SEED)
    made = list(ODD.items())
    names = list(originals)
    while len(made) < N_FILES:
        name = names[len(made) % len(names)]
        data = bytearray(originals[name])
        for _ in range(rng.choice((1, 1, 2))):
            rng.choice(MUTATIONS)(data, rng)
        made.append((f"{len(made):03d}{name}", bytes(data)))
    return made


def decoded_by_ffmpeg(path: Path) -> tuple[int, int]:
    """(packets, frames) of the video, as FFmpeg reads it."""
    command = [ffmpeg.ffmpeg_path(), "-nostdin", "-loglevel", "verbose", *ffmpeg.input_args(path)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "null", "-"]
    said = subprocess.run(command, stderr=subprocess.PIPE, env={**os.environ, **ffmpeg.NO_GCONV}).stderr.decode(
        errors="replace"
    )
    found = re.search(r"\(video\): (\d+) packets read .*?(\d+) frames decoded", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@pytest.mark.slow
def test_mutated_files(
    originals: dict[str, bytes], setups: list[Setup], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, videos = tmp_path / "work", tmp_path / "videos"
    work.mkdir()
    videos.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    statuses: Counter[str] = Counter()
    wrong = []
    for number, (name, data) in enumerate(files(originals)):
        path = videos / name
        path.write_bytes(data)
        setup = setups[number % len(setups)]
        start = time.monotonic()
        record = score_video(path, setup)  # an exception ends the test: it would be a crash
        took = time.monotonic() - start
        statuses[record.status] += 1
        about = f"{name} under {setup.protocol.name}: {record.status} {record.reason} {record.notes}"
        print(f"{took:5.1f} {about}", flush=True)
        if took > LONGEST:
            wrong.append(f"{about}: took {took:.0f} s")
        if left := list(work.rglob("*")):
            wrong.append(f"{about}: left {left}")
        if record.status == "ok" and not told(record.notes) and falls_short(path, record.n_frames or 0):
            wrong.append(f"{about}: {record.n_frames} frames, {decoded_by_ffmpeg(path)} by FFmpeg")
        path.unlink()
    print(statuses)
    assert not wrong, "\n".join(wrong)
    assert statuses["ok"] > N_FILES // 4 and statuses["media_error"] > len(ODD) - 1
    assert "error" not in statuses


def told(notes: tuple[str, ...]) -> bool:
    """Whether a note speaks of frames that are missing or damaged."""
    return any(re.search(r"\d+ of \d+ (decoded )?frames|could not be decoded|leave out", note) for note in notes)


def falls_short(path: Path, n_frames: int) -> bool:
    """Whether the file promises more frames than were read.

    By MP4's table of samples, by the count in an AVI's header, else by the packets that are there.
    """
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        entries = sum(not entry.is_discard for entry in stream.index_entries)
        if path.suffix in (".mp4", ".mov"):
            return n_frames < entries
        if path.suffix == ".avi":
            return n_frames < min(N_FRAMES, stream.frames) - 1
        if path.suffix == ".webm":  # VP8's hidden frames: RFC 6386, 9.1
            shown = [packet for packet in container.demux(stream) if packet.size and bytes(packet)[0] & 0x10]
            return n_frames < len(shown)
    return n_frames < decoded_by_ffmpeg(path)[0]
