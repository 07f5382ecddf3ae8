"""Named limits for the offset between audio and video, and an offset in words.

Every limit is asymmetric: people are used to late sound, because sound from a distance comes late, but not to early
sound. Offsets are in milliseconds, positive if the audio comes before the video.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standard:
    """early, late: the milliseconds by which the audio may come before and after the video, limits included."""

    name: str
    title: str
    early: float
    late: float

    def within(self, offset_ms: float) -> bool:
        """Whether an offset is inside the limits."""
        return -self.late <= offset_ms <= self.early


STANDARDS: Mapping[str, Standard] = {
    standard.name: standard
    for standard in (
        # Rec. ITU-R BT.1359-1 (1998), annex 1: thresholds of detectability and of acceptability
        Standard("itu-detectable", "ITU-R BT.1359-1, detectable", 45, 125),
        Standard("itu-acceptable", "ITU-R BT.1359-1, acceptable", 90, 185),
        # EBU Recommendation R37 (2007): a programme, end to end
        Standard("ebu-r37", "EBU R37", 40, 60),
        # ATSC Implementation Subcommittee finding IS-191 (2003): the encoder's input
        Standard("atsc-is191", "ATSC IS-191", 15, 45),
    )
}


def words(offset_ms: float) -> str:
    """An offset in words.

    >>> words(119.6), words(-40.2), words(0.3)
    ('audio early by 120 ms', 'audio late by 40 ms', 'audio and video together')
    """
    rounded = round(offset_ms)
    if rounded == 0:
        return "audio and video together"
    return f"audio {'early' if rounded > 0 else 'late'} by {abs(rounded)} ms"


def verdicts(offset_ms: float) -> dict[str, bool]:
    """Name of each standard -> whether the offset is within its limits."""
    return {name: standard.within(offset_ms) for name, standard in STANDARDS.items()}
