"""What a run does: a job per video or piece of one, and what all jobs share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from lipscore.eval.store.records import Record
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

    reference: what PSNR and SSIM are taken against; reference_folder: where it was looked for, None if nowhere; boxes:
    the file with the video's face boxes; problem: why there is nothing to read at path, else empty; piece: the part of
    the video to score, None for all of it.
    """

    path: Path
    name: str
    reference: Path | None = None
    reference_folder: Path | None = None
    boxes: Path | None = None
    problem: str = ""
    piece: Piece | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What all videos of a run share.

    blank: the template record for videos that fail before scoring starts; settings: hash of all that decides the
    numbers but the video's own files; scores_path: the scores file, None where the run writes none.
    """

    blank: VideoScore
    settings: str
    scores_path: Path | None = None
    resume: bool = True


class Progress(Protocol):
    """Who is told how far a run is; several threads call it."""

    def started(self, job: Job) -> None:
        """A video's scoring begins."""

    def stage(self, video: str, name: str) -> None:
        """A video has reached a stage."""

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """A video has its record, the done-th of total; resumed: from an earlier run."""

    def trouble(self, text: str) -> None:
        """Something the user must see that no record holds."""


class Reporter(Protocol):
    """Whom a run speaks to."""

    def say(self, text: str) -> None:
        """A line for the user."""

    def fetching(self, name: str, have: int, size: int) -> None:
        """Bytes of a weight file that have arrived."""

    def videos(self, total: int) -> AbstractContextManager[Progress]:
        """The progress over that many videos."""


class Silent:
    """A reporter and a progress that say nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def fetching(self, name: str, have: int, size: int) -> None:
        """Nothing."""

    def videos(self, total: int) -> Silent:  # noqa: ARG002
        """Itself."""
        return self

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, job: Job) -> None:
        """Nothing."""

    def stage(self, video: str, name: str) -> None:
        """Nothing."""

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """Nothing."""

    def trouble(self, text: str) -> None:
        """Nothing."""
