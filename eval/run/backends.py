"""Where a run's videos are scored: on threads of this process (`threads`), or on a cluster (`cluster`).

A backend takes the jobs and gives results; the run alone writes. `Made` is what the records of all its workers share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from lipscore.eval.setup import Setup
from lipscore.eval.store.signature import Signature
from lipscore.types import VideoScore

B = TypeVar("B")


class Backend(Protocol[B]):
    """Works through a run's jobs, several at a time."""

    def results(self) -> Iterator[tuple[int, B]]:
        """Yield (the job's index, its result) in the order of completion.

        Raises:
            LipscoreError: something that every video needs is missing.
        """

    def stop(self) -> list[tuple[int, B]]:
        """Take no more jobs, break off the running ones, and return all results that were not lost."""


@dataclass(frozen=True, slots=True)
class Made:
    """What scores are made with, as records and run.json say it; picklable.

    blank: a record without numbers; settings, record and signature: those of `Setup`; note: for the user.
    """

    blank: VideoScore
    settings: str
    record: dict[str, Any]
    signature: Signature
    note: str = ""

    @classmethod
    def of(cls, setup: Setup) -> Made:
        """What this setup makes."""
        return cls(setup.blank(), setup.settings(), setup.as_record(), setup.signature, setup.models.note)
