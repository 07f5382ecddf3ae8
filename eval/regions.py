"""The region for PSNR and SSIM: the whole frame, a face, or the face's lower half.

The face region is SyncNet's crop of the reference's face track. It is cut from both videos without resizing or padding:
parts outside the frame are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lipscore.media import read
from lipscore.pool import Pool
from lipscore.syncnet.protocols import PROTOCOLS
from lipscore.types import Detector, Frame, MediaInfo, Region, Track

# Shorter tracks and smaller faces than the protocols' suffice, because no SyncNet window has to fit.
_PROTOCOL = replace(PROTOCOLS["wav2lip"], min_track=12, min_face_size=32)


def face_tracks(
    video: Path | MediaInfo, pool: Pool, detector: Detector | None = None, *, square: bool = True
) -> tuple[Track, ...]:
    """The face tracks of a video at 25 fps.

    Args:
        detector: default: dlib's HOG detector, which needs no weight file.
        square: whether frames are read with square pixels, as `read.frames_at` takes it; boxes are in these pixels.

    Raises:
        MediaError: the video cannot be read.
    """
    from lipscore.faces.hog import HogDetector
    from lipscore.faces.scan import scan
    from lipscore.media.decode.passes import FrameSource, Remembered
    from lipscore.syncnet.shots import find_shots
    from lipscore.syncnet.tracks import find_tracks

    frames = FrameSource(
        Remembered(lambda: read.frames_at(video, _PROTOCOL.frame_rate, square=square)), lambda frame: frame
    )
    shots = find_shots(frames.packed(), _PROTOCOL.shot_threshold)
    faces = scan(frames, shots, detector or HogDetector(), pool)
    return find_tracks(faces.boxes, shots, _PROTOCOL).tracks


class Regions:
    """Cuts the region from frame i of both videos; if tracks overlap, the longest one is used.

    Args:
        tracks: the reference's face tracks; their frames count at track_fps.
        fps: the rate of the frames to cut.
    """

    def __init__(self, region: Region, tracks: Sequence[Track], track_fps: float, fps: float) -> None:
        self._region = region
        self._ratio = track_fps / fps
        self._faces: dict[int, tuple[float, float, float]] = {}
        if region == "frame":
            return
        from lipscore.syncnet.crops import CropPath

        for track in sorted(tracks, key=lambda track: -len(track.frames)):
            path = CropPath.of(track)
            for frame, *face in zip(track.frames.tolist(), path.half, path.x, path.y, strict=True):
                self._faces.setdefault(frame, (float(face[0]), float(face[1]), float(face[2])))

    def cut(self, index: int, generated: Frame, reference: Frame) -> tuple[Frame, Frame] | None:
        """The region of both frames, which have the same size; None if frame `index` has no face."""
        if self._region == "frame":
            return generated, reference
        face = self._faces.get(round(index * self._ratio))
        if face is None:
            return None
        half, x, y = face
        reach = half * (1 + _PROTOCOL.crop_scale)
        top, bottom = int(y - half), int(y + half * (1 + 2 * _PROTOCOL.crop_scale))
        if self._region == "mouth":
            top = (top + bottom) // 2
        rows = slice(max(0, top), max(0, bottom))
        columns = slice(max(0, int(x - reach)), max(0, int(x + reach)))
        return generated[rows, columns], reference[rows, columns]
