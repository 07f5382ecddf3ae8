"""The reasons why a video has no score, and notes about scores: what was measured, and which option changes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipscore.errors import NotScoredError
from lipscore.faces.scan import Faces
from lipscore.syncnet.motion import is_still
from lipscore.syncnet.protocols import Protocol
from lipscore.syncnet.tracks import Tracking
from lipscore.syncnet.window import N_FRAMES, SAMPLE_RATE
from lipscore.types import Shot, TrackScore

MIN_FRAMES = N_FRAMES + 1  # the fewest frames that give a window


def check_length(shots: Sequence[Shot], protocol: Protocol) -> None:
    """Raise NotScoredError if no shot is long enough for a track; called before face detection."""
    longest = max((shot.end - shot.start for shot in shots), default=0)
    if longest > protocol.min_track:
        return
    what = f"{longest} frames" if len(shots) == 1 else f"{len(shots)} shots, the longest of {longest} frames"
    advice = f": --min-track {_shorter(longest)}" if longest > 2 * MIN_FRAMES else ""
    status = "too_short" if len(shots) == 1 else "no_track"
    raise NotScoredError(status, f"{what}; this protocol needs more than {protocol.min_track}{advice}")


def no_track(faces: Faces, tracking: Tracking, protocol: Protocol) -> NotScoredError:
    """The error for a video whose boxes form no track."""
    with_face = [frame for frame in faces.boxes if frame]
    if not with_face:
        return NotScoredError("no_face", f"no face in any of {len(faces.boxes)} frames ({faces.looked_at} looked at)")
    sizes = [max(box[2] - box[0], box[3] - box[1]) for frame in with_face for box in (frame[0].box_xyxy,)]
    seen = f"a face in {len(with_face)} of {len(faces.boxes)} frames, {np.mean(sizes):.0f} px on average"
    if tracking.longest > protocol.min_track:
        size = tracking.largest_px
        return NotScoredError(
            "no_track",
            f"{seen}; tracks need more than {protocol.min_face_size} px: --min-face-size {max(0, int(size) - 1)}",
        )
    return NotScoredError(
        "no_track",
        f"{seen}, {tracking.longest} in a row; tracks need more than {protocol.min_track} detections: "
        f"--min-track {_shorter(tracking.longest)}",
    )


def too_few_windows(n_samples: int, protocol: Protocol) -> NotScoredError:
    """The error for audio that is too short for a window."""
    return NotScoredError(
        "too_short",
        f"{n_samples / SAMPLE_RATE:.2f} s of audio during the video; "
        f"scoring needs at least {MIN_FRAMES} frames ({MIN_FRAMES / protocol.frame_rate:.2f} s)",
    )


def edge_notes(tracks: Sequence[TrackScore]) -> tuple[str, ...]:
    """A note if a track's best shift is the first or the last of the range."""
    edges = sorted({track.offset for track in tracks if track.n_windows and abs(track.offset) == len(track.curve) // 2})
    if not edges:
        return ()
    found = ", ".join(f"{offset:+d}" for offset in edges)
    wider = 2 * max(map(abs, edges))
    return (
        f"the best shift, {found} frames, lies at the edge of the range; the true one may lie beyond it: try "
        f"--vshift {wider}",
    )


def still_notes(tracks: Sequence[TrackScore], estimated: bool) -> tuple[str, ...]:
    """A note if a track's mouth does not move.

    Args:
        estimated: whether the model only estimates the scores; such tracks then get the scores of unrelated lips.
    """
    still = [track for track in tracks if track.n_windows and is_still(track.mouth_motion)]
    if not still:
        return ()
    which = "" if len(still) == len(tracks) else f" in track {', '.join(str(track.track_id) for track in still)}"
    scores = "LSE-D and LSE-C are those of unrelated lips" if estimated else "LSE-D and LSE-C measure no lip sync"
    return (f"no speech-like motion{which}: the mouth does not move; {scores}, and the offset means nothing",)


def _shorter(longest: int) -> int:
    """A suggested min_track that allows for frames without a face: 50, as in other forks, or half of a short video."""
    return 50 if longest > 60 else longest // 2
