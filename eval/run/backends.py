"""Where a run's videos are scored: on threads of this process (`threads`), or on a cluster (`cluster`).

A backend takes jobs and returns results; only the run writes files. `Made` holds what the records of all workers share.
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
    """Works through a run's jobs, several at a time; B is the type of a result."""

    def results(self) -> Iterator[tuple[int, B]]:
        """Yield (the job's index, its result) in the order of completion.

        Raises:
            LipscoreError: something that every video needs is missing.
        """

    def stop(self) -> list[tuple[int, B]]:
        """Start no more jobs, stop the running ones, and return all results that are complete."""


@dataclass(frozen=True, slots=True)
class Made:
    """The setup behind a run's scores, as records and run.json describe it; picklable.

    blank: a record without numbers. settings, record, signature: those of `Setup`. note: a line for the user.
    """

    blank: VideoScore
    settings: str
    record: dict[str, Any]
    signature: Signature
    note: str = ""

    @classmethod
    def of(cls, setup: Setup) -> Made:
        """The description of this setup."""
        return cls(setup.blank(), setup.settings(), setup.as_record(), setup.signature, setup.models.note)
