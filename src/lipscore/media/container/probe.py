"""Examine a file before it is scored: its streams, its clock, its geometry and its length."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError
from lipscore.media import limits
from lipscore.media.container import clock as clocks
from lipscore.media.container.packets import NO_TIME, AvStream, Line, opened, scan
from lipscore.media.container.streams import PICTURES, NoVideoError, best_video, choose, choose_sound
from lipscore.media.decode.frames import (
    Decoded,
    decoded_frames,
    nothing_decoded,
    sane_sar,
    square_size,
    timed_frames,
    turned,
)
from lipscore.types import Clock, MediaInfo, Streams

RATES = (1000, 768_000)  # Hz: the sample rates that can be meant
PAUSE = 10  # times the usual distance between two frames
STEADY = 25  # frames for each hole, at the least, where a hole means that frames were lost, not a varying rate
REORDERED = 8  # frames at the end that a copy may tear out of their order (B-frames whose references are left out)
HOLE = 1.9  # times the usual distance
LOOK = 20  # frames that show whether a container's display times are true
# Formats whose header says how long they last; the others are asked for their last timestamp, or guessed
SAYS_DURATION = frozenset({"matroska", "webm", "flv", "asf"})
CUT_SHORT = 0.1  # seconds that all streams end before the time that the header says
HIDING = frozenset({"vp9", "av1", "mpeg4"})  # codecs with packets that show nothing, beyond those that scan() knows
TRANSFERS = {16: "pq", 18: "hlg"}  # ITU-T H.273, table 3
BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes.

    Raises:
        MediaError: the file cannot be read, or is not a regular file.
    """
    try:
        if path.exists() and not path.is_file():
            raise MediaError(f"{path}: is not a regular file; give a video file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error


def probe(path: Path) -> MediaInfo:
    """Examine a video file: reads its packets once, and decodes its first frame.

    Raises:
        MediaError: the path is not a media file, or the file has no video stream that can be decoded, or its timestamps
            are unusable.
    """
    with opened(path) as container:
        opening = _Opening(container)
        lines = scan(container, opening.look)
        opening.end()
        own, published = choose(path, container, lines)
        stream = container.streams[own.video]
        assert isinstance(stream, av.VideoStream)
        expected = _promised(container, stream, lines, own)
        audio = own.audio
        joined = clocks.joints(
            (own.video, lines[own.video]), None if audio is None else (audio, lines[audio]), container.format.name
        )
        video_times = clocks.corrected(lines[own.video], own.video, joined)
        clocks.check_holes(path, "video", lines[own.video], video_times)
        rate = _rate(stream, video_times)
        header = stream.codec_context
        limits.check_size(header.width, header.height)
        sar = sane_sar(stream.sample_aspect_ratio)
        transfer = TRANSFERS.get(int(header.color_trc or 0), "sdr")
        sample_rate = None
        channels: tuple[str, ...] = ()
        sound: tuple[float, float] | None = None
        if audio is not None:
            sample_rate, channels = _sample_rate(path, container, audio)
            sound = _span(lines[audio], audio, joined)
            if len(lines[audio]):
                clocks.check_holes(path, "audio", lines[audio], clocks.corrected(lines[audio], audio, joined))
        their_start = None
        if published.audio is not None and (theirs := _span(lines[published.audio], published.audio, joined)):
            their_start = theirs[0]
        hidden = header.name in HIDING
        avi = "avi" in container.format.name.split(",")
        unsure = bool(header.has_b_frames) and not lines[own.video].reordered
    clock = Clock(Fraction(0), unsure and (avi or _times_lie(path, own.video, rate, joined)), joined)
    if opening.stream != own.video or not opening.frames or joined:
        first, origin = _first(path, own, rate, clock)
    else:
        first, origin = opening.frames[0], opening.origin(rate)
    if clock.by_order or avi:
        origin, clock = _first_slot(first, origin, clock, lines[own.video], own.video)
        if clock.by_order:
            video_times = np.asarray(lines[own.video].coding_times * float(lines[own.video].time_base), np.float64)
        else:
            video_times = clocks.corrected(lines[own.video], own.video, clock.joints)
    turn = turned(first)
    stored = (first.width, first.height)
    square = square_size(*stored, sar)
    end = float(video_times.max()) + float(1 / rate) if len(video_times) else float(origin)
    duration = max(0.0, end - float(origin))
    if sound is not None:
        clocks.check_lengths(path, duration, sound[1] - float(origin))
    n_frames = lines[own.video].n_shown
    return MediaInfo(
        path=path,
        fps=rate,
        n_frames=n_frames,
        width=stored[turn],
        height=stored[not turn],
        sample_rate=sample_rate if sound is not None else None,
        duration_s=duration,
        own=own if sound is not None else replace(own, audio=None),
        published=published,
        clock=replace(clock, origin=origin),
        n_expected=max(n_frames, expected),
        sar=sar,
        display_size=(square[turn], square[not turn]),
        transfer=transfer,
        audio_start_s=None if sound is None else sound[0] - float(origin),
        audio_end_s=None if sound is None else sound[1] - float(origin),
        published_audio_start_s=None if their_start is None else their_start - float(origin),
        hidden_packets=hidden,
        turned=turn,
        n_left_out=_left_out(video_times),
        channels=channels,
    )


def probe_heard(path: Path) -> MediaInfo:
    """Examine a sound file, or a video whose sound is used; a video's sound has the clock of its picture.

    Raises:
        MediaError: the path is not a media file, or its timestamps are unusable.
    """
    try:
        return probe(path)
    except NoVideoError:
        return _probe_sound(path)


def _probe_sound(path: Path) -> MediaInfo:
    """Examine a file without a video: its clock starts with its audio, and all values about pictures are 0."""
    with opened(path) as container:
        lines = scan(container)
        own, published = choose_sound(path, container, lines)
        span = None if own.audio is None else _span(lines[own.audio], own.audio, ())
        if own.audio is None or span is None:
            return MediaInfo(path, Fraction(25), 0, 0, 0, None, 0.0, own=own, published=published)
        rate, channels = _sample_rate(path, container, own.audio)
        line = lines[own.audio]
        clocks.check_holes(path, "audio", line, clocks.corrected(line, own.audio, ()))
    with opened(path) as container:
        stream = container.streams[own.audio]
        assert isinstance(stream, av.AudioStream)
        first = next(decoded_frames(container, stream, Clock(), Decoded()), None)
        if first is None:
            raise nothing_decoded(path)
        # the packets' own start is an encoder's priming, which a decoder cuts off (MP3: 25 ms)
        origin = max(Fraction(0), (first.pts or 0) * Fraction(stream.time_base or 1))
    return MediaInfo(
        path,
        Fraction(25),
        0,
        0,
        0,
        rate,
        0.0,
        own=own,
        published=published,
        clock=Clock(origin),
        audio_start_s=0.0,
        audio_end_s=span[1] - float(origin),
        published_audio_start_s=0.0,
        channels=channels,
    )


def _promised(
    container: av.container.InputContainer, stream: av.VideoStream, lines: Mapping[int, Line], own: Streams
) -> int:
    """The number of frames that the container promises; 0 if it states none, or an impossible one."""
    line = lines[own.video]
    formats = set(container.format.name.split(","))
    if stream.frames > len(line) and stream.frames <= max(1, container.size):  # a frame takes a byte, at the least
        if "mov" in formats:  # an edit list may leave frames out
            return sum(not entry.is_discard for entry in stream.index_entries)
        if "avi" in formats:  # empty chunks repeat a frame, as many of those to come as of those read
            slots = int(np.ptp(line.coding_times)) + 1 if len(line) else 1
            spacing = max(1.0, slots / max(1, len(line)))
            missing = stream.frames - slots
            return line.n_shown + round(missing / spacing) if missing >= 2 * spacing else 0
        return stream.frames
    if "mov" in formats and not stream.frames:  # a fragment that is cut short
        return sum(not entry.is_discard for entry in stream.index_entries)
    if container.duration and not formats.isdisjoint(SAYS_DURATION):
        ends = [_span(other, index, ()) for index, other in lines.items()]
        end = max((span[1] for span in ends if span is not None), default=0.0)
        lacking = container.duration / av.time_base - end
        rate = stream.average_rate or stream.guessed_rate
        if lacking > CUT_SHORT and rate:
            return line.n_shown + round(lacking * float(rate))
    return 0


def _span(line: Line, index: int, joined: clocks.Joints) -> tuple[float, float] | None:
    """The start and the end of a stream's packets, in seconds; None without packets."""
    if not len(line):
        return None
    times = clocks.corrected(line, index, joined)
    shown = np.array(line.shown, bool)
    if not shown.any():
        return None
    lasting = np.minimum(np.array(line.duration, np.float64) * float(line.time_base), clocks.CAPS["audio"])
    return float(times[shown].min()), float((times + lasting)[shown].max())


def _rate(stream: av.VideoStream, times: NDArray[np.float64]) -> Fraction:
    """Frames per second: the container's average, unless its packets (without pauses) contradict it."""
    said = Fraction(stream.average_rate or stream.guessed_rate or 25)
    gaps = np.diff(np.sort(times))
    gaps = gaps[gaps > 0]
    if len(gaps):
        found = 1 / float(np.mean(gaps[gaps <= PAUSE * np.median(gaps)]))
        if not 0.5 < float(said) / found < 2:
            said = Fraction(found).limit_denominator(1001)
    return min(max(said, Fraction(1, 10)), Fraction(1000))


def _left_out(times: NDArray[np.float64]) -> int:
    """The number of missing frames in a stream that is steady except for a few holes; 0 for other streams."""
    gaps = np.diff(np.sort(times))[:-REORDERED]
    if len(gaps) < STEADY:
        return 0
    usual = float(np.median(gaps))
    holes = gaps[gaps > HOLE * usual]
    steady = np.abs(gaps - usual) <= usual / 10
    if not usual or len(holes) * STEADY > len(gaps) or steady.sum() + len(holes) < 0.98 * len(gaps):
        return 0
    return int(np.round(holes / usual - 1).sum())


def _sample_rate(path: Path, container: av.container.InputContainer, index: int) -> tuple[int, tuple[str, ...]]:
    stream = container.streams[index]
    assert isinstance(stream, av.AudioStream)
    rate = stream.codec_context.sample_rate or 0
    if not RATES[0] <= rate <= RATES[1]:
        raise MediaError(f"{path}: its audio has {rate} samples a second; the header must be damaged")
    return rate, tuple(channel.name for channel in stream.codec_context.layout.channels)


def _times_lie(path: Path, index: int, rate: Fraction, joined: clocks.Joints) -> bool:
    """Whether the decoder returns the first frames in another order than that of their timestamps."""
    with opened(path) as container:
        stream = container.streams[index]
        assert isinstance(stream, av.VideoStream)
        frames = timed_frames(container, stream, Clock(joints=joined), rate, Decoded())
        stamps = [frame.pts for frame, _ in islice(frames, LOOK) if frame.pts is not None]
    return stamps != sorted(stamps)


def _first_slot(frame: av.VideoFrame, time: Fraction, clock: Clock, line: Line, stream: int) -> tuple[Fraction, Clock]:
    """The first frame's time and the clock of a file whose timestamps are decoding times (AVI).

    The first frame is shown in its own packet's slot, not after a decoder's delay.
    """
    slots = [dts for pts, dts in zip(line.pts, line.dts, strict=True) if pts == frame.pts and NO_TIME not in (pts, dts)]
    if clock.by_order:
        return (slots or [frame.dts or 0])[0] * line.time_base, clock
    if not slots or frame.pts is None or slots[0] == frame.pts or clock.joints:
        return time, clock
    moved = (slots[0] - frame.pts) * line.time_base
    return time + moved, replace(clock, joints=((stream, 0, moved),))


class _Opening:
    """Decodes the first two frames of the likely video stream while the packets are read.

    stream: its index; the stream object must not be used after the container is closed.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        likely = [stream for stream in container.streams.video if stream.codec_context is not None]
        self._stream = best_video([stream for stream in likely if not stream.disposition & PICTURES])
        self.stream: int | None = None
        self.frames: list[av.VideoFrame] = []
        if self._stream is not None:
            self.stream, self._time_base = self._stream.index, Fraction(self._stream.time_base or 1)
            self._stream.codec_context.thread_count = 1  # two frames are sooner there

    def look(self, packet: av.Packet[AvStream]) -> None:
        """The file's next packet."""
        if len(self.frames) < 2 and packet.stream_index == self.stream:
            self._decode(packet)

    def end(self) -> None:
        """Note that there are no more packets."""
        if self.stream is not None and len(self.frames) < 2:
            self._decode(None)

    def origin(self, rate: Fraction) -> Fraction:
        """The time of the first frame, as in `timed_frames`."""
        first, *later = [None if frame.pts is None else frame.pts * self._time_base for frame in self.frames]
        if first is None:
            return Fraction(0)
        return later[0] - 1 / rate if later and later[0] is not None and later[0] <= first else first

    def _decode(self, packet: av.Packet[AvStream] | None) -> None:
        assert self._stream is not None
        try:
            self.frames += self._stream.decode(packet)
        except (av.FFmpegError, ValueError, OSError):
            return


def _first(path: Path, own: Streams, rate: Fraction, clock: Clock) -> tuple[av.VideoFrame, Fraction]:
    """The first frame that decodes, and its time on the clock.

    Raises:
        MediaError: no frame decodes.
    """
    with opened(path) as container:
        stream = container.streams[own.video]
        assert isinstance(stream, av.VideoStream)
        found = next(timed_frames(container, stream, clock, rate, Decoded()), None)
        if found is None:
            raise nothing_decoded(path)
        return found
