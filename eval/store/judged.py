"""Which numbers of a scored video can be judged: what silence or a mouth that does not move give is by chance."""

from __future__ import annotations

from lipscore.metrics.reduce import most_confident
from lipscore.syncnet.motion import is_still
from lipscore.types import VideoScore


def no_offset(score: VideoScore) -> str:
    """Why a scored video's offset means nothing; empty where it means something."""
    if score.silent:
        return "no audible speech"
    if score.tracks and is_still(most_confident(score.tracks).mouth_motion):
        return "no speech-like motion: the mouth does not move"
    return ""
