"""The jobs of a run, one per video or piece, and the data that all jobs share."""

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
    """A part of a video that is scored on its own. start, seconds: at whole frames. info: of the whole file."""

    info: MediaInfo
    start: Fraction
    seconds: Fraction


@dataclass(frozen=True, slots=True)
class Job:
    """A video to score.

    folder: the input that contained it, as it was given, or its group in a manifest. reference: the reference video for
    PSNR and SSIM. reference_folder: the folder that was searched for it, or None. boxes: the file with the video's face
    boxes. audio: the file whose sound is scored instead of the video's own. problem: why the path cannot be read, or
    empty. piece: the part of the video to score; None for the whole video. url, reference_url, audio_url: the URLs of
    the three files, empty for local files; with a URL, path, reference and audio only give the name and the suffix.
    """

    path: Path
    name: str
    folder: str = ""
    reference: Path | None = None
    reference_folder: Path | None = None
    boxes: Path | None = None
    problem: str = ""
    piece: Piece | None = None
    url: str = ""
    reference_url: str = ""
    audio: Path | None = None
    audio_url: str = ""

    @property
    def where(self) -> str:
        """The video's URL or path, as records name it."""
        return self.url or str(self.path)


@dataclass(frozen=True, slots=True)
class Task:
    """The data that all videos of a run share.

    blank: template record for videos that fail before scoring starts; settings: hash of everything that decides the
    numbers except the video's own files; scores_path: the scores file, or None.
    """

    blank: VideoScore
    settings: str
    scores_path: Path | None = None
    resume: bool = True


class Progress(Protocol):
    """Receives the progress of a run; several threads may call it."""

    def started(self, job: Job) -> None:
        """A video's scoring begins."""

    def stage(self, video: str, name: str) -> None:
        """A video has reached a stage."""

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """A video has its record, the done-th of total; resumed: from an earlier run."""

    def trouble(self, text: str) -> None:
        """Text that the user must see and that no record holds, such as a traceback."""


class Reporter(Protocol):
    """Receives a run's messages for the user."""

    def say(self, text: str) -> None:
        """A line for the user."""

    def fetching(self, name: str, have: int, size: int) -> None:
        """`have` of the `size` bytes of a weight file have arrived."""

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
