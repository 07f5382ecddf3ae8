"""Cut a face track's 224x224 crops, and write and read the crop files of the published protocols.

Geometry and codec are those of joonson/syncnet_python run_pipeline.py (crop_video) and, for mp4v,
bytedance/LatentSync eval/syncnet_detect.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from lipscore.media import read, write
from lipscore.media.decode.passes import FrameSource
from lipscore.syncnet.protocols import CropAudio, CropCodec, Protocol
from lipscore.syncnet.window import SAMPLE_RATE
from lipscore.types import Frame, Track

SIZE = 224  # pixels, both ways
SMOOTHING = 13  # frames in the median filter over size and centre
PAD_GREY = 110  # the grey level outside the frame
CHUNK = 32  # crops per chunk: 4.8 MB


@dataclass(frozen=True, slots=True)
class CropPath:
    """The crop's position in each frame of a track: half the box size and the centre, float64[T] each, in pixels."""

    half: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @staticmethod
    def of(track: Track) -> CropPath:
        """A track's path, median-filtered over 13 frames, with zeros beyond both ends as in scipy.signal.medfilt."""
        x1, y1, x2, y2 = track.boxes_xyxy.T
        half = np.maximum(x2 - x1, y2 - y1) / 2
        smooth = (median_filter(s, SMOOTHING, mode="constant") for s in (half, (x1 + x2) / 2, (y1 + y2) / 2))
        return CropPath(*smooth)

    def cut(self, frame: Frame, index: int, crop_scale: float) -> Frame:
        """The crop uint8[224, 224, 3] of the track's frame `index`: rows from centre - half to centre + 1.8 half."""
        part = _window(frame, self.half[index], self.x[index], self.y[index], crop_scale)
        return cv2.resize(part, (SIZE, SIZE))  # type: ignore[return-value]


def _window(frame: Frame, half: float, x: float, y: float, crop_scale: float) -> Frame:
    """The window that the original cuts from a grey-padded frame, computed without padding the whole frame."""
    pad = int(half * (1 + 2 * crop_scale))
    x, y = x + pad, y + pad
    rows = slice(int(y - half), int(y + half * (1 + 2 * crop_scale)))
    columns = slice(int(x - half * (1 + crop_scale)), int(x + half * (1 + crop_scale)))
    height, width = frame.shape[:2]
    top, bottom, _ = rows.indices(height + 2 * pad)
    left, right, _ = columns.indices(width + 2 * pad)
    top, bottom, left, right = top - pad, bottom - pad, left - pad, right - pad
    if bottom <= top or right <= left:
        return np.full((1, 1, 3), PAD_GREY, np.uint8)
    inside = frame[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    beyond = (
        *(max(0, min(0, bottom) - top), max(0, bottom - max(height, top))),
        *(max(0, min(0, right) - left), max(0, right - max(width, left))),
    )
    if any(beyond):
        return cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_CONSTANT, value=(PAD_GREY,) * 3)  # type: ignore[return-value]
    return inside


def cut_tracks(
    source: FrameSource, tracks: Sequence[Track], crop_scale: float
) -> Iterator[tuple[int, NDArray[np.uint8], bool]]:
    """Cut all tracks in one pass over the video.

    Yields:
        (the track's index, its next crops uint8[n, 224, 224, 3], whether these are its last crops); tracks interleave.
    """
    paths = [CropPath.of(track) for track in tracks]
    pending: list[list[Frame]] = [[] for _ in tracks]
    end = max((track.last_frame for track in tracks), default=-1)
    for number, packed in enumerate(source.packed()):
        if number > end:
            return
        active = [k for k, track in enumerate(tracks) if track.first_frame <= number <= track.last_frame]
        if not active:
            continue
        frame = source.unpack(packed)
        for k in active:
            pending[k].append(paths[k].cut(frame, number - tracks[k].first_frame, crop_scale))
            last = number == tracks[k].last_frame
            if last or len(pending[k]) == CHUNK:
                yield k, np.stack(pending[k]), last
                pending[k].clear()


def track_pcm(pcm: NDArray[np.int16], track: Track, frame_rate: int) -> NDArray[np.int16]:
    """The track's samples, from the start of its first frame to the end of its last."""
    start = round(track.first_frame / frame_rate * SAMPLE_RATE)
    return pcm[start : round((track.last_frame + 1) / frame_rate * SAMPLE_RATE)]


@dataclass(frozen=True, slots=True)
class CropFormat:
    """A crop file's format: suffix, OpenCV's video codec code, and FFmpeg's audio codec ("copy" keeps PCM)."""

    suffix: str
    fourcc: str
    audio: str

    def name_of(self, track: int) -> str:
        """A track's file name, numbered like the original's."""
        return f"{track:05d}{self.suffix}"


CROP_FORMATS: dict[CropCodec, CropFormat] = {
    "xvid": CropFormat(".avi", "XVID", "copy"),
    "mp4v": CropFormat(".mp4", "mp4v", "aac"),
}


class CropFile:
    """Writes a track's crops to the protocol's crop file in `folder`, and reads them back."""

    def __init__(self, folder: Path, index: int, protocol: Protocol) -> None:
        self._protocol, self._format = protocol, CROP_FORMATS[protocol.crop_codec]
        self._video = folder / f"{index:05d}t{self._format.suffix}"
        self.path = folder / self._format.name_of(index)
        self._writer = write.open_writer(self._video, self._format.fourcc, protocol.frame_rate, (SIZE, SIZE))

    def write(self, crops: NDArray[np.uint8]) -> None:
        """Append crops uint8[n, 224, 224, 3] BGR."""
        for crop in crops:
            self._writer.write(crop)

    def finish(self, pcm: NDArray[np.int16]) -> None:
        """Mux the frames with their audio (int16[N] at 16 kHz) into `path`."""
        self._writer.release()
        write.mux_pcm(self._video, pcm, SAMPLE_RATE, self.path, self._format.audio)
        self._video.unlink()

    def pcm(self) -> NDArray[np.int16]:
        """The crop file's audio as SyncNet's script reads it: int16[N] at 16 kHz."""
        options = [*SYNC_OPTIONS[self._protocol.crop_audio], "-ac", "1", "-ar", str(SAMPLE_RATE)]
        return read.pcm_pipe(self.path, options)

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        """The frames uint8[n, 224, 224, 3] BGR as SyncNet's script reads them, as JPEGs of FFmpeg's default quality."""
        return chunked(read.decode_jpeg(data) for data in read.jpeg_pipe(self.path))


SYNC_OPTIONS: dict[CropAudio, tuple[str, ...]] = {
    "async": ("-async", "1"),
    "aresample": ("-af", "aresample=async=1"),
    "none": (),
}


def chunked(frames: Iterator[Frame]) -> Iterator[NDArray[np.uint8]]:
    """Stack frames, at most CHUNK at a time; frames of another size are resized to 224x224."""
    stack: list[Frame] = []
    for frame in frames:
        stack.append(frame if frame.shape[:2] == (SIZE, SIZE) else cv2.resize(frame, (SIZE, SIZE)))  # type: ignore[arg-type]
        if len(stack) == CHUNK:
            yield np.stack(stack)
            stack = []
    if stack:
        yield np.stack(stack)
