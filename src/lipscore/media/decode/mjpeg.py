"""Split a stream of JPEGs, as FFmpeg's image2pipe writes it, into images (ITU-T T.81, annex B: marker segments)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

BLOCK = 1 << 20  # bytes a read


def split_jpegs(pipe: IO[bytes]) -> Iterator[bytes]:
    """The complete JPEGs of a stream, in order; an incomplete one at its end is left out."""
    buffer = bytearray()
    scan_from = 0
    while True:
        if not scan_from and len(buffer) > 4:
            scan_from = _scan_start(buffer)
        end = buffer.find(b"\xff\xd9", scan_from) if scan_from else -1
        if end >= 0:
            yield bytes(buffer[: end + 2])
            del buffer[: end + 2]
            scan_from = 0
            continue
        tried = len(buffer)
        block = pipe.read(BLOCK)
        if not block:
            return
        buffer += block
        scan_from = max(scan_from, tried - 1) if scan_from else 0


def _scan_start(buffer: bytearray) -> int:
    """The start of the entropy-coded data of the JPEG at the buffer's start; 0 if its header is incomplete.

    Header segments are skipped by their lengths, because a quantisation table may contain the bytes of an end marker.
    """
    at = 2
    while at + 4 <= len(buffer):
        marker, length = buffer[at + 1], int.from_bytes(buffer[at + 2 : at + 4], "big")
        at += 2 + length
        if marker == 0xDA:
            return at if at <= len(buffer) else 0
    return 0
