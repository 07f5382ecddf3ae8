"""The code that runs on a node: the checks before scoring, and the worker that scores.

Nothing here imports Ray: the driver makes an actor of `Worker`.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import torch

import lipscore
from lipscore.errors import LipscoreError
from lipscore.eval.options import ModelOptions, ProtocolOptions, ReferenceOptions
from lipscore.eval.run.backends import Made
from lipscore.eval.run.batch import scorer_of
from lipscore.eval.run.jobs import Job, Silent, Task
from lipscore.eval.run.work import Done, Work
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop, Stopped
from lipscore.eval.store.records import Record
from lipscore.media import ffmpeg
from lipscore.media.limits import Limits
from lipscore.types import VideoScore, Whose


@dataclass(frozen=True, slots=True)
class Order:
    """The options that a worker scores with.

    folder: the driver's working folder, from which relative paths start. audio: whose sound is scored. pictures:
    whether the driver wants each video's pictures.
    """

    protocol: ProtocolOptions
    models: ModelOptions
    reference: ReferenceOptions
    folder: str
    limits: Limits = field(default_factory=Limits)
    audio: Whose = "own"
    pictures: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A LipscoreError that was raised on a node and ends the run."""

    kind: type[LipscoreError]
    message: str

    @classmethod
    def of(cls, error: LipscoreError) -> Failure:
        """The error, with this node's name."""
        return cls(type(error), f"node {host()}: {error}")

    def raised(self) -> LipscoreError:
        """The error for the driver to raise."""
        return self.kind(self.message)


@dataclass(frozen=True, slots=True)
class Reply:
    """A call's result: a finished job or a failure, messages for the user, and the video's pictures to keep."""

    done: Done | None = None
    failure: Failure | None = None
    troubles: tuple[str, ...] = ()
    pictures: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node's report about itself.

    name: the host. differs: what differs from the driver. missing: paths that do not exist on the node.
    """

    name: str
    differs: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def refusal(self) -> str:
        """The reason why the node cannot be used, or ""."""
        parts = [
            *self.differs,
            *(f"{path} does not exist there: put it on a file system that all nodes share" for path in self.missing),
        ]
        return "; ".join(parts)


def host() -> str:
    """The name of the machine."""
    return platform.node()


def versions() -> dict[str, str]:
    """The versions that decide numbers; builds of one torch version for CPU and CUDA count as one."""
    return {
        "lipscore": lipscore.__version__,
        "FFmpeg": ffmpeg.ffmpeg_version(),
        "OpenCV": cv2.__version__,
        "torch": torch.__version__.partition("+")[0],
    }


def examine(wanted: dict[str, str], paths: Sequence[str]) -> Node:
    """Compare this node with the driver.

    Args:
        wanted: the driver's `versions`.
        paths: files and folders that must exist.
    """
    try:
        have = versions()
    except LipscoreError as error:
        return Node(host(), (str(error),), ())
    differs = tuple(
        f"{name} {have[name]}, but the driver has {value}" for name, value in wanted.items() if have[name] != value
    )
    return Node(host(), differs, tuple(path for path in paths if not os.path.exists(path)))  # noqa: PTH110


class Held:
    """The keys of the run's records; the driver has the records themselves."""

    def __init__(self, blank: Record, keys: frozenset[str]) -> None:
        self._blank, self._keys = blank, keys

    @property
    def settings_held(self) -> set[str]:
        """The run's settings hash, if some record has it."""
        return {self._blank.settings} if self._keys else set()

    def held(self, key: str, about: tuple[str, str, str] = ("", "", "")) -> Record | None:  # noqa: ARG002
        """A placeholder record that has only the key."""
        return replace(self._blank, key=key) if key in self._keys else None


class Heard(Silent):
    """A reporter that keeps problems for the driver to show."""

    def __init__(self) -> None:
        self.troubles: list[str] = []

    def trouble(self, text: str) -> None:
        """Keep the text."""
        self.troubles.append(text)


class Worker:
    """Scores one video per call, with networks that are loaded once, from the node's own files.

    Two threads call it: one scores, the other asks it to stop.
    """

    def __init__(self, order: Order) -> None:
        self._order, self._stop, self._heard = order, Stop(), Heard()
        self._setup: Setup | None = None
        self._work: Work | None = None
        self._pictures: dict[str, Any] | None = None  # of the video that is being scored
        with suppress(OSError):  # where it is not there, no relative path is
            os.chdir(order.folder)

    def load(self) -> Made | Failure:
        """Load the networks; returns the setup behind the records."""
        order = self._order
        try:
            loaded = Setup.load(order.protocol, order.models, order.reference)
        except LipscoreError as error:
            return Failure.of(error)
        self._setup = replace(loaded, audio=order.audio)
        return Made.of(self._setup)

    def begin(self, made: Made, keys: frozenset[str]) -> str:
        """Prepare for the first video.

        Args:
            made: the setup behind the run's records.
            keys: the keys of the existing records.

        Returns:
            The reason why this worker cannot be used (it would make different records), or "".
        """
        if self._setup is None:
            loaded = self.load()
            if isinstance(loaded, Failure):
                return loaded.message
        assert self._setup is not None
        own = Made.of(self._setup)
        if own.settings != made.settings:
            return f"node {host()} would score differently: {_difference(own.record, made.record)}"
        task = Task(made.blank, made.settings)
        keep = self._keep if self._order.pictures else None
        score = scorer_of(self._setup, self._stop, self._heard.stage, keep=keep, limits=self._order.limits)
        self._work = Work(score, task, Held(Record(made.blank, made.settings), keys), self._heard)
        return ""

    def work(self, job: Job) -> Reply:
        """Score a video; after `stop`, no video is scored."""
        assert self._work is not None
        if self._stop:
            return Reply()
        local = [(job.path, job.url, ""), (job.audio, job.audio_url, f"its audio {job.audio} ")]
        for path, url, what in local:
            if not (job.problem or url or path is None or os.path.exists(path)):  # noqa: PTH110
                problem = f"{what}does not exist on node {host()}; put it on a file system that all nodes share"
                job = replace(job, problem=problem)
        try:
            done = self._work(job)
        except Stopped:
            return Reply()
        except LipscoreError as error:
            return Reply(failure=Failure.of(error))
        troubles, self._heard.troubles = tuple(self._heard.troubles), []
        pictures, self._pictures = self._pictures, None
        return Reply(done, troubles=troubles, pictures=pictures)

    def _keep(self, _: VideoScore, pictures: dict[str, Any]) -> None:
        self._pictures = pictures

    def stop(self) -> None:
        """Stop the video in progress."""
        self._stop.set()
        ffmpeg.stop_all()


def _difference(own: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    names = [name for name in own if name not in ("settings", "device") and own[name] != others.get(name)]
    return "; ".join(f"{name} {own[name]}, elsewhere {others.get(name)}" for name in names)
