"""The published weight files: names, sizes, SHA-256, licences and sources.

Sizes, SHA-256 and licence: https://www.robots.ox.ac.uk/~vgg/software/lipsync/ and the files themselves; the mirrors are
those whose users recorded the same SHA-256. The hash decides what a file is, never the place it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Published:
    """A weight file as its authors published it: size in bytes, urls in the order they are tried."""

    name: str
    title: str
    size: int
    sha256: str
    urls: tuple[str, ...]
    licence: str


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A weight file that is there: the SHA-256 that it has, and whether that is the published one."""

    name: str
    path: Path
    sha256: str
    verified: bool


def _sources(name: str) -> tuple[str, ...]:
    hub = "https://huggingface.co"
    return (
        f"https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/{name}",
        f"{hub}/ByteDance/LatentSync-1.6/resolve/main/auxiliary/{name}",
        f"{hub}/chunyu-li/LatentSync/resolve/main/auxiliary/{name}",
        f"{hub}/lithiumice/syncnet/resolve/345f55fc8d94d74437095b34158c68645e113c01/{name}",
    )


SYNCNET = "syncnet_v2.model"


S3FD = "sfd_face.pth"


_LICENCE = "Creative Commons Attribution, for research purposes (Visual Geometry Group, University of Oxford)"


PUBLISHED: Mapping[str, Published] = {
    SYNCNET: Published(
        name=SYNCNET,
        title="SyncNet v2 (Chung & Zisserman 2016)",
        size=54_573_114,
        sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        urls=_sources(SYNCNET),
        licence=_LICENCE,
    ),
    S3FD: Published(
        name=S3FD,
        title="S3FD face detector (Zhang et al. 2017)",
        size=89_844_381,
        sha256="d54a87c2b7543b64729c9a25eafd188da15fd3f6e02f0ecec76ae1b30d86c491",
        urls=_sources(S3FD),
        licence=_LICENCE,
    ),
}
