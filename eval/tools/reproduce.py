"""`lipscore reproduce`: score the videos of published results, and compare each row.

The official demonstration is one row (joonson/syncnet_python README: offset 3, LSE-D 5.353, LSE-C 10.021 on
example.avi). The MoChaBench table is the CSV that congwei1230/MoChaBench publishes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipscore.errors import UsageError
from lipscore.eval.run.batch import AUDIO
from lipscore.eval.run.inputs.partners import expected, partners
from lipscore.eval.run.inputs.paths import Found
from lipscore.eval.score import score_video
from lipscore.eval.setup import Setup
from lipscore.syncnet.models.published import Row
from lipscore.types import VideoScore


@dataclass(frozen=True, slots=True)
class Published:
    """A published result.

    tolerance: the largest difference in LSE-D or LSE-C that still counts as the same. speech: whether the original took
    each video's sound from a separate file.
    """

    name: str
    about: str
    protocol: str
    tolerance: float
    where: str
    rows: tuple[Row, ...] | None
    speech: bool = False


DEMO = Row("example.avi", (3,), 5.353, 10.021, "1724121b3a50141cfc9e77c034f7de914024d015b92762ae12d3e1a7151b8621")
PUBLISHED = {
    result.name: result
    for result in (
        Published(
            "syncnet-demo",
            "the official SyncNet demonstration, step 8 onward on the file itself",
            "wav2lip-lrs",
            0.002,  # the demo prints three decimals; the rest is for the FFmpeg build
            "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/example.avi",
            (DEMO,),
        ),
        Published(
            "mochabench",
            "per-video values of MoChaBench's lip-sync table, from a CSV",
            "mochabench",
            0.1,  # made with another FFmpeg build, which moves frames and samples: docs/measures/precision.md
            "https://github.com/congwei1230/MoChaBench (eval-lipsync)",
            None,
            speech=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row's comparison: differences are ours minus published; verdict is "same", "differs" or "missing"."""

    row: Row
    record: VideoScore | None
    d_lse_d: float | None
    d_lse_c: float | None
    verdict: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of the comparisons with a published table.

    n: the number of videos with an LSE on both sides. The differences are |ours - published| over these videos; they
    are None if n is 0.
    """

    same: int
    differs: int
    missing: int
    n: int
    max_lse_d: float | None
    max_lse_c: float | None
    mean_lse_d: float | None
    mean_lse_c: float | None


def get_published(name: str) -> Published:
    """A published result by name.

    Raises:
        UsageError: no published result has that name.
    """
    if name not in PUBLISHED:
        raise UsageError(f"reproduce {name}: unknown published result; use one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def reproduce(
    published: Published,
    rows: tuple[Row, ...],
    videos: Path,
    setup: Setup,
    tolerance: float,
    audio: Path | None = None,
) -> Iterator[Comparison]:
    """Score each row's video and compare, in order; the verdict on an absent video or sound is "missing".

    Args:
        audio: the folder with the sounds that the videos are scored against; None: each video's own sound.

    Raises:
        MissingError: that folder does not exist.
        UsageError: two files in it could be the sound of one video.
    """
    named = [Found(videos / row.clip, videos) for row in rows]
    sounds = {} if audio is None else partners(named, audio, AUDIO)
    for row in rows:
        path = videos / row.clip
        if not path.is_file():
            yield Comparison(row, None, None, None, "missing", f"no file {path}; get it from {published.where}")
            continue
        if row.sha256 is not None:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != row.sha256:
                yield Comparison(
                    row,
                    None,
                    None,
                    None,
                    "missing",
                    f"{path} is not the published file: its SHA-256 is {found}, not {row.sha256}",
                )
                continue
        if audio is not None and path not in sounds:
            lacking = expected(Found(path, videos), audio, AUDIO)
            yield Comparison(row, None, None, None, "missing", f"{audio} has no sound for {path}; add one as {lacking}")
            continue
        yield compare(row, score_video(path, setup, audio=sounds.get(path)), tolerance)


def compare(row: Row, record: VideoScore, tolerance: float) -> Comparison:
    """Compare a record with a published row: LSE-D and LSE-C within the tolerance, and equal offsets per track."""
    if row.lse_d is None or row.lse_c is None:
        same = record.status in ("no_face", "no_track")
        why = "" if same else f"published as a video without a face, here {record.status}"
        return Comparison(row, record, None, None, "same" if same else "differs", why)
    if record.lse_d is None or record.lse_c is None:
        return Comparison(row, record, None, None, "differs", f"{record.status}: {record.reason}")
    d_lse_d, d_lse_c = record.lse_d - row.lse_d, record.lse_c - row.lse_c
    offsets = tuple(track.offset for track in record.tracks)
    why = "" if offsets == row.offsets else f"offsets {list(offsets)}, published {list(row.offsets)}"
    within = max(abs(d_lse_d), abs(d_lse_c)) <= tolerance
    return Comparison(row, record, d_lse_d, d_lse_c, "same" if within and not why else "differs", why)


def summarise(done: Sequence[Comparison]) -> Summary:
    """Count the verdicts, and take the largest and the mean difference."""
    verdicts = [comparison.verdict for comparison in done]
    off_d = [abs(comparison.d_lse_d) for comparison in done if comparison.d_lse_d is not None]
    off_c = [abs(comparison.d_lse_c) for comparison in done if comparison.d_lse_c is not None]
    return Summary(
        same=verdicts.count("same"),
        differs=verdicts.count("differs"),
        missing=verdicts.count("missing"),
        n=len(off_d),
        max_lse_d=max(off_d, default=None),
        max_lse_c=max(off_c, default=None),
        mean_lse_d=sum(off_d) / len(off_d) if off_d else None,
        mean_lse_c=sum(off_c) / len(off_c) if off_c else None,
    )


def sentence(summary: Summary) -> str:
    """The differences as a line of text."""
    if not summary.n:
        return "no video has an LSE both here and published"
    return (
        f"difference over {summary.n} video{'s' * (summary.n != 1)}: LSE-D largest {summary.max_lse_d:.6f}, "
        f"mean {summary.mean_lse_d:.6f}; LSE-C largest {summary.max_lse_c:.6f}, mean {summary.mean_lse_c:.6f}"
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON-ready data."""
    record, row = comparison.record, comparison.row
    return {
        "video": row.clip,
        "verdict": comparison.verdict,
        "why": comparison.why,
        "status": record.status if record else None,
        "offsets": [track.offset for track in record.tracks] if record else None,
        "lse_d": record.lse_d if record else None,
        "lse_c": record.lse_c if record else None,
        "published": {"offsets": list(row.offsets), "lse_d": row.lse_d, "lse_c": row.lse_c},
        "d_lse_d": comparison.d_lse_d,
        "d_lse_c": comparison.d_lse_c,
    }
