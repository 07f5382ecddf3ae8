"""Make one time line of a file's timestamps: join the parts where they start again, and refuse large jumps.

Video and audio get the same correction, so that they stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import MediaError
from lipscore.media.container.packets import Line

BACK = 0.1  # seconds that a decoding time goes back: the timestamps start again, as FFmpeg's ts_discontinuity_detect
BACK_SHOWN = 0.7  # the same of display times, which B-frames reorder: 16 frames at 25 a second
AHEAD = 10.0  # seconds that they leap ahead, in a container where they may: FFmpeg's -dts_delta_threshold
FAR = 0.5  # seconds that a wrong time is away, at the least
OUTLIER = 5  # packets with a wrong time, at most, that are taken for damage of the timestamps
# AVFMT_TS_DISCONT, libavformat/avformat.h: the containers whose timestamps may start again anywhere
DISCONTINUOUS = frozenset({"mpeg", "mpegts", "mpegtsraw", "vob", "ogg", "dv", "wtv", "rtsp", "hls"})
HOLES = 60.0  # seconds without a frame or a sample that a file may have, whatever its length
CAPS = {"video": 1.0, "audio": 10.0}  # seconds that one packet may last before what follows is a hole
LATER = 10  # the audio may be this many times as long as the picture, and HOLES longer

Joints = tuple[tuple[int, int, Fraction], ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """Packets first ... stop - 1, whose times continue without a break; start and end are display times in seconds."""

    first: int
    stop: int
    start: Fraction
    end: Fraction


def joints(video: tuple[int, Line], audio: tuple[int, Line] | None, container: str) -> Joints:
    """The seconds to add to the timestamps of the two streams, so that each continues where it started again.

    If both streams have the same number of runs, the audio moves with the video; otherwise each is joined separately.

    Args:
        video, audio: the stream's index and its packets.
        container: FFmpeg's name of the format.
    """
    leaps = not DISCONTINUOUS.isdisjoint(container.split(","))
    v_runs = _runs(video[1], leaps)
    a_runs = _runs(audio[1], leaps) if audio is not None else []
    if audio is not None and len(a_runs) != len(v_runs):
        v_runs, a_runs = _runs(video[1], False), _runs(audio[1], False)
    together = len(a_runs) == len(v_runs)
    v_added = _added(v_runs)
    a_added = v_added if together else _added(a_runs)
    found = [(video[0], number, added) for number, added in _pieces(video[1], v_runs, v_added)]
    if audio is not None:
        found += [(audio[0], number, added) for number, added in _pieces(audio[1], a_runs, a_added)]
    return tuple(found)


def corrected(line: Line, stream: int, joined: Joints) -> NDArray[np.float64]:
    """float64[n]: the display times of a stream's packets in seconds, in the file's order."""
    times = line.display_times * float(line.time_base)
    here = [(number, float(added)) for index, number, added in joined if index == stream]
    stops = [*(number for number, _ in here[1:]), len(line)]
    for (number, added), stop in zip(here, stops, strict=False):
        times[number:stop] += added
    return np.asarray(times)


def check_holes(path: Path, kind: str, line: Line, times: NDArray[np.float64]) -> None:
    """Check that the timestamps leave no hole that hours of repeated frames or silence would have to fill.

    Raises:
        MediaError: more than HOLES seconds, and more than half of the time, are empty.
    """
    if len(times) < 2:
        return
    order = np.argsort(times, kind="stable")
    lasting = np.minimum(np.array(line.duration, np.float64)[order[:-1]] * float(line.time_base), CAPS[kind])
    gaps = np.diff(times[order]) - np.maximum(lasting, 1.0)
    holes = float(gaps[gaps > 0].sum())
    span = float(times.max() - times.min())
    if holes > HOLES and holes > span - holes:
        what = "frame" if kind == "video" else "sound"
        raise MediaError(
            f"{path}: its {kind} timestamps jump by {gaps.max():.0f} s, so that {holes:.0f} of {span:.0f} s hold no "
            f"{what}; write them anew: ffmpeg -i FILE -vf setpts=N/25/TB -af asetpts=N/SR/TB OUT"
        )


def check_lengths(path: Path, picture_s: float, sound_s: float) -> None:
    """Check that the audio is not much longer than the picture.

    Raises:
        MediaError: the audio is much longer.
    """
    if sound_s > LATER * picture_s + HOLES:
        raise MediaError(
            f"{path}: its audio ends {sound_s:.0f} s after the first frame, its picture lasts {picture_s:.2f} s; "
            "cut the audio to the picture's length"
        )


def _runs(line: Line, leaps: bool) -> list[_Run]:
    """The runs between breaks, where the coding time goes back or, with `leaps`, jumps ahead."""
    if not len(line):
        return []
    steps = np.diff(line.coding_times) * float(line.time_base)
    broken = steps < -_back(line)
    if leaps:
        broken |= steps > AHEAD
    breaks = [int(number) + 1 for number in np.flatnonzero(broken)]
    outliers = {number for first, stop in _outliers(line) for number in (first, stop)}
    bounds = [0, *(number for number in breaks if number not in outliers), len(line)]
    times, lasting = line.display_times, np.array(line.duration, np.int64)
    found = []
    for first, stop in pairwise(bounds):
        part = times[first:stop]
        start, end = int(part.min()), int((part + lasting[first:stop]).max())
        found.append(_Run(first, stop, start * line.time_base, end * line.time_base))
    return found


def _back(line: Line) -> float:
    return BACK if line.has_dts else BACK_SHOWN


def _outliers(line: Line) -> list[tuple[int, int]]:
    """(first, stop) of each short series of packets whose times jump away and come back."""
    steps = np.diff(line.coding_times) * float(line.time_base)
    far = max(FAR, _back(line))
    found: list[tuple[int, int]] = []
    for back in np.flatnonzero(np.abs(steps) > far):
        for first in range(max(0, int(back) - OUTLIER), int(back)):
            leap = steps[first]
            total = float(steps[first : back + 1].sum())
            if abs(leap) > far and leap * steps[back] < 0 and -FAR / 5 < total < FAR:
                if not found or found[-1][1] <= first:
                    found.append((first + 1, int(back) + 1))
                break
    return found


def _added(runs: Sequence[_Run]) -> list[Fraction]:
    """For each run, the seconds to add so that it starts where the previous one ends."""
    added = [Fraction(0)] * len(runs)
    for number in range(1, len(runs)):
        added[number] = runs[number - 1].end + added[number - 1] - runs[number].start
    return added


def _pieces(line: Line, runs: Sequence[_Run], added: Sequence[Fraction]) -> list[tuple[int, Fraction]]:
    """(packet number, seconds) wherever the added seconds change; outliers are placed between their neighbours."""
    if not runs:
        return []
    changes = {run.first: seconds for run, seconds in zip(runs, added, strict=True)}
    times = line.coding_times
    for first, stop in _outliers(line):
        base = added[max(k for k, run in enumerate(runs) if run.first <= first)]
        step = int(times[stop] - times[first - 1]) // (stop - first + 1)
        changes[first] = base + int(times[first - 1] + step - times[first]) * line.time_base
        changes[stop] = base
    found: list[tuple[int, Fraction]] = []
    for number in sorted(changes):
        if changes[number] != (found[-1][1] if found else 0):
            found.append((number, changes[number]))
    return found
