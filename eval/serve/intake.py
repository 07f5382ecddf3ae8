"""Accept uploads: names are not trusted, and the bytes must be those of a video file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lipscore.errors import MissingError
from lipscore.eval.run.inputs.paths import collect
from lipscore.media.files.aside import unwritable

HEAD_BYTES = 1024
MAX_NAME = 200  # characters of a name that is shown
LISTED = 2000  # videos of the folder that are offered
TS_PACKET = 188  # bytes, ISO/IEC 13818-1
_RIFF, _EBML, _FLV, _OGG = b"RIFF", b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS"
_ASF = bytes.fromhex("3026b2758e66cf11")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


class RefusedError(Exception):
    """A refused request, with its HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def shown_name(given: str | None) -> str:
    """The name of an upload, for the page and the record only; it never becomes a path.

    Raises:
        RefusedError: the name contains a path.
    """
    name = (given or "").strip()
    if "/" in name or "\\" in name or name in (".", "..") or "\0" in name:
        raise RefusedError(400, "the file's name contains a path; send the bare name")
    name = "".join(one if one.isprintable() else "_" for one in name)
    return name[:MAX_NAME] or "video"


def container_of(head: bytes) -> str | None:
    """The suffix of the container whose signature these first bytes have; None if they are no known video container's.

    FFmpeg guesses the format, and may take a file for a playlist, which can name other files and addresses. Therefore
    only these containers are accepted: MP4 and QuickTime, Matroska and WebM, AVI, MPEG-TS and -PS, FLV, Ogg, ASF.
    """
    if head[4:8] in _BOXES:
        return ".mov" if head[8:12] == b"qt  " or head[4:8] != b"ftyp" else ".mp4"
    if head.startswith(_EBML):
        return ".webm" if b"webm" in head[:64] else ".mkv"
    if head.startswith(_RIFF) and head[8:12] == b"AVI ":
        return ".avi"
    if len(head) > TS_PACKET and head[0] == head[TS_PACKET] == 0x47:
        return ".ts"
    known = ((b"\x00\x00\x01\xba", ".mpg"), (_FLV, ".flv"), (_OGG, ".ogv"), (_ASF, ".wmv"))
    return next((suffix for signature, suffix in known if head.startswith(signature)), None)


@dataclass(frozen=True, slots=True)
class Taken:
    """A video that may be scored: its path, its name, and the suffix of its container."""

    path: Path
    name: str
    suffix: str


def take_upload(file: BinaryIO, name: str, folder: Path) -> Taken:
    """Write an upload into the job's folder, under a name that the server chooses.

    Raises:
        RefusedError: the upload is not a video container.
        MissingError: it cannot be written.
    """
    suffix = _checked(file.read(HEAD_BYTES), name)
    file.seek(0)
    path = folder / f"video{suffix}"
    try:
        with path.open("xb") as target:
            shutil.copyfileobj(file, target, 1 << 20)
    except OSError as error:
        raise unwritable(path, error) from error
    return Taken(path, name, suffix)


def take_below(root: Path, name: str) -> Taken:
    """The video that `videos_below` lists under this name.

    Raises:
        RefusedError: no video has this name, it leads out of the folder, or it is not a video container.
    """
    path = root / name if name in videos_below(root) else None
    if path is None or not path.resolve().is_relative_to(root.resolve()):
        raise RefusedError(404, "the folder has no video of this name")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise RefusedError(400, f"{name}: cannot be read ({error.strerror})") from error
    return Taken(path, PurePosixPath(name).name, _checked(head, name))


def videos_below(root: Path) -> list[str]:
    """The paths of the videos below the folder, relative to it; at most LISTED of them."""
    try:
        found = collect([root])
    except MissingError:
        return []
    return [video.path.relative_to(root).as_posix() for video in found if not video.problem][:LISTED]


def _checked(head: bytes, name: str) -> str:
    suffix = container_of(head)
    if suffix is None:
        raise RefusedError(400, f"{name}: is not a video file (MP4, MOV, MKV, WebM, AVI, MPEG, FLV, Ogg or WMV)")
    return suffix
