"""Small files for the tests of reading: frames that show their number, and clicks that say when they sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lipscore.media import ffmpeg, write
from lipscore.media.read import Decoded, frames_at, probe
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.syncnet.source import Heed, Source, prepare

RATE = 16000
BITS = 8


def numbered(n: int, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """Frames with BITS bars, black and white, which show their number in binary digits."""
    bars = [[(k >> bit & 1) * 255 for bit in range(BITS)] for k in range(n)]
    return [
        np.repeat(np.repeat([row], width // BITS, 1)[..., None], 3, 2).repeat(height, 0).astype(np.uint8)
        for row in bars
    ]


def number_of(frame: np.ndarray) -> int:
    """Which of the numbered frames this is."""
    width = frame.shape[1] // BITS
    return sum(
        int(frame[:, bit * width + width // 4 : (bit + 1) * width - width // 4].mean() > 127) << bit
        for bit in range(BITS)
    )


def clicks(seconds: float, at: Sequence[float], rate: int = RATE) -> np.ndarray:
    """Silence with 20 ms of tone from each of the times on; faint noise in between, so that it is no digital zero."""
    pcm = np.random.default_rng(0).integers(-3, 4, round(seconds * rate)).astype(np.int16)
    for time in at:
        start = round(time * rate)
        n = min(rate // 50, len(pcm) - start)
        pcm[start : start + n] = 12000 * np.sin(np.arange(n) * 2 * np.pi * 1000 / rate)
    return pcm


def heard_at(pcm: np.ndarray, rate: int = RATE) -> list[float]:
    """When each click of the samples starts, in seconds."""
    loud = np.flatnonzero(np.abs(pcm.astype(int)) > 3000) / rate
    return [float(time) for k, time in enumerate(loud) if k == 0 or time - loud[k - 1] > 0.1]


def make(path: Path, n: int = 40, at: Sequence[float] = (0.4, 1.0), seconds: float | None = None) -> Path:
    """An MP4 of n numbered frames with clicks beneath them."""
    write.write_video(path, numbered(n), 25, clicks(n / 25 if seconds is None else seconds, at))
    return path


def convert(source: Path, target: Path, *options: str, before: Sequence[str] = ()) -> Path:
    """What FFmpeg makes of a file with these options."""
    ffmpeg.run_ffmpeg([*before, *ffmpeg.input_args(source), *options, ffmpeg.file_url(target)], source)
    return target


def read_all(path: Path, fps: int | None = None) -> tuple[list[int], Decoded]:
    """The numbers of a file's frames, and what was decoded."""
    counts = Decoded()
    return [number_of(frame) for frame in frames_at(path, fps, counts=counts)], counts


def under(protocol: str, path: Path, folder: Path) -> tuple[Source, Heed]:
    """A file as a protocol prepares it, read to its end, and what is said of it."""
    info = probe(path)
    heed = Heed(info, PROTOCOLS[protocol])
    work = folder / f"work-{protocol}"
    work.mkdir(exist_ok=True)
    source = prepare(info, PROTOCOLS[protocol], work, heed)
    for _ in source.frames.packed():
        pass
    return source, heed


def mux(target: Path, *inputs: Path, maps: str, options: str) -> Path:
    """Write the streams that `maps` names (as FFmpeg's -map does) of these files, with FFmpeg's output options."""
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
