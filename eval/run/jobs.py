"""What a run does: a job per video or piece of one, and what all jobs share."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipscore.types import MediaInfo, VideoScore


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a video that is scored on its own: from start for seconds, both at frames; info: of the whole file."""

    info: MediaInfo
    start: Fraction
    seconds: Fraction


@dataclass(frozen=True, slots=True)
class Job:
    """A video to score.

    reference: what PSNR and SSIM are taken against; boxes: the file with its face boxes; problem: why there is nothing
    to read at path, else empty; piece: the part of it to score, None for all of it.
    """

    path: Path
    name: str
    reference: Path | None = None
    boxes: Path | None = None
    problem: str = ""
    piece: Piece | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What all videos of a run share.

    blank: a record with the run's protocol and model, for a video that never got as far as its own; settings: hash of
    all that decides the numbers but the video's own files; scores_path: the scores file.
    """

    blank: VideoScore
    settings: str
    scores_path: Path
    resume: bool = True
