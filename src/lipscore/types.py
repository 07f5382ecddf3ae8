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
    """Which streams of a file are read, by their index in it; audio is None where there is none to be read.

    seen, heard, unread: what a reader must know of the choice of the picture, of the choice of the sound, and of
    streams that no decoder exists for; else empty.
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
    joints: (stream, number of its packet, seconds): from this packet on, so much is added to the stream's timestamps.
    """

    origin: Fraction = Fraction(0)
    by_order: bool = False
    joints: tuple[tuple[int, int, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file holds, by its packets and its first frame.

    fps is the average frame rate; n_frames is the number of the video's packets that are to be shown, which is what
    decodes if nothing is damaged; width and height are in stored pixels, after the display matrix; sample_rate is in
    Hz, None without an audio stream that can be decoded; duration_s is in seconds, from the first frame that decodes to
    the end of the last.

    own, published: the streams that lipscore reads, and those that the FFmpeg calls of the published protocols read.
    n_expected: the frames that the container promises, where those are more than n_frames, else n_frames.
    sar: the shape of a stored pixel, width / height, before the display matrix; display_size: the picture's width and
    height in square pixels, after it.
    transfer: "sdr", or how HDR samples are coded ("pq", "hlg").
    audio_start_s, audio_end_s: of the own stream's packets, in seconds after the first frame; None without audio.
    published_audio_start_s: of the published protocols' stream.
    hidden_packets: whether the codec has packets that show nothing.
    turned: whether the display matrix exchanges width and height.
    channels: of the own audio stream, by FFmpeg's names.
    n_left_out: frames for which a steady stream's timestamps leave room, but which are not there.
    sound: the file that is heard in place of this one's own audio, its sample 0 with this one's first frame; None: the
    own audio.
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
        """The file whose audio is heard with this one's picture: mostly itself."""
        return self.sound or self


def whose(sounds: Collection[object | None]) -> Whose:
    """Whose sound is scored of videos with these; None is a video's own."""
    given = [sound is not None for sound in sounds]
    return "own" if not any(given) else "given" if all(given) else "mixed"


@dataclass(frozen=True, slots=True)
class GivenSound:
    """The file that a video was scored against, in place of its own audio; sha256: of its bytes, hex."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames start <= i < end without a cut."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Detection:
    """A face: box_xyxy float32[4] in source pixels, score in the detector's own units.

    points: float32[5, 2] in source pixels: right eye, left eye, tip of the nose, right and left corner of the mouth, by
    the person's own left and right; None where the detector finds only boxes.
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

    distances float32[W, 2 * vshift + 1] (NaN where a shift has no partner and the model does not pad); mean
    float32[2 * vshift + 1] over windows. Column k pairs lip window i with audio window i + k - vshift.
    """

    distances: Floats
    mean: Floats


@dataclass(frozen=True, slots=True)
class TrackScore:
    """One face track's numbers. offset in frames: positive where the audio comes before the video; offset_ms the same
    between frames, in milliseconds, None in records of older versions.

    lse_d and lse_c are SyncNet's own with model vgg and estimates of them with model mini; curve is always the raw one.
    mouth_motion is how much the mouth moves (`lipscore.syncnet.motion`), None in records of older versions and for
    tracks that are too short to tell.
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

    method: "timestamp", "index" or "shift"; shift: generated frame i + shift is compared with reference frame i;
    resized: how the generated frames were resized to the reference's size ("area", "bicubic"), or None; warning: what
    a reader of the numbers must know, or None.
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

    values holds every variant that was computed, by name ("psnr-rgb", "ssim-wang-luma", see
    docs/measures/psnr-ssim.md). psnr and ssim are the means over frames of the two that psnr_variant and ssim_variant
    name. psnr_pooled is the PSNR of the mean squared error over all frames. Identical frames (n_identical) count as
    100 dB. region: "frame", "face" or "mouth". status: "ok", "no_reference", "no_face", "no_overlap", "too_small" or
    "media_error"; only "ok" comes with numbers.
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

    lse_d, lse_c, offset (in frames) and offset_ms (the same between frames, in milliseconds) follow from the tracks by
    the protocol's rule and are None unless status is "ok". scores
    holds scores without a field here, by their names in `lipscore.metrics.catalogue`.
    comparable is True only for an unchanged named protocol with verified official weights; changed names each setting
    that differs from the named protocol; notes are for whoever reads the numbers; seconds is wall time by stage; piece
    is the start and end, in seconds, of the part of the video that this record is about, None for all of it; silent:
    nothing can be heard, so the numbers measure silence and are not part of any mean; signature says in one line what
    decides the numbers (`lipscore signature` explains it); folder is the input that the video was found in, as it was
    given: `average` keeps what is in different folders apart; audio is the sound that the video was scored against,
    None for its own.
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

    stride: it sees every stride-th frame, and each shot's first and last; 1 means every frame.
    bridge: the longest gap, in frames, over which a missed face is interpolated; its boxes are then median-filtered
        too. 0 leaves boxes as they are.
    doubtful: (weak, clear): a face whose mean score is below `weak` is dropped where another face of its shot has at
        least `clear`; (0, 0) drops none.
    batch_size: the best number of frames per call.
    turn: a lock held during detection if one video already saturates the device; running two would only cost memory.
    """

    @property
    def name(self) -> str:
        """As the records call it."""
        ...

    @property
    def stride(self) -> int:
        """The distance between the frames that it sees."""
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
        """SyncNet's (LSE-D, LSE-C) of this track, measured or estimated from its curve or a part of the curve."""
        ...


class SyncModel(Protocol):
    """A model that compares lips with speech; each model has its own kind of pass."""

    @property
    def name(self) -> str:
        """As the records call it."""
        ...

    @property
    def unrelated(self) -> tuple[float, float] | None:
        """(LSE-D, LSE-C) of a mouth that does not move, where the model only estimates; None: as the pass says."""
        ...

    def open(self, pcm: NDArray[np.int16], n_frames: int, vshift: int) -> SyncPass:
        """Start a pass over a track.

        Args:
            pcm: int16[N] at 16 kHz, the track's audio.
            n_frames: the number of crops in the track.
            vshift: the largest shift in each direction, in frames.
        """
        ...
