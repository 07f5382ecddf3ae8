"""Sentences about a file for the record's notes, which a reader of the numbers must know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lipscore.media.decode.frames import Decoded
from lipscore.media.rates import FRAME_RATE
from lipscore.types import MediaInfo

SILENT = 10 ** (-60 / 20) * 32768  # the largest sample of what is not audible: -60 dBFS
QUIET = 10 ** (-35 / 20) * 32768  # the RMS of a mix that is quiet enough for its channels to be looked at
BLOCK = 1 << 20  # samples at a time
LATE = 0.1  # seconds by which the audio may start after the picture without a note
SHORT = 0.5, 0.1  # seconds, or part of the picture's length, by which the audio may end early without a note


def silent(pcm: NDArray[np.int16]) -> bool:
    """Whether int16[N] is inaudible: all zero, or below -60 dBFS throughout."""
    return not len(pcm) or bool(max(int(pcm.max()), -int(pcm.min())) < SILENT)


def quiet(pcm: NDArray[np.int16]) -> bool:
    """Whether int16[N] is so quiet that its channels may have cancelled each other."""
    energy = sum(float(np.square(pcm[at : at + BLOCK], dtype=np.float64).sum()) for at in range(0, len(pcm), BLOCK))
    return energy <= len(pcm) * QUIET**2


def shortfall(info: MediaInfo, counts: Decoded) -> str:
    """Which of a file's frames are missing after a complete pass over it; empty if no frame is missing.

    Two packets may be one frame (the fields of interlaced video), and some codecs have packets that show nothing. If
    nothing was damaged, such packets do not count as a loss.
    """
    expected = info.n_frames
    whole = not counts.n_errors and not counts.n_corrupt
    fields = counts.interlaced and expected <= 2 * counts.n_frames + 1
    if whole and counts.n_frames < expected and (info.hidden_packets or fields):
        expected = counts.n_frames
    if info.n_expected > info.n_frames:
        expected = max(expected, info.n_expected)
    said = []
    if counts.n_frames < expected:
        said.append(f"{counts.n_frames} of {expected} frames could be decoded")
    elif counts.n_errors:
        said.append(f"{counts.n_errors} of its packets could not be decoded")
    if info.n_left_out:
        said.append(f"its timestamps leave out {info.n_left_out} frames; the frame before each hole is repeated")
    if counts.n_corrupt:
        said.append(f"{counts.n_corrupt} of {counts.n_frames} decoded frames are damaged")
    return "; ".join(said)


def cut_short(info: MediaInfo) -> str:
    """Which frames of a file are missing, judged by its packets alone; empty if no frame is missing."""
    if info.n_expected <= info.n_frames:
        return ""
    return f"the whole file holds {info.n_frames} of {info.n_expected} frames"


def of_piece(info: MediaInfo, counts: Decoded) -> tuple[str, ...]:
    """The notes for a piece of a file: about the file's streams, and about frames that are missing.

    Args:
        counts: the counts of the piece and of its packets.
    """
    whole = replace(info, n_frames=counts.n_packets, n_expected=counts.n_packets)
    said = [streams(info, published=False), shortfall(whole, counts), cut_short(info)]
    return tuple(note for note in said if note)


def streams(info: MediaInfo, *, published: bool) -> str:
    """Which streams were read, if the file or the given sound leaves a choice; empty otherwise.

    Args:
        published: report the streams that the published protocols read, instead of those that lipscore reads.
    """
    chosen = info.published if published else info.own
    if info.sound is None:
        said = [chosen.seen, chosen.heard, chosen.unread]
    else:
        other = info.sound.published if published else info.sound.own
        said = [chosen.seen, chosen.unread, *(f"of the sound, {note}" for note in (other.heard, other.unread) if note)]
    return "; ".join(note for note in said if note)


def apart(fps: float, duration_s: float) -> float:
    """Seconds by which lips and sound are apart at a file's end, where each frame is taken for 1/FRAME_RATE second."""
    return abs(fps / FRAME_RATE - 1) * duration_s


def other_rate(fps: float, duration_s: float) -> str:
    """The note about a frame rate that moves lips and sound apart by more than a frame; empty if it does not.

    Args:
        fps: the rate of a file that a protocol takes as it is.
        duration_s: the file's length in seconds.
    """
    if apart(fps, duration_s) <= 1 / FRAME_RATE:
        return ""
    return (
        f"its {fps:.5g} frames a second are taken for {FRAME_RATE}, as this protocol's original does: at the end, lips "
        f"and sound are {apart(fps, duration_s):.2f} s apart, so LSE-D, LSE-C and the offset do not measure its sync; "
        f"bring it to {FRAME_RATE} frames a second first"
    )


def silence(cancelled: bool) -> str:
    """The note for a video with inaudible sound."""
    if cancelled:
        return (
            "no audible speech: the audio channels cancel each other in the protocol's mix (antiphase); "
            "the numbers measure silence and are not part of the means"
        )
    return "no audible speech: the audio is silent; the numbers measure nothing and are not part of the means"


CANCELLED = "the audio channels cancel each other in the protocol's mix (antiphase); the remainder was scored"
ONE_CHANNEL = "the audio channels cancel each other (antiphase); only one of them was scored"


def late_picture(info: MediaInfo) -> list[str]:
    """The note for a given sound that starts with the video file and not with its picture, as under mochabench."""
    start = info.published_audio_start_s
    if info.sound is None or start is None or start >= -LATE:
        return []
    return [
        f"the picture starts {-start:.2f} s after the file's own audio; this protocol repeats the first frame until "
        "then and starts the given sound with the file, as its original does, so the offset is larger by this time"
    ]


def timing(info: MediaInfo, delay_kept: bool) -> list[str]:
    """The notes about audio that starts late or ends early."""
    said = []
    heard = info.heard
    start = heard.audio_start_s if delay_kept else heard.published_audio_start_s
    if not delay_kept and start is not None and start > LATE:
        said.append(
            f"the audio starts {start:.2f} s after {'the' if info.sound is None else 'its own'} picture; this protocol "
            "discards the delay, as its original does, so the offset differs from what a player shows"
        )
    if heard.audio_end_s is not None:
        lacking = info.duration_s - heard.audio_end_s
        if lacking > max(SHORT[0], SHORT[1] * info.duration_s):
            end = max(0.0, heard.audio_end_s)
            said.append(
                f"the audio ends at {end:.2f} s, the picture at {info.duration_s:.2f} s; the rest is not scored"
            )
    return said
