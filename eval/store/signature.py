"""The signature of a result: one line that names what decides its numbers, to paste into a paper and read back.

    lipscore:0.2.0|protocol:wav2lip@cb55f4db4907|model:vgg@961e8696f888|detector:s3fd@d54a87c2b754|ffmpeg:7.0.2-static|...

Two results are comparable if their signatures differ only in `n`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from lipscore.errors import UsageError

# What each key means, in the order of the line.
KEYS: dict[str, str] = {
    "lipscore": "the version of lipscore",
    "protocol": "the protocol, and the hash of its settings",
    "model": "the model that embeds lips and speech, and the SHA-256 of its weights (first 12 digits)",
    "detector": "the face detector, and the SHA-256 of its weights where it has any (first 12 digits)",
    "ffmpeg": "the FFmpeg build that decodes and encodes",
    "opencv": "the OpenCV build that scales and crops",
    "changed": "each setting that differs from the named protocol or from exact arithmetic",
    "audio": "whose sound was scored, where it was not the videos' own: given (other files'), or mixed",
    "psnr": "how PSNR and SSIM were measured: region, alignment, resizing",
    "n": "the number of videos scored, of how many",
}
HASH_DIGITS = 12
_SAFE = " @/.,;=()+-_"  # characters of values that are not escaped, in addition to letters and digits
_KEY = re.compile(r"[a-z0-9_]+")


def _quoted(value: str) -> str:
    """The value as it stands in the line; spaces at its ends are escaped, because a pasted line loses them."""
    return re.sub(r"^ +| +$", lambda spaces: "%20" * len(spaces[0]), quote(value, safe=_SAFE))


@dataclass(frozen=True, slots=True)
class Signature:
    """Keys and values in the order of the line; str() writes the line, `parse` reads it."""

    values: Mapping[str, str]

    def __str__(self) -> str:
        """The line."""
        return "|".join(f"{key}:{_quoted(value)}" for key, value in self.values.items())

    def with_n(self, scored: int, total: int) -> Signature:
        """The signature of a run that scored `scored` of `total` videos."""
        return Signature({**self.values, "n": f"{scored}/{total}"})

    @property
    def deciding(self) -> dict[str, str]:
        """The part that decides the numbers: every key except `n`."""
        return {key: value for key, value in self.values.items() if key != "n"}


def parse(text: str) -> Signature:
    """Read a signature from its line.

    Raises:
        UsageError: the text is not a signature; the message says what is wrong.
    """
    values: dict[str, str] = {}
    for part in text.strip().split("|"):
        key, colon, value = part.partition(":")
        if not colon or not _KEY.fullmatch(key):
            raise UsageError(f"signature: {part!r} is not KEY:VALUE; paste the whole line that lipscore printed")
        if key in values:
            raise UsageError(f"signature: {key} stands in it twice; paste one line that lipscore printed")
        values[key] = unquote(value)
    if next(iter(values)) != "lipscore":
        raise UsageError("signature: must begin with lipscore:VERSION; paste the whole line that lipscore printed")
    return Signature(values)


def difference(a: Signature, b: Signature) -> str:
    """The differences of two signatures except `n`: "protocol wav2lip@... and joonson@..."; empty if there are none."""
    left, right = a.deciding, b.deciding
    keys = [key for key in {**left, **right} if left.get(key) != right.get(key)]
    return ", ".join(f"{key} {left.get(key) or 'none'} and {right.get(key) or 'none'}" for key in keys)


def hashed(name: str, digest: str) -> str:
    """NAME@HASH, or the name alone if there is no hash.

    >>> hashed("vgg", "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442"), hashed("hog", "")
    ('vgg@961e8696f888', 'hog')
    """
    return f"{name}@{digest[:HASH_DIGITS]}" if digest else name
