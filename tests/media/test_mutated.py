"""Three hundred mutated and odd files, each by both ways of decoding: a record, soon, and nothing left behind."""

from __future__ import annotations

import faulthandler
import os
import random
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import pytest

from lipscore.demo.clips import render_clip
from lipscore.eval.options import ModelOptions, ProtocolOptions
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.media import ffmpeg
from lipscore.media.limits import Limits
from lipscore.types import VideoScore

SEED = 17
N_FILES = 300
N_FRAMES = 64
LONGEST = 60.0  # seconds of computing that a file may take, FFmpeg's included; an intact one takes about two
WAITING = 600.0  # seconds until a file that only waits is taken for a hang, on a machine with other work
MEMORY = 700 << 20  # bytes by which the process may grow over the whole run
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
    """lipscore-1, which decodes once, and wav2lip, which transcodes."""
    model = ModelOptions(model="mini", device="cpu")
    options = [
        ProtocolOptions("lipscore-1", min_face_size=60),
        ProtocolOptions("wav2lip", min_track=50, min_face_size=60),
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


def repeated(data: bytearray, rng: random.Random) -> None:
    where = block(data, rng)
    data[where.start : where.start] = data[where]


def bits(data: bytearray, rng: random.Random) -> None:
    """Turn over single bits, half of the time where the indexes are."""
    start = rng.choice((0, 0, max(0, len(data) - 4096)))
    stop = len(data) if rng.random() < 0.5 else min(len(data), start + 4096)
    for _ in range(rng.randint(1, 30)):
        data[rng.randrange(start, stop)] ^= 1 << rng.randrange(8)


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
    repeated,
    bits,
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


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def computed() -> float:
    """Seconds that this process and the ended ones below it have computed."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def children() -> set[int]:
    """The processes that this one has started and that still run."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for one in lists for pid in one.read_text().split()}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_mutated_files(
    originals: dict[str, bytes], setups: list[Setup], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, videos = tmp_path / "work", tmp_path / "videos"
    work.mkdir()
    videos.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    intact = videos / "intact.mp4"
    intact.write_bytes(originals["a.mp4"])
    for setup in setups:  # what is loaded once stays open
        assert score_video(intact, setup).status == "ok"
    n_open, running, memory = descriptors(), children(), resident()
    statuses: Counter[str] = Counter()
    wrong: list[str] = []
    for name, data in files(originals):
        path = videos / name
        path.write_bytes(data)
        for setup in setups:
            faulthandler.dump_traceback_later(2 * WAITING, exit=True)  # what no limit ends
            before = computed()
            try:
                record = score_video(path, setup, limits=Limits(max_seconds=WAITING))
            except Exception as error:  # a run makes this the status `error`
                record = replace(setup.blank(str(path), name), status="error", reason=repr(error))
            took = computed() - before
            statuses[record.status] += 1
            found = list(faults(record, path, took))
            if left := list(work.rglob("*")):
                found.append(f"left {left}")
            if descriptors() > n_open or children() - running:
                found.append(f"{descriptors() - n_open} more descriptors, processes {children() - running}")
            about = f"{name} under {setup.protocol.name}: {record.status} {record.reason} {record.notes}"
            print(f"{took:5.1f} {about}", *found, flush=True)
            wrong += [f"{about}: {fault}" for fault in found]
        path.unlink()
    faulthandler.cancel_dump_traceback_later()
    print(statuses, f"grew by {(resident() - memory) >> 20} MB")
    assert not wrong, "\n".join(wrong)
    assert statuses["ok"] > sum(statuses.values()) // 4 and statuses["media_error"] > len(setups) * (len(ODD) - 1)
    assert resident() - memory < MEMORY


def faults(record: VideoScore, path: Path, took: float) -> Iterator[str]:
    """What is wrong with a file's record."""
    if record.status in ("error", "timed_out"):
        yield "a status that a damaged file must not have"
    if took > LONGEST:
        yield f"took {took:.0f} s"
    if record.status != "ok":
        if not record.reason:
            yield "no reason"
    elif not told(record.notes) and falls_short(path, record.n_frames or 0):
        yield f"{record.n_frames} frames, (packets, frames) by FFmpeg: {decoded_by_ffmpeg(path)}"


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
