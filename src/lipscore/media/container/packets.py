"""Read a file's packets, past damage, and what they say without being decoded."""

from __future__ import annotations

import stat
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError
from lipscore.media.container.sniff import is_playlist
from lipscore.media.ffmpeg import file_url, own_formats
from lipscore.types import Clock

RETRIES = 16  # readings that fail in a row before the rest of a file is given up
PREROLL = 2  # seconds
NO_TIME = -(1 << 63)
N_VOP = 8  # bytes: MPEG-4's placeholder for a frame that the packet before it held already is shorter

AvStream = av.VideoStream | av.AudioStream


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """A media file, open during the block.

    Raises:
        MediaError: the file does not exist, is not a regular file, or is not a media file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise MediaError(f"{path}: is not a regular file; give a video file")
        container = av.open(file_url(path), metadata_errors="replace", options={"format_whitelist": own_formats()})
    except (av.FFmpegError, OSError, ValueError) as error:
        if is_playlist(path):
            raise MediaError(f"{path}: is a list of other files; give the video file itself") from error
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path}: no readable media file ({reason}); is it complete, and a video?") from error
    try:
        yield container
    finally:
        container.close()


def read_packets(container: av.container.InputContainer, streams: Sequence[AvStream]) -> Iterator[av.Packet[AvStream]]:
    """The packets of these streams in the file's order; reading continues after unreadable parts if that is possible.

    Empty packets are left out, because a decoder takes them for the end.
    """
    failures = 0
    while failures < RETRIES:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    failures = 0
                    yield packet  # type: ignore[misc]
        except (av.FFmpegError, OSError):
            failures += 1
        except IndexError:  # PyAV: a packet of a stream that was not there when the file was opened
            continue
        else:
            return


def seek(container: av.container.InputContainer, stream: av.stream.Stream, clock: Clock, time: Fraction) -> bool:
    """Seek to PREROLL seconds before `time` (seconds after the first frame), so that decoders are ready at `time`.

    Returns:
        False if reading from the start is safer (the timestamps have breaks) or equally quick.
    """
    joined = any(number for _, number, _ in clock.joints)
    if time <= PREROLL or joined or (clock.by_order and stream.type == "video"):
        return False
    moved = sum((added for index, _, added in clock.joints if index == stream.index), Fraction(0))
    try:
        container.seek(int((time - PREROLL + clock.origin - moved) / Fraction(stream.time_base or 1)), stream=stream)
    except (av.FFmpegError, OSError):
        return False
    return True


@dataclass(slots=True)
class Line:
    """The packets of one stream in the file's order: times in units of time_base, or NO_TIME.

    n_shown: the number of packets to be shown (an edit list may leave out others).
    """

    time_base: Fraction
    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    duration: array[int] = field(default_factory=lambda: array("q"))
    shown: array[int] = field(default_factory=lambda: array("b"))

    def add(self, packet: av.Packet[AvStream], shown: bool) -> None:
        """The next packet."""
        self.pts.append(NO_TIME if packet.pts is None else packet.pts)
        self.dts.append(NO_TIME if packet.dts is None else packet.dts)
        self.duration.append(min(max(0, packet.duration or 0), 1 << 40))
        self.shown.append(shown)

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def n_shown(self) -> int:
        return sum(self.shown)

    @property
    def has_dts(self) -> bool:
        """Whether some packet has a decoding time (dts)."""
        return any(time != NO_TIME for time in self.dts)

    @property
    def coding_times(self) -> NDArray[np.int64]:
        """int64[n]: the dts, or the previous packet's time if a packet has none; the pts if no packet has a dts."""
        times = np.array(self.dts if self.has_dts else self.pts, np.int64)
        known = times != NO_TIME
        if not known.any():
            return np.zeros(len(times), np.int64)
        last_known = np.maximum.accumulate(np.where(known, np.arange(len(times)), np.argmax(known)))
        return np.asarray(times[last_known])

    @property
    def display_times(self) -> NDArray[np.int64]:
        """int64[n]: the pts, or the coding time if a packet has none."""
        pts = np.array(self.pts, np.int64)
        return np.asarray(np.where(pts == NO_TIME, self.coding_times, pts))

    @property
    def reordered(self) -> bool:
        """Whether the display times go back somewhere, as with B-frames."""
        pts = np.array(self.pts, np.int64)
        return bool((np.diff(pts[pts != NO_TIME]) < 0).any())


def scan(
    container: av.container.InputContainer, look: Callable[[av.Packet[AvStream]], object] | None = None
) -> dict[int, Line]:
    """The packets of every video and audio stream, by stream index; reads the file once, without decoding.

    Args:
        look: called with each packet.
    """
    streams: list[AvStream] = [*container.streams.video, *container.streams.audio]
    lines = {stream.index: Line(Fraction(stream.time_base or 1)) for stream in streams}
    codecs = {stream.index: stream.codec_context.name if stream.codec_context else "" for stream in streams}
    if streams:
        for packet in read_packets(container, streams):
            index = packet.stream_index
            lines[index].add(packet, not packet.is_discard and not _placeholder(packet, codecs[index]))
            if look is not None:
                look(packet)
    return lines


def _placeholder(packet: av.Packet[AvStream], codec: str) -> bool:
    """Whether the packet shows no frame: VP8's hidden frames (RFC 6386, 9.1), MPEG-4's N-VOPs in packed AVI."""
    if codec == "vp8":
        return not bytes(packet)[0] & 0x10
    return codec == "mpeg4" and packet.size < N_VOP
