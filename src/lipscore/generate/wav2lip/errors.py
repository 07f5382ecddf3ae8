"""The reasons why a video cannot be generated."""

from __future__ import annotations

from typing import Literal

from lipscore.errors import LipscoreError

Reason = Literal[
    "no_face",
    "no_audio",
    "audio_too_short",
    "nan_audio",
    "too_few_frames",
    "bad_box",
]


class NotGeneratedError(LipscoreError):
    """An output cannot be made because of its input; the message names the file and says what to do.

    Args:
        reason: one of Reason, as in the records.
        message: what is wrong, and what to do.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
