"""Steps 1-3 of a protocol: prepare the input file for face detection.

The published protocols transcode the file and turn every frame into a JPEG; `transcode = "none"` decodes once. A model
whose scores are only estimates reads the frames without the conversion to JPEG, which takes as long as the transcoding.
Each stage that needs the frames reads them in a pass of its own. Between passes, JPEGs are kept on disk, and decoded
frames in memory up to a limit, so that memory does not grow with length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import NotScoredError
from lipscore.media import notes, read, write
from lipscore.media.decode.passes import FrameSource, Remembered, Stored
from lipscore.media.decode.sound import channels_cancel, clocked
from lipscore.media.ffmpeg import Counts, map_args
from lipscore.media.read import Decoded
from lipscore.syncnet.protocols import Protocol
from lipscore.syncnet.window import SAMPLE_RATE
from lipscore.types import Frame, MediaInfo

LEAD = 0.001  # seconds; timestamps are rounded to milliseconds in some containers
PCM_OPTIONS = ["-ac", "1", "-ar", str(SAMPLE_RATE)]


class Heed:
    """Notes about a video as a protocol reads it; they are complete once all frames have been read.

    silent: whether the sound that the protocol reads is inaudible.
    """

    def __init__(self, info: MediaInfo, protocol: Protocol) -> None:
        self._info = info
        self._ours = protocol.audio_from == "clock"
        self._said: list[str] = []
        self._counted: Counts | None = None
        self._counted_at_all = False
        self.counts = Decoded()
        self.silent = False
        note = notes.streams(info, published=not self._ours)
        if note:
            self._said.append(note)
        self._said += notes.timing(info, self._ours)
        if protocol.direct and (rate := notes.other_rate(float(info.fps), info.duration_s)):
            self._said.append(rate)
        if protocol.audio_from == "input" and protocol.transcode != "none":
            self._said += notes.late_picture(info)

    def heard(self, pcm: NDArray[np.int16], cancelled: bool = False, n_errors: int = 0) -> None:
        """Take note of the audio; under the published protocols, single channels are read only if the mix is quiet."""
        self.silent = notes.silent(pcm)
        if n_errors:
            self._said.append(f"{n_errors} of its audio packets could not be decoded")
        if self._ours:
            if cancelled:
                self._said.append(notes.ONE_CHANNEL)
        elif notes.quiet(pcm):
            cancelled = channels_cancel(self._info)
            if cancelled and not self.silent:
                self._said.append(notes.CANCELLED)
        if self.silent:
            self._said.append(notes.silence(cancelled and not self._ours))

    def decoded(self, counts: Counts | None) -> None:
        """Take note of what FFmpeg decoded of the file."""
        self._counted, self._counted_at_all = counts, True

    def settle(self) -> None:
        """Count the frames that decode: if FFmpeg's own count leaves a doubt, PyAV decodes the file once more."""
        if not self._counted_at_all or self.counts.complete:
            return
        counted, info = self._counted, self._info
        if counted is None or counted.errors or counted.frames < info.n_frames or info.n_expected > info.n_frames:
            self.counts = read.count_frames(info)
        else:
            self.counts = Decoded(n_frames=info.n_frames, end=Fraction(info.duration_s), complete=True)
        if counted is not None:
            self.counts.n_corrupt = max(self.counts.n_corrupt, min(counted.concealed, self.counts.n_frames))

    @property
    def notes(self) -> tuple[str, ...]:
        """The sentences for the record."""
        missing = notes.shortfall(self._info, self.counts) if self.counts.complete else notes.cut_short(self._info)
        return tuple([*self._said, missing] if missing else self._said)


@dataclass(frozen=True, slots=True)
class Source:
    """A prepared video: its frames, its frames as the shot detector reads them, and its audio int16[N] at 16 kHz."""

    frames: FrameSource
    shot_frames: Callable[[], Iterator[Frame]]
    pcm: NDArray[np.int16]


def prepare(
    info: MediaInfo, protocol: Protocol, folder: Path, heed: Heed | None = None, *, jpegs: bool = True
) -> Source:
    """Transcode the file if the protocol does, and open the result.

    Args:
        folder: the folder for the transcoded file; the caller deletes it.
        heed: receives notes about what was read.
        jpegs: whether each transcoded frame becomes a JPEG, as in the originals; otherwise it is read as it is.

    Raises:
        NotScoredError: the file has no audio.
        MediaError: FFmpeg cannot process it.
    """
    path = info.path
    heed = heed or Heed(info, protocol)
    _need_audio(info, protocol)
    theirs = info.published
    if protocol.transcode == "none":

        def decoded() -> Iterator[Frame]:
            counts = Decoded()
            yield from read.frames_at(info, protocol.frame_rate, counts=counts)
            heed.counts = counts  # of a pass that came to the end; others break off where the last track ends

        frames = FrameSource(Remembered(decoded), lambda frame: frame)
        if protocol.audio_from == "clock":
            sound = clocked(info, SAMPLE_RATE)
            pcm = sound.pcm
            heed.heard(pcm, sound.cancelled, sound.n_errors)
        else:
            pcm = _of_input(info)
            heed.heard(pcm)
        return Source(frames, frames.packed, pcm)
    video = folder / f"video.{protocol.transcode}"
    options = ["-qscale:v", "2", "-async", "1", "-r", str(protocol.frame_rate)]
    if info.sound is not None and protocol.audio_from == "transcoded":
        # as if the file had this audio
        maps = [*map_args(theirs.video), *map_args(info.sound.published.audio, file=1)]
        heed.decoded(write.transcode(path, video, [*maps, *options], info.sound.path, before=_from_first_frame(info)))
    else:
        heed.decoded(write.transcode(path, video, [*map_args(theirs.video, theirs.audio), *options]))
    heed.settle()
    pcm = _of_input(info) if protocol.audio_from == "input" else read.pcm_pipe(video, PCM_OPTIONS)
    heed.heard(pcm)
    if jpegs:
        frames = FrameSource(Stored(lambda: read.jpeg_pipe(video, ["-qscale:v", "2"]), folder), read.decode_jpeg)
    else:
        frames = FrameSource(partial(read.filled_frames, video, protocol.frame_rate), lambda frame: frame)
    return Source(frames, lambda: read.opencv_frames(video), pcm)


def direct_input(
    info: MediaInfo, protocol: Protocol, heed: Heed | None = None
) -> tuple[NDArray[np.int16], Callable[[], Iterator[Frame]]]:
    """A file that is a crop already, as step 8 reads it: int16[N] at 16 kHz, and its frames at the file's own rate.

    Rudrabha/Wav2Lip evaluation/scores_LSE/SyncNetInstance_calc_scores.py (evaluate).

    Raises:
        NotScoredError: the file has no audio.
    """
    heed = heed or Heed(info, protocol)
    _need_audio(info, protocol)
    pcm = _of_input(info, "-async", "1")
    heed.heard(pcm)
    options, before = map_args(info.published.video), _from_first_frame(info)
    jpegs = partial(read.jpeg_pipe, info.path, options, heed.decoded, before=before)
    return pcm, lambda: (read.decode_jpeg(data) for data in jpegs())


def _from_first_frame(info: MediaInfo) -> Sequence[str]:
    """FFmpeg's input options that make the picture start at 0, for a file with a given sound.

    Without them, FFmpeg repeats the first frame from the start of the file's own audio on. A setpts filter would have
    the same effect, but it loses the frame rate.
    """
    start = info.published_audio_start_s
    if info.sound is None or start is None or start > -LEAD:
        return ()
    return ("-itsoffset", f"{start:.6f}")


def _of_input(info: MediaInfo, *options: str) -> NDArray[np.int16]:
    """The audio of the file that is heard, from its first sample on, as the published protocols read an input file."""
    heard = info.heard
    return read.pcm_pipe(heard.path, [*map_args(heard.published.audio), *options, *PCM_OPTIONS])


def _need_audio(info: MediaInfo, protocol: Protocol) -> None:
    heard = info.heard
    streams = heard.own if protocol.audio_from == "clock" else heard.published
    if streams.audio is None or heard.sample_rate is None:
        what = "the file" if info.sound is None else f"the sound {heard.path}"
        raise NotScoredError("no_audio", f"{what} has no audio stream; scoring needs speech")
