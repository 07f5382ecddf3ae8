"""Choose the video stream and the audio stream of a file, once for all programs that read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import av

from lipscore.errors import MediaError
from lipscore.media.container.packets import AvStream, Line
from lipscore.types import Streams

Disposition = av.stream.Disposition
PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# FFmpeg 7.0 fftools/ffmpeg_mux_init.c, map_auto_video and map_auto_audio
DEFAULT_BONUS, PACKETS_BONUS = 5_000_000, 100_000_000


class NoVideoError(MediaError):
    """The file has no video stream; its sound may still be used."""


def choose(path: Path, container: av.container.InputContainer, lines: Mapping[int, Line]) -> tuple[Streams, Streams]:
    """(the streams that lipscore reads, the streams that the FFmpeg calls of the published protocols read).

    lipscore's video stream is a video, not a cover or a thumbnail: default streams come first, then larger ones. Its
    audio stream is the first default one, else the first. FFmpeg takes the largest picture and the most channels,
    default streams first. Streams without a decoder are ignored.

    Raises:
        MediaError: there is no video stream, or none with a decoder.
    """
    videos = [stream for stream in container.streams.video if not _is_picture(stream, container, lines)]
    if not videos:
        what = "only a cover picture" if container.streams.video else "no video stream"
        raise NoVideoError(f"{path}: has {what}; give a video file")
    readable = [stream for stream in videos if stream.codec_context is not None]
    if not readable:
        raise MediaError(f"{path}: no decoder for its video ({_names(path, videos)}); convert it to H.264")
    sounds = list(container.streams.audio)
    heard = [stream for stream in sounds if stream.codec_context is not None]
    video = best_video(readable)
    assert video is not None
    audio = first_default(heard)
    their_video = max(readable, key=lambda stream: _ffmpeg_rank(stream, _area(stream), lines))
    their_audio = _their_audio(heard, lines)
    seen, unread = _seen(video, readable), _unread(path, videos, sounds)
    their_seen = _seen(their_video, readable)
    return (
        Streams(video.index, audio.index if audio else None, seen, _heard(audio, heard), unread),
        Streams(
            their_video.index,
            their_audio.index if their_audio else None,
            their_seen,
            _heard(their_audio, heard),
            unread,
        ),
    )


def choose_sound(
    path: Path, container: av.container.InputContainer, lines: Mapping[int, Line]
) -> tuple[Streams, Streams]:
    """`choose` for a file of which only the sound is used; `video` is then the audio stream, too."""
    sounds = list(container.streams.audio)
    heard = [stream for stream in sounds if stream.codec_context is not None]
    own, theirs = first_default(heard), _their_audio(heard, lines)
    unread = _unread(path, sounds)
    if own is None or theirs is None:
        return Streams(unread=unread), Streams(unread=unread)
    return (
        Streams(own.index, own.index, heard=_heard(own, heard), unread=unread),
        Streams(theirs.index, theirs.index, heard=_heard(theirs, heard), unread=unread),
    )


def best_video(streams: Sequence[av.VideoStream]) -> av.VideoStream | None:
    """The largest default stream, else the largest; None if there are no streams."""
    return max(streams, key=lambda one: (bool(one.disposition & Disposition.default), _area(one)), default=None)


def first_default(streams: Sequence[av.AudioStream]) -> av.AudioStream | None:
    """The first default stream, else the first; None if there are no streams."""
    return max(streams, key=lambda stream: bool(stream.disposition & Disposition.default), default=None)


def unreadable(path: Path, container: av.container.InputContainer) -> list[tuple[int, str]]:
    """(index, name for a message) of the video and audio streams without a decoder."""
    streams: list[AvStream] = [*container.streams.video, *container.streams.audio]
    return [
        (stream.index, f"stream {stream.index} ({stream.type}, {_tag(path, stream)})")
        for stream in streams
        if stream.codec_context is None
    ]


def _is_picture(stream: av.VideoStream, container: av.container.InputContainer, lines: Mapping[int, Line]) -> bool:
    """Whether the stream is a cover or thumbnails: it is marked as one, or is a single picture next to a video."""
    if stream.disposition & PICTURES:
        return True
    most = max(len(lines[other.index]) for other in container.streams.video)
    return len(lines[stream.index]) <= 1 < most


def _area(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _channels(stream: av.AudioStream) -> int:
    return stream.codec_context.layout.nb_channels


def _ffmpeg_rank(stream: AvStream, size: int, lines: Mapping[int, Line]) -> int:
    default = bool(stream.disposition & Disposition.default)
    return size + PACKETS_BONUS * (len(lines[stream.index]) > 0) + DEFAULT_BONUS * default


def _their_audio(streams: Sequence[av.AudioStream], lines: Mapping[int, Line]) -> av.AudioStream | None:
    return max(streams, key=lambda stream: _ffmpeg_rank(stream, _channels(stream), lines), default=None)


def _seen(video: av.VideoStream, videos: Sequence[av.VideoStream]) -> str:
    if len(videos) <= 1:
        return ""
    return f"{len(videos)} video streams: stream {video.index} was read ({_describe_video(video)})"


def _heard(audio: av.AudioStream | None, sounds: Sequence[av.AudioStream]) -> str:
    if audio is None or len(sounds) <= 1:
        return ""
    return f"{len(sounds)} audio streams: stream {audio.index} was read ({_describe_audio(audio)})"


def _describe_video(stream: av.VideoStream) -> str:
    return f"{stream.codec_context.name}, {stream.codec_context.width}x{stream.codec_context.height}"


def _describe_audio(stream: av.AudioStream) -> str:
    context = stream.codec_context
    words = [context.name, context.layout.name, f"{context.sample_rate} Hz"]
    if language := stream.metadata.get("language"):
        words.append(language)
    return ", ".join(words)


def _unread(path: Path, *kinds: Iterable[AvStream]) -> str:
    without = [stream for kind in kinds for stream in kind if stream.codec_context is None]
    return f"no decoder for {_names(path, without)}: ignored" if without else ""


def _names(path: Path, streams: Iterable[AvStream]) -> str:
    return ", ".join(f"{stream.type} stream {stream.index}: {_tag(path, stream)}" for stream in streams)


def _tag(path: Path, stream: AvStream) -> str:
    """The name of a codec that has no decoder: FFmpeg's, or the four characters in the container."""
    from lipscore.media.ffmpeg import stream_codecs

    return stream_codecs(path).get(stream.index, "unknown")
