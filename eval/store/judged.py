"""Which numbers of a scored video mean something: offsets of silence and of still mouths are chance."""

from __future__ import annotations

from lipscore.media import notes
from lipscore.media.rates import FRAME_RATE
from lipscore.metrics.reduce import most_confident
from lipscore.syncnet.motion import is_still
from lipscore.types import VideoScore


def no_offset(score: VideoScore) -> str:
    """Why a scored video's offset means nothing; empty if it means something."""
    if score.silent:
        return "no audible speech"
    if score.tracks and is_still(most_confident(score.tracks).mouth_motion):
        return "no speech-like motion: the mouth does not move"
    # without a detector, the file itself is the crop
    if score.detector == "none" and notes.other_rate(score.fps or FRAME_RATE, score.duration_s or 0.0):
        return f"its {score.fps:.5g} frames a second were taken for {FRAME_RATE}"
    return ""
