"""The errors that lipscore raises on purpose, each with the exit status of the command line.

A message names the file or option, what is wrong with it, and what to do. A video that cannot be scored does not fail
the run: it becomes a record with a status and a reason (`lipscore.types.VideoScore`).
"""

from __future__ import annotations

from typing import ClassVar, Self


class LipscoreError(Exception):
    """The base class of all errors that lipscore raises on purpose; str(error) is the whole message for the user."""

    exit_status: ClassVar[int] = 1
    flagged: str = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.flagged = message

    @classmethod
    def about(cls, argument: str, value: object, problem: str) -> Self:
        """The error for one argument's value.

        str(error) names the argument, for callers in Python; `flagged` names the command line's flag.
        """
        error = cls(f"{argument} = {value}: {problem}")
        error.flagged = f"--{argument.replace('_', '-')} {value}: {problem}"
        return error


class UsageError(LipscoreError):
    """The options contradict each other, or a value is out of range."""

    exit_status: ClassVar[int] = 2


class MissingError(LipscoreError):
    """Something needed is missing: weights, a readable folder, a writable output, FFmpeg."""

    exit_status: ClassVar[int] = 3


class DeviceError(MissingError):
    """The GPU failed, or has too little memory for a single item, so no video of the run can be scored."""


class WeightsError(MissingError):
    """A weight file is absent, cannot be fetched, or is not the published one."""


class MediaError(LipscoreError):
    """One video or audio file cannot be read or written; the message names the file and quotes FFmpeg."""


class NotScoredError(LipscoreError):
    """One video can be read but not scored.

    Args:
        status: one of `lipscore.types.Status` except "ok".
        reason: what was measured and which option would change it.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
