"""Recognise videos by their first bytes, for files whose suffixes are unknown."""

from __future__ import annotations

from pathlib import Path

HEAD = 4096  # bytes looked at
TS_PACKET = 188  # bytes, ISO/IEC 13818-1; 192 with the four of a Blu-ray's or a camera's time code
AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ")
SIGNATURES = (
    b"\x1a\x45\xdf\xa3",  # EBML: Matroska, WebM
    b"FLV\x01",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1/2 video
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF's partition pack (SMPTE 377-1)
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF
    b".RMF",
    b"YUV4MPEG2 ",
    b"DKIF",  # IVF
    b"nut/multimedia container\x00",
)


PLAYLISTS = (b"ffconcat", b"#EXTM3U", b"<MPD", b"<CompositionPlaylist", b"# VobSub index", b"c=IN IP")


def is_playlist(path: Path) -> bool:
    """Whether a file that cannot be read as a video is a text that lists other files; only for the message."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return any(words in head for words in PLAYLISTS)


def looks_like_video(path: Path) -> bool:
    """Whether the file begins like a container of video; False if it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    if head.startswith(SIGNATURES):
        return True
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return head[8:12] not in AUDIO_BRANDS
    if head[:4] == b"RIFF":
        return head[8:11] == b"AVI"
    if head[:4] == b"OggS":
        return b"\x80theora" in head or b"\x01video" in head or b"BBCD" in head
    return any(_is_ts(head[start:], size) for start, size in ((0, TS_PACKET), (4, TS_PACKET + 4)))


def _is_ts(head: bytes, size: int) -> bool:
    """Whether MPEG-TS's sync byte stands at the start of every packet."""
    syncs = head[::size]
    return len(syncs) > 2 and syncs.count(0x47) == len(syncs)
