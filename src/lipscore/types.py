"""The frozen values that the stages pass to each other; they depend on numpy and the standard library only.

Colour order is BGR (OpenCV's). Boxes are x1, y1, x2, y2 in pixels of the source frame. Frame numbers start at 0 and
count at the protocol's frame rate. Intervals are half-open unless a name says `last`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # [H, W, 3], BGR
Floats = NDArray[np.float32]
Region = Literal["frame", "face", "mouth"]  # where PSNR and SSIM are measured
Method = Literal["timestamp", "index", "shift"]  # how generated and reference frames are paired
Resize = Literal["area", "bicubic"]  # how generated frames are brought to the reference's size
Whose = Literal["own", "given", "mixed"]  # sound: the videos', other files', or some of both
# "error": lipscore itself failed on the video; "worker_lost": its process on a cluster died, twice
Status = Literal[
    "ok",
    "no_face",
    "no_track",
    "too_short",
    "no_audio",
    "too_large",
    "timed_out",
    "media_error",
    "worker_lost",
    "error",
]


@dataclass(frozen=True, slots=True)
class Streams:
    """The indices of the file's streams that are read; audio is None if the file has no readable audio stream.

    seen, heard, unread: notes about the choice of the video stream, the choice of the audio stream, and streams without
    a decoder; empty if there is nothing to note.
    """

    video: int = 0
    audio: int | None = None
    seen: str = ""
    heard: str = ""
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Clock:
    """How the timestamps of a file's packets become one time line, in seconds.

    origin: the time of the first frame that decodes, which is where frame 0 and sample 0 lie.
    by_order: the container holds no display times (AVI with B-frames), so frames are timed in the decoder's order.
    joints: (stream, packet number, seconds): from this packet on, these seconds are added to the stream's timestamps.
    """

    origin: Fraction = Fraction(0)
    by_order: bool = False
    joints: tuple[tuple[int, int, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """The properties of a media file, from its packets and its first frame.

    fps: the average frame rate. n_frames: the number of video packets to be shown, which all decode if the file is
    undamaged. width, height: in stored pixels, after the display matrix. sample_rate: in Hz; None if no audio stream
    can be decoded. duration_s: seconds from the first frame that decodes to the end of the last frame.

    own, published: the streams that lipscore reads, and those that the FFmpeg calls of the published protocols read.
    n_expected: the number of frames that the container promises, or n_frames if that is larger.
    sar: the shape of a stored pixel, width / height, before the display matrix; display_size: the picture's width and
    height in square pixels, after the display matrix.
    transfer: "sdr", or how HDR samples are coded ("pq", "hlg").
    audio_start_s, audio_end_s: the start and the end of `own`'s audio, in seconds after the first frame; None without.
    published_audio_start_s: the start of `published`'s audio.
    hidden_packets: whether the codec has packets that show nothing.
    turned: whether the display matrix exchanges width and height.
    channels: FFmpeg's names of the channels of `own`'s audio.
    n_left_out: the number of frames that are missing in a steady stream, by its timestamps.
    sound: the file that is heard instead of this file's own audio, from this file's first frame on; None for its own.
    """

    path: Path
    fps: Fraction
    n_frames: int
    width: int
    height: int
    sample_rate: int | None
    duration_s: float
    own: Streams = Streams()
    published: Streams = Streams()
    clock: Clock = Clock()
    n_expected: int = 0
    sar: Fraction = Fraction(1)
    display_size: tuple[int, int] = (0, 0)
    transfer: str = "sdr"
    audio_start_s: float | None = None
    audio_end_s: float | None = None
    published_audio_start_s: float | None = None
    hidden_packets: bool = False
    turned: bool = False
    n_left_out: int = 0
    channels: tuple[str, ...] = ()
    sound: MediaInfo | None = None

    @property
    def heard(self) -> MediaInfo:
        """The file whose audio is heard with this file's picture: `sound`, or else the file itself."""
        return self.sound or self


def whose(sounds: Collection[object | None]) -> Whose:
    """Whether videos with these sounds are scored with their own or with given ones; None is a video's own sound."""
    given = [sound is not None for sound in sounds]
    return "own" if not any(given) else "given" if all(given) else "mixed"


@dataclass(frozen=True, slots=True)
class GivenSound:
    """The sound file that a video was scored against instead of its own audio; sha256: of its bytes, in hex digits."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Shot:
    """The frames start <= i < end, between two cuts."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Detection:
    """A face: box_xyxy float32[4] in source pixels, score in the detector's own units.

    points: float32[5, 2] in source pixels: right eye, left eye, tip of the nose, right and left corner of the mouth
    (the person's own right and left); None if the detector finds only boxes.
    """

    frame: int
    box_xyxy: Floats
    score: float
    points: Floats | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """One face through a shot: frames int64[T], consecutive; boxes_xyxy float64[T, 4], interpolated over gaps."""

    id: int
    shot: Shot
    frames: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]

    @property
    def first_frame(self) -> int:
        return int(self.frames[0])

    @property
    def last_frame(self) -> int:
        return int(self.frames[-1])


@dataclass(frozen=True, slots=True)
class SyncCurve:
    """Distances of each window's lips to the audio at every shift.

    distances: float32[W, 2 * vshift + 1] in the model's units; column k pairs lip window i with audio window
    i + k - vshift, and is NaN if that window does not exist and the model does not pad.
    mean: float32[2 * vshift + 1], the mean of `distances` over the windows.
    """

    distances: Floats
    mean: Floats


@dataclass(frozen=True, slots=True)
class TrackScore:
    """One face track's numbers.

    first_frame, last_frame: frame numbers, both included. offset: in frames, positive if the audio comes before the
    video. offset_ms: the offset between frames, in milliseconds; None in records of older versions.
    lse_d, lse_c: SyncNet's own with model vgg, estimates of them with model mini. curve: the model's mean distances at
    the 2 * vshift + 1 shifts. mouth_motion: how much the mouth moves (`lipscore.syncnet.motion`); None in records of
    older versions and for tracks that are too short to measure.
    """

    track_id: int
    first_frame: int
    last_frame: int
    offset: int
    lse_d: float
    lse_c: float
    n_windows: int
    curve: tuple[float, ...]
    offset_ms: float | None = None
    mouth_motion: float | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """How generated frames were paired with reference frames.

    method: "timestamp", "index" or "shift". n_generated, n_reference, n_compared: frames on each side, and pairs.
    shift: generated frame i + shift is compared with reference frame i. resized: how the generated frames were resized
    to the reference's size ("area", "bicubic"), or None. warning: what a reader of the numbers must know, or None.
    """

    method: str
    n_generated: int
    n_reference: int
    n_compared: int
    shift: int
    resized: str | None
    warning: str | None


@dataclass(frozen=True, slots=True)
class ReferenceScore:
    """PSNR in dB and SSIM against a reference.

    values: every computed variant by name ("psnr-rgb", "ssim-wang-luma", see docs/measures/psnr-ssim.md). psnr, ssim:
    the means over frames of the variants that psnr_variant and ssim_variant name. psnr_pooled: the PSNR of the mean
    squared error over all frames. n_identical: the number of identical pairs; each counts as 100 dB. region: "frame",
    "face" or "mouth". status: "ok", "no_reference", "no_face", "no_overlap", "too_small" or "media_error"; numbers
    exist only with "ok".
    """

    status: str
    reason: str
    reference: str | None
    region: str
    psnr: float | None
    ssim: float | None
    values: dict[str, float]
    n_identical: int
    alignment: Alignment | None
    psnr_pooled: float | None = None
    psnr_variant: str = ""
    ssim_variant: str = ""


@dataclass(frozen=True, slots=True)
class VideoScore:
    """One video's record, a line of scores.jsonl (see docs/formats.md).

    lse_d, lse_c, offset (frames) and offset_ms (milliseconds, between frames): computed from the tracks by the
    protocol's rule; None unless status is "ok". scores: the scores without a field here, by their names in
    `lipscore.metrics.catalogue`.
    comparable: True only for an unchanged published protocol with verified official weights, exact arithmetic and the
    original's kind of sound. changed: each setting that differs from the named protocol. notes: sentences that a reader
    of the numbers must know. seconds: wall time by stage. piece: start and end, in seconds, of the scored part of the
    video; None for the whole video. silent: the sound is inaudible, so the numbers are not part of any mean.
    signature: one line that names what decides the numbers (`lipscore signature` explains it). folder: the input that
    contained the video, as it was given; `average` separates folders. audio: the sound file that the video was scored
    against; None for its own sound.
    """

    video: str
    name: str
    sha256: str
    status: Status
    reason: str
    protocol: str
    model: str
    comparable: bool
    protocol_hash: str = ""
    detector: str = ""
    changed: tuple[str, ...] = ()
    fps: float | None = None
    n_frames: int | None = None
    duration_s: float | None = None
    shots: tuple[Shot, ...] = ()
    tracks: tuple[TrackScore, ...] = ()
    lse_d: float | None = None
    lse_c: float | None = None
    offset: int | None = None
    psnr: float | None = None
    ssim: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    alignment: Alignment | None = None
    reference: ReferenceScore | None = None
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    piece: tuple[float, float] | None = None
    silent: bool = False
    signature: str = ""
    offset_ms: float | None = None
    folder: str = ""
    audio: GivenSound | None = None


class Detector(Protocol):
    """A face detector: frames in, boxes out.

    stride: the detector looks at every stride-th frame, and each shot's first and last; 1 means every frame.
    bridge: the longest gap, in frames, over which a missed face is interpolated; the boxes are then also
        median-filtered. 0 leaves boxes unchanged.
    doubtful: (weak, clear): a face whose mean score is below `weak` is dropped if another face of its shot has at least
        `clear`; (0, 0) drops no face.
    batch_size: the best number of frames per call.
    turn: a lock held during detection if one video already saturates the device; a second one would only take memory.
    """

    @property
    def name(self) -> str:
        """The name in records."""
        ...

    @property
    def stride(self) -> int:
        """The distance between the frames that it looks at."""
        ...

    @property
    def doubtful(self) -> tuple[float, float]:
        """The mean scores of a weak and of a clear face."""
        ...

    @property
    def bridge(self) -> int:
        """The longest gap to interpolate, in frames."""
        ...

    @property
    def batch_size(self) -> int:
        """Frames per call."""
        ...

    @property
    def turn(self) -> AbstractContextManager[object]:
        """The lock for one video's detection."""
        ...

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """The boxes of each frame, in the frames' order; best first if the detector ranks.

        Args:
            frames: uint8[H, W, 3], BGR.
            indices: the frames' numbers.
        """
        ...


class SyncPass(Protocol):
    """One track's pass through a model."""

    def feed(self, crops: NDArray[np.uint8]) -> None:
        """Feed the track's next crops, uint8[n, 224, 224, 3] BGR."""
        ...

    def curve(self) -> SyncCurve:
        """The curve of all crops fed so far."""
        ...

    def scores(self, curve: SyncCurve) -> tuple[float, float]:
        """(LSE-D, LSE-C) of this track, measured or estimated, from its curve or from a part of the curve."""
        ...


class SyncModel(Protocol):
    """A model that compares lips with speech; each model has its own kind of pass."""

    @property
    def name(self) -> str:
        """The name in records."""
        ...

    @property
    def unrelated(self) -> tuple[float, float] | None:
        """(LSE-D, LSE-C) that a model of estimates gives to a still mouth; None for a model that measures both."""
        ...

    def open(self, pcm: NDArray[np.int16], n_frames: int, vshift: int) -> SyncPass:
        """Start a pass over a track.

        Args:
            pcm: int16[N] at 16 kHz, the track's audio.
            n_frames: the number of crops in the track.
            vshift: the largest shift in each direction, in frames.
        """
        ...
