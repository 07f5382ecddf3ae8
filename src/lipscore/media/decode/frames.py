"""Decode every frame of a file, with its time on the file's clock, upright and in square pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from lipscore.errors import MediaError
from lipscore.media import limits
from lipscore.media.container.packets import AvStream, opened, read_packets
from lipscore.types import Clock, Frame, MediaInfo

Matrix = tuple[int, int, int, int]
IDENTITY: Matrix = (1 << 16, 0, 0, 1 << 16)
MAX_SAR = 8  # a larger ratio of the sides is no plausible pixel
LONGEST = 1.0  # seconds that the last frame is shown, at most, if its rate does not say more
THREADS = max(2, min(16, len(os.sched_getaffinity(0)) + 1))  # libavcodec's own choice; never 1: see decoded_frames


@dataclass(slots=True)
class Decoded:
    """Counts of one pass over a file's frames.

    n_packets: the number of packets to be shown that were read, within `window` (seconds) if one is given. end: the end
    of the last frame, in seconds from the first. complete: whether the pass reached the end of the file.
    """

    n_frames: int = 0
    n_packets: int = 0
    n_errors: int = 0
    n_corrupt: int = 0
    interlaced: bool = False
    end: Fraction = Fraction(0)
    complete: bool = False
    window: tuple[Fraction, Fraction] | None = field(default=None)


def decoded_frames(
    container: av.container.InputContainer, stream: AvStream, clock: Clock, counts: Decoded
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """A stream's frames, in the decoder's order; damaged parts are lost, and decoding continues after them.

    The packets' timestamps are converted to the clock before they are decoded. The number of threads is never 1: with
    one thread, a decoder treats a damaged end differently than with several; between two and sixteen, it does not.
    """
    stream.codec_context.thread_type = "AUTO"
    stream.codec_context.thread_count = THREADS
    time_base = Fraction(stream.time_base or 1)
    joints = [(number, round(added / time_base)) for index, number, added in clock.joints if index == stream.index]
    added = 0
    for number, packet in enumerate(read_packets(container, [stream])):
        while joints and joints[0][0] <= number:
            added = joints.pop(0)[1]
        if added:
            packet.pts = None if packet.pts is None else packet.pts + added
            packet.dts = None if packet.dts is None else packet.dts + added
        if not packet.is_discard and _within(packet, time_base, clock, counts):
            counts.n_packets += 1
        yield from _decode(stream, packet, counts)
    yield from _decode(stream, None, counts)


def _within(packet: av.Packet[AvStream], time_base: Fraction, clock: Clock, counts: Decoded) -> bool:
    if counts.window is None:
        return True
    time = packet.dts if clock.by_order or packet.pts is None else packet.pts
    return time is not None and counts.window[0] <= time * time_base - clock.origin < counts.window[1]


def _decode(
    stream: AvStream, packet: av.Packet[AvStream] | None, counts: Decoded
) -> Sequence[av.VideoFrame | av.AudioFrame]:
    try:
        frames = stream.decode(packet)
    except (av.FFmpegError, ValueError, OSError):
        counts.n_errors += 1
        return ()
    return frames


def timed_frames(
    container: av.container.InputContainer, stream: av.VideoStream, clock: Clock, rate: Fraction, counts: Decoded
) -> Iterator[tuple[av.VideoFrame, Fraction]]:
    """Every frame that decodes, in the decoder's order, with its time in seconds; the times only grow.

    A frame without a usable time gets one by the frame rate. A single frame with a later time than the next one is
    placed between its neighbours.
    """
    time_base = Fraction(stream.time_base or 1)
    step = 1 / rate
    pending: tuple[av.VideoFrame, Fraction] | None = None
    last: Fraction | None = None
    first_order: int | None = None
    for frame in decoded_frames(container, stream, clock, counts):
        assert isinstance(frame, av.VideoFrame)
        limits.check_size(frame.width, frame.height)
        counts.n_frames += 1
        counts.n_corrupt += frame.is_corrupt
        counts.interlaced |= frame.interlaced_frame
        stamp = frame.pts
        if clock.by_order:
            first_order = frame.dts if first_order is None else first_order
            stamp = None if frame.dts is None or first_order is None else frame.dts - first_order
        time = stamp * time_base if stamp is not None else None
        if clock.by_order and time is not None:
            time += clock.origin
        if pending is not None:
            previous = pending[1]
            if time is None or time <= previous:
                if time is not None and last is not None and last < time:
                    previous = (last + time) / 2
                else:
                    time = previous + step
            yield pending[0], previous
            last = previous
        pending = frame, clock.origin if time is None else time
    if pending is not None:
        yield pending


def display_matrix(frame: av.VideoFrame) -> Matrix:
    """(a, b, c, d) of the frame's display matrix in 16.16: (x, y) is shown at (a x + c y, b x + d y).

    The format is that of libavutil/display.h; the result is the identity if the frame has no matrix.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return IDENTITY
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32, 9).tolist()
    return a, b, c, d


def turned(frame: av.VideoFrame) -> bool:
    """Whether the display matrix exchanges width and height."""
    a, b, c, d = display_matrix(frame)
    return abs(b) + abs(c) > abs(a) + abs(d)


def sane_sar(sar: Fraction | None) -> Fraction:
    """A pixel's width / height; 1 if it is unknown or implausible."""
    return Fraction(sar) if sar and Fraction(1, MAX_SAR) <= sar <= MAX_SAR else Fraction(1)


def square_size(width: int, height: int, sar: Fraction) -> tuple[int, int]:
    """The size in square pixels; the side that is too short grows, so that no pixel is lost."""
    return (round(width * sar), height) if sar >= 1 else (width, round(height / sar))


class Matrices:
    """The display matrices of a stream's frames; read again only if a frame's rotation changes.

    Reading every frame's matrix would keep all frames in memory: PyAV's side data and its frame refer to each other
    until the garbage collector runs.
    """

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._matrix = IDENTITY

    def __call__(self, frame: av.VideoFrame) -> Matrix:
        """The frame's matrix; see display_matrix."""
        if frame.rotation != self._rotation:
            self._rotation, self._matrix = frame.rotation, display_matrix(frame)
        return self._matrix


class Painter:
    """Makes images of decoded frames: uint8[H, W, 3] BGR, upright, all of the first one's size."""

    def __init__(self, sar: Fraction) -> None:
        """sar: width / height of the stored pixels; 1 leaves their shape unchanged."""
        self._sar = sar
        self._size: tuple[int, int] | None = None
        self._matrix = Matrices()

    def __call__(self, frame: av.VideoFrame) -> Frame:
        """The image; one of another size is scaled to the first one's, as FFmpeg does (bicubic)."""
        if self._size is None:
            self._size = square_size(frame.width, frame.height, self._sar)
        if self._size == (frame.width, frame.height):
            image = frame.to_ndarray(format="bgr24")
        else:
            image = frame.to_ndarray(format="bgr24", width=self._size[0], height=self._size[1], interpolation="BICUBIC")
        return upright(image.astype(np.uint8, copy=False), self._matrix(frame))


def upright(image: Frame, matrix: Matrix) -> Frame:
    """The image after its display matrix: turned and mirrored, at any angle."""
    a, b, c, d = matrix
    if matrix == IDENTITY or not any(matrix):
        return image
    if abs(b) + abs(c) < (abs(a) + abs(d)) / 50:
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
    if abs(a) + abs(d) < (abs(b) + abs(c)) / 50:
        return np.ascontiguousarray(image.transpose(1, 0, 2)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1])
    height, width = image.shape[:2]
    turn = np.array([[a, c], [b, d]], np.float64)
    turn /= np.sqrt(abs(np.linalg.det(turn)) or 1)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    whole = np.hstack([turn, (centre - turn @ centre)[:, None]])
    return cv2.warpAffine(image, whole, (width, height))  # type: ignore[return-value]


def read_frames(info: MediaInfo, fps: Fraction | int | None, square: bool, counts: Decoded) -> Iterator[Frame]:
    """Decode once and resample by timestamps: see lipscore.media.read.frames_at."""
    paint = Painter(info.sar if square else Fraction(1))
    previous: av.VideoFrame | None = None
    previous_t = Fraction(0)
    k = 0
    with opened(info.path) as container:
        stream = container.streams[info.own.video]
        assert isinstance(stream, av.VideoStream)
        time_base = Fraction(stream.time_base or 1)
        for frame, time in timed_frames(container, stream, info.clock, info.fps, counts):
            t = time - info.clock.origin
            counts.end = t + _lasting(frame, time_base, info.fps)
            if fps is None:
                yield paint(frame)
                continue
            if previous is not None:
                image: Frame | None = None
                while Fraction(k) / fps - previous_t <= t - Fraction(k) / fps:
                    image = paint(previous) if image is None else image
                    yield image
                    k += 1
            previous, previous_t = frame, t
        if fps is not None and previous is not None:
            image = paint(previous)
            while k == 0 or Fraction(k) / fps < counts.end:
                yield image
                k += 1
    counts.complete = True
    if not counts.n_frames:
        raise nothing_decoded(info.path)


def count_frames(info: MediaInfo) -> Decoded:
    """The counts of a file's frames that decode, without making images of them."""
    counts = Decoded()
    with opened(info.path) as container:
        stream = container.streams[info.own.video]
        assert isinstance(stream, av.VideoStream)
        time_base = Fraction(stream.time_base or 1)
        for frame, time in limits.watched(timed_frames(container, stream, info.clock, info.fps, counts)):
            counts.end = time - info.clock.origin + _lasting(frame, time_base, info.fps)
    counts.complete = True
    return counts


def nothing_decoded(path: Path) -> MediaError:
    """The error for a file without a frame."""
    return MediaError(f"{path}: no frame can be decoded; is the file incomplete?")


def _lasting(frame: av.VideoFrame, time_base: Fraction, rate: Fraction) -> Fraction:
    """The time for which a frame is shown, in seconds."""
    step = 1 / rate
    if not frame.duration:
        return step
    return min(frame.duration * time_base, max(step, Fraction(LONGEST)))
