"""Write a piece of a file as a lossless file, for long videos that are scored in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lipscore.errors import MediaError
from lipscore.media.container.packets import opened, seek
from lipscore.media.decode.frames import Decoded, Matrices, Matrix, timed_frames
from lipscore.media.decode.sound import placed
from lipscore.types import MediaInfo

TICKS = 90_000  # a second: the time base of the piece's frames
SOUND_BLOCK = 1 << 15  # samples in a packet


def write_piece(info: MediaInfo, target: Path, start: Fraction, seconds: Fraction) -> Decoded:
    """Write the frames and samples from `start` (seconds after the first frame) for `seconds`, as `edit.cut` describes.

    Raises:
        MediaError: the file cannot be read, or no frame lies in the piece.
    """
    half = 1 / info.fps / 2
    lead = Fraction(0)  # of both streams, so that a first frame that is timed a little early has no time below 0
    counts = Decoded(window=(start - half, start - half + seconds))
    with av.open(str(target), "w", format="matroska") as out:
        video: av.VideoStream | None = None
        upright: _Upright | None = None
        sound = None
        heard = info.heard
        if heard.own.audio is not None and heard.sample_rate is not None:
            sound = out.add_stream("pcm_s16le", rate=heard.sample_rate, layout=_layout(heard))
        for frame, time in _frames(info, start - half, counts):
            if time >= start - half + seconds:
                break
            counts.n_frames += 1
            counts.n_corrupt += frame.is_corrupt
            upright = upright or _Upright(frame)
            image = upright(frame)
            if video is None:
                video = out.add_stream("ffv1", rate=info.fps)
                video.width, video.height, video.pix_fmt = image.width, image.height, image.format.name
                video.codec_context.time_base = Fraction(1, TICKS)
                lead = max(lead, start - time)
                turned = image.width == frame.height and frame.width != frame.height
                video.sample_aspect_ratio = 1 / info.sar if turned else info.sar
            image.pts, image.time_base = round((time - start + lead) * TICKS), Fraction(1, TICKS)
            out.mux(video.encode(image))
        if video is None:
            raise MediaError(f"{info.path}: no frame can be decoded from {float(start):.2f} s on")
        out.mux(video.encode(None))
        if sound is not None:
            _write_sound(heard, out, sound, start, seconds, lead)
    return counts


def _frames(info: MediaInfo, first: Fraction, counts: Decoded) -> Iterator[tuple[av.VideoFrame, Fraction]]:
    """The frames from `first` seconds on, with their times after the file's first frame.

    They are found by seeking if the file's timestamps have no breaks. Otherwise, or if the seek lands too late, the
    file is read from its start.
    """
    for seeking in (True, False):
        with opened(info.path) as container:
            stream = container.streams[info.own.video]
            assert isinstance(stream, av.VideoStream)
            if seeking and not seek(container, stream, info.clock, first):
                continue
            landed = False
            fresh = Decoded(window=counts.window)
            for frame, t in timed_frames(container, stream, info.clock, info.fps, fresh):
                time = t - info.clock.origin
                if seeking and not landed and time > first:
                    break
                landed = True
                if time >= first:
                    counts.n_packets, counts.n_errors = fresh.n_packets, fresh.n_errors
                    counts.interlaced = fresh.interlaced
                    yield frame, time
            if landed or not seeking:
                return


class _Upright:
    """Turns frames by their display matrix without changing their pixel format; see `frames.upright`."""

    def __init__(self, like: av.VideoFrame) -> None:
        self._size, self._format = (like.width, like.height), like.format.name
        self._matrix = Matrices()
        self._graphs: dict[Matrix, av.filter.Graph] = {}

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame upright, of the first one's size and format."""
        matrix = self._matrix(frame)
        if (frame.width, frame.height) != self._size or frame.format.name != self._format:
            frame = frame.reformat(*self._size, format=self._format, interpolation="BICUBIC")
        names = _turns(matrix)
        if not names:
            return frame
        if matrix not in self._graphs:
            self._graphs[matrix] = _graph(frame, names)
        frame.pts = None
        self._graphs[matrix].push(frame)
        turned = self._graphs[matrix].pull()
        assert isinstance(turned, av.VideoFrame)
        return turned


def _turns(matrix: Matrix) -> list[tuple[str, str]]:
    """FFmpeg's filters for a display matrix of right angles."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        flips = [("hflip", "")] * (c < 0) + [("vflip", "")] * (b < 0)
        return [("transpose", "cclock_flip"), *flips]
    return [("hflip", "")] * (a < 0) + [("vflip", "")] * (d < 0)


def _graph(frame: av.VideoFrame, filters: list[tuple[str, str]]) -> av.filter.Graph:
    graph = av.filter.Graph()
    last = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, TICKS))
    for name, option in [*filters, ("buffersink", "")]:
        node = graph.add(name, option) if option else graph.add(name)
        last.link_to(node)
        last = node
    graph.configure()
    return graph


def _layout(info: MediaInfo) -> str:
    with opened(info.path) as container:
        stream = container.streams[info.own.audio or 0]
        assert isinstance(stream, av.AudioStream)
        return stream.codec_context.layout.name


def _write_sound(
    info: MediaInfo,
    out: av.container.OutputContainer,
    sound: av.AudioStream,
    start: Fraction,
    seconds: Fraction,
    lead: Fraction,
) -> None:
    assert info.sample_rate is not None
    rate = info.sample_rate
    left = round(seconds * rate)
    at = round(lead * rate)
    for block in placed(info, Decoded(), start):
        for part in np.split(block[:, :left], range(SOUND_BLOCK, block[:, :left].shape[1], SOUND_BLOCK), axis=1):
            if not part.shape[1]:
                continue
            packed = np.ascontiguousarray(part.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=sound.codec_context.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            out.mux(sound.encode(frame))
            at += part.shape[1]
            left -= part.shape[1]
        if left <= 0:
            break
    out.mux(sound.encode(None))
