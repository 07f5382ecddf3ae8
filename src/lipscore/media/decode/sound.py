"""The audio on the video's clock: each packet's samples at its timestamp, with silence in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import NotScoredError
from lipscore.media import limits
from lipscore.media.container.packets import opened, seek
from lipscore.media.decode.frames import Decoded, decoded_frames
from lipscore.types import MediaInfo

Samples = NDArray[np.int16]
AT_ONCE = 0.1  # seconds by which a timestamp may differ from the samples so far before it is followed at once
DRIFT = 0.01  # seconds by which it may differ for PATIENCE packets: containers round, and some jitter
PATIENCE = 5
CANCELS = 0.01  # of the channels' mean energy: what a mix must keep (-20 dB), else the channels cancel each other
BLOCK = 1 << 16  # samples handed to the resampler at a time
# What a channel counts in a mono mix, as in FFmpeg's libswresample/rematrix.c; others count as much as the centre
WEIGHTS = {"FL": 0.7071, "FR": 0.7071, "FC": 1.0, "LFE": 0.0, "BL": 0.5, "BR": 0.5, "SL": 0.5, "SR": 0.5, "BC": 0.5}


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio on the video's clock.

    pcm: int16[N], mono. cancelled: whether the file's channels cancel each other in a mix, so that only one of them was
    taken. n_errors: the number of packets that could not be decoded.
    """

    pcm: Samples
    cancelled: bool
    n_errors: int


def clocked(info: MediaInfo, rate: int) -> Sound:
    """The own audio stream, mono at `rate` Hz; sample 0 sounds with the first frame that decodes.

    Samples that the container cuts off (priming, edit lists) and samples before the first frame are left out.

    Raises:
        NotScoredError: there is no audio (status no_audio).
    """
    info = info.heard
    if info.own.audio is None or info.sample_rate is None:
        raise NotScoredError("no_audio", "the file has no audio stream; scoring needs speech")
    levels = _Levels(info.channels)
    counts = Decoded()
    pcm = _resampled(_mono(placed(info, counts), levels.mix), info.sample_rate, rate)
    channel = levels.cancelled()
    if channel is not None:
        pcm = _resampled((block[channel] for block in placed(info, Decoded())), info.sample_rate, rate)
    return Sound(pcm, channel is not None, counts.n_errors)


def channels_cancel(info: MediaInfo) -> bool:
    """Whether the channels of the published protocols' audio stream cancel each other in a mix."""
    info = info.heard
    if info.published.audio is None:
        return False
    levels = _Levels(_layout(info.path, info.published.audio))
    with opened(info.path) as container:
        stream = container.streams[info.published.audio]
        assert isinstance(stream, av.AudioStream)
        for block in _plain(decoded_frames(container, stream, info.clock, Decoded())):
            levels.mix(block)
    return levels.cancelled() is not None


def placed(info: MediaInfo, counts: Decoded, start: Fraction = Fraction(0)) -> Iterator[Samples]:
    """The own audio stream as int16[channels, n] blocks at info.sample_rate, without a gap, from `start` seconds on.

    The start is found by seeking if that is reliable. If the seek lands too late, the file is read from its start.
    """
    assert info.own.audio is not None and info.sample_rate is not None
    for seeking in (True, False):
        with opened(info.path) as container:
            stream = container.streams[info.own.audio]
            assert isinstance(stream, av.AudioStream)
            if seeking and not seek(container, container.streams[info.own.video], info.clock, start):
                continue
            time_base = Fraction(stream.time_base or 1)
            place = _Placer(info.sample_rate, stream.codec_context.layout.nb_channels)
            plain = _Plain(info.sample_rate, stream.codec_context.layout.name)
            landed = not seeking
            for frame in decoded_frames(container, stream, info.clock, counts):
                assert isinstance(frame, av.AudioFrame)
                at = None if frame.pts is None else frame.pts * time_base - info.clock.origin - start
                if not landed and (at is None or at > 0):
                    break
                landed = True
                for block in plain(frame):
                    yield from place(block, at)
                    at = None
            if landed:
                return


class _Plain:
    """Decoded frames as int16[channels, n] of one rate and one layout, even if the stream changes them."""

    def __init__(self, rate: int, layout: str) -> None:
        self._rate, self._layout = rate, layout
        self._resampler: av.AudioResampler | None = None
        self._made_for: tuple[str, str, int] | None = None

    def __call__(self, frame: av.AudioFrame) -> Iterator[Samples]:
        """The frame's samples."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or self._made_for != kind:
            self._resampler = av.AudioResampler(format="s16p", layout=self._layout, rate=self._rate)
            self._made_for = kind
        frame.pts = None
        for made in self._resampler.resample(frame):
            yield made.to_ndarray().astype(np.int16, copy=False)


def _plain(frames: Iterator[av.VideoFrame | av.AudioFrame]) -> Iterator[Samples]:
    plain: _Plain | None = None
    for frame in frames:
        assert isinstance(frame, av.AudioFrame)
        plain = plain or _Plain(frame.sample_rate, frame.layout.name)
        yield from plain(frame)


class _Placer:
    """Places blocks by their times: gaps are filled with silence, and overlaps are cut off."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._at = 0  # the sample that the next block is expected at
        self._begun = False
        self._drifts: list[int] = []

    def __call__(self, block: Samples, time: Fraction | None) -> Iterator[Samples]:
        """Place the next block int16[channels, n] at `time`; None: directly after the previous one."""
        move = self._move(0 if time is None else round(time * self._rate) - self._at, time is not None)
        while move > 0:
            n = min(move, BLOCK)
            yield np.zeros((self._channels, n), np.int16)
            move -= n
            self._at += n
        if move < 0:
            block = block[:, -move:]
        if block.shape[1]:
            self._at += block.shape[1]
            yield block

    def _move(self, drift: int, known: bool) -> int:
        """The samples by which the next block moves; the first time counts exactly, later ones if they are reliable."""
        if not known:
            return 0
        if not self._begun or abs(drift) > AT_ONCE * self._rate:
            self._begun = self._begun or drift >= 0
            self._drifts.clear()
            return drift
        if abs(drift) <= DRIFT * self._rate or (self._drifts and (drift > 0) != (self._drifts[-1] > 0)):
            self._drifts.clear()
            if abs(drift) <= DRIFT * self._rate:
                return 0
        self._drifts.append(drift)
        if len(self._drifts) < PATIENCE:
            return 0
        move = min(self._drifts, key=abs)
        self._drifts.clear()
        return move


class _Levels:
    """Mixes channels to mono, and adds up the energies of the channels and of the mix, to detect cancellation."""

    def __init__(self, channels: Sequence[str]) -> None:
        """channels: FFmpeg's names of the channels."""
        weights = np.array([WEIGHTS.get(name, 1.0) for name in channels], np.float32)
        if not weights.any():
            weights[:] = 1
        self._weights = weights / weights.sum()
        self._channels = np.zeros(len(weights), np.float64)
        self._mixed = 0.0

    def mix(self, block: Samples) -> NDArray[np.float32]:
        """int16[channels, n] -> float32[n]."""
        wide = block.astype(np.float32)
        if len(block) == 1:
            return np.asarray(wide[0])
        mono: NDArray[np.float32] = self._weights @ wide
        self._channels += np.square(wide).sum(axis=1, dtype=np.float64)
        self._mixed += float(np.square(mono).sum(dtype=np.float64))
        return mono

    def cancelled(self) -> int | None:
        """The loudest channel if the mix has almost none of the channels' energy, else None."""
        heard = np.where(self._weights > 0, self._channels, 0)
        if self._mixed >= CANCELS * float(heard.max()) / 2:
            return None
        return int(heard.argmax())


def _layout(path: Path, index: int) -> list[str]:
    """The names of a stream's channels."""
    with opened(path) as container:
        stream = container.streams[index]
        assert isinstance(stream, av.AudioStream)
        return [channel.name for channel in stream.codec_context.layout.channels]


def _mono(blocks: Iterator[Samples], mix: Callable[[Samples], NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        yield mix(block)


def _resampled(blocks: Iterator[NDArray[np.float32] | Samples], rate: int, wanted: int) -> Samples:
    """Mono blocks at `rate` Hz as int16[N] at `wanted` Hz."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=wanted)
    samples = bytearray()  # grows in place: an hour is 115 MB
    watch = limits.current()

    def keep(made: list[av.AudioFrame]) -> None:
        for frame in made:
            samples.extend(frame.to_ndarray().tobytes())
        if watch is not None:
            watch.heard(len(samples) / 2 / wanted)

    for block in blocks:
        frame = av.AudioFrame.from_ndarray(
            (block.astype(np.float32) / 32768).reshape(1, -1), format="fltp", layout="mono"
        )
        frame.sample_rate = rate
        frame.pts = None
        keep(resampler.resample(frame))
    keep(resampler.resample(None))
    return np.frombuffer(samples, dtype="<i2")
