"""The published weight files: names, sizes, SHA-256, licences and sources.

Sizes, SHA-256 and licence come from https://www.robots.ox.ac.uk/~vgg/software/lipsync/ and the files themselves. The
mirrors are those whose users recorded the same SHA-256. A file is identified by its hash, never by its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Published:
    """A weight file as its authors published it: size in bytes, urls in the order they are tried.

    note: what a user should know before fetching the file, in addition to the licence.
    """

    name: str
    title: str
    size: int
    sha256: str
    urls: tuple[str, ...]
    licence: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A weight file on this machine: its SHA-256, and whether that is the published one."""

    name: str
    path: Path
    sha256: str
    verified: bool

    @property
    def note(self) -> str:
        """The note for the user if it is not the published one, or empty."""
        taken = "weights not verified: --allow-unverified accepted files that are not the published ones"
        return "" if self.verified else taken


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


# YuNet comes in a package that lipscore depends on (`lipscore.faces.yunet`); SHA-256 of the file that OpenCV Zoo
# published.
YUNET = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


# What `lipscore generate` runs with. Sizes and SHA-256 as several independent public repositories record them.
WAV2LIP = "wav2lip.pth"
WAV2LIP_GAN = "wav2lip_gan.pth"
WAV2LIP_SD_GAN = "Wav2Lip-SD-GAN.pt"
S3FD_FA = "s3fd.pth"

_HUB = "https://huggingface.co"
_RELEASE = "https://github.com/justinjohn0306/Wav2Lip/releases/download/models"
_WAV2LIP_LICENCE = (
    "research, academic and personal use only, no commercial use: the training data's terms (LRS2, BBC) forbid it"
)
_UNSEEN = "size and SHA-256 as public repositories record them; lipscore's authors have not had the file"

# Files that are fetched only when they are named: `lipscore weights fetch NAME`.
ON_REQUEST: Mapping[str, Published] = {
    WAV2LIP_GAN: Published(
        name=WAV2LIP_GAN,
        title="Wav2Lip + GAN (Prajwal et al. 2020)",
        size=435_801_865,
        sha256="ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8",
        urls=(
            f"{_HUB}/camenduru/Wav2Lip/resolve/main/checkpoints/{WAV2LIP_GAN}",
            f"{_HUB}/numz/wav2lip_studio/resolve/main/Wav2lip/{WAV2LIP_GAN}",
            f"{_HUB}/Nekochu/Wav2Lip/resolve/main/{WAV2LIP_GAN}",
            f"{_RELEASE}/{WAV2LIP_GAN}",
        ),
        licence=_WAV2LIP_LICENCE,
        note=_UNSEEN,
    ),
    WAV2LIP: Published(
        name=WAV2LIP,
        title="Wav2Lip (Prajwal et al. 2020)",
        size=435_807_851,
        sha256="b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37",
        urls=(
            f"{_HUB}/rippertnt/wav2lip/resolve/main/checkpoints/{WAV2LIP}",
            f"{_HUB}/numz/wav2lip_studio/resolve/main/Wav2lip/{WAV2LIP}",
            f"{_RELEASE}/{WAV2LIP}",
        ),
        licence=_WAV2LIP_LICENCE,
        note=_UNSEEN,
    ),
    WAV2LIP_SD_GAN: Published(
        name=WAV2LIP_SD_GAN,
        title="Wav2Lip + GAN, the TorchScript file that its README links today",
        size=145_829_145,
        sha256="180cfd49d31d47f195d5bfc62830ffe2c40724b7bbbce6faadc73ac6ab1a3b8e",
        urls=(
            "https://drive.usercontent.google.com/download?id=15G3U08c8xsCkOqQxE38Z2XXDnPcOptNk&export=download&confirm=t",
        ),
        licence=_WAV2LIP_LICENCE,
        note=_UNSEEN,
    ),
    S3FD_FA: Published(
        name=S3FD_FA,
        title="S3FD as face_alignment and Wav2Lip use it (Zhang et al. 2017)",
        size=89_843_225,
        sha256="619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        urls=(
            "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
            f"{_HUB}/camenduru/Wav2Lip/resolve/main/face_detection/detection/sfd/{S3FD_FA}",
        ),
        licence="none stated; converted from the authors' Caffe model",
        note=_UNSEEN,
    ),
}
