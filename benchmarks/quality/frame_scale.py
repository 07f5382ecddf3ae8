"""The factor that brings model mini's framewise confidence to the scale of LSE-C (SCALES in eval/trace.py).

    python benchmarks/quality/frame_scale.py [--clips ../shared/clips] [--every 3] [--cache CACHE]

The factor is fitted on clips with known boxes (boxes.json) and published LSE-C (published_scores.csv). With CACHE
(wide_confidence.py fills it), it is also fitted on other tracks, for which there is only the model's own estimate of
LSE-C. Clips that the model was trained on have steeper curves and thus a smaller factor. For mini, SCALES therefore has
the factor of held-out clips, by the towers of the folds.

SyncNet's LSE-C is the median of a track's curve minus its minimum, and its framewise confidence is the same with each
window's own distance instead of the minimum, so the two have the same scale. mini's curve has distances of its own: the
factor is LSE-C / (median - minimum of the curve), as the median over the clips in sync.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lipscore.media import read
from lipscore.metrics import lse
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.crops import CropPath, chunked
from lipscore.syncnet.models.mini import MiniEmbedder, load_mini
from lipscore.syncnet.window import N_FRAMES, SAMPLES_PER_FRAME
from lipscore.training.clips import read_boxes
from lipscore.types import SyncCurve, Track

VSHIFT = 15
IN_SYNC = 3.0  # the least LSE-C of a clip that takes part: below it a track is drawn as without sync


def curve_of(path: Path, track: Track, embedder: MiniEmbedder) -> tuple[SyncCurve, float]:
    """A track's curve, and the LSE-C that the model estimates from it."""
    where = CropPath.of(track)
    frames = zip(range(len(track.frames)), read.frames_at(path, 25), strict=False)
    sync = embedder.open(read.read_pcm(path), len(track.frames), VSHIFT)
    for chunk in chunked(where.cut(frame, number, 0.4) for number, frame in frames):
        sync.feed(chunk)
    curve = sync.curve()
    return curve, sync.scores(curve)[1]


def unseen(cache: Path, embedder: MiniEmbedder) -> Iterator[tuple[SyncCurve, float]]:
    """The same of the embedded tracks in a folder of wide_confidence.py."""
    for path in sorted(cache.glob("*.npz")):
        with np.load(path) as arrays:
            lip, audio, pcm = arrays["lip"], arrays["audio"], arrays["pcm"]
            first = int(arrays["first"])
        beneath = audio[first : first + len(lip)]
        lip = lip[: len(beneath)]
        around = np.pad(beneath, ((VSHIFT, VSHIFT), (0, 0)), constant_values=np.nan)
        distances = lse.shifted_distances(lip, around, VSHIFT)
        curve = SyncCurve(distances, lse.mean_curve(distances))
        heard = pcm[first * SAMPLES_PER_FRAME : (first + len(lip) + N_FRAMES) * SAMPLES_PER_FRAME]
        yield curve, embedder.calibration(curve, lip.mean(axis=0), mfcc(heard))[1]


def fitted(raw: NDArray[np.float64], lse_c: NDArray[np.float64]) -> tuple[float, float, float]:
    """(factor, lower and upper end of its 95 % interval): the median of LSE-C / raw over the clips in sync."""
    ratios = lse_c[lse_c >= IN_SYNC] / raw[lse_c >= IN_SYNC]
    rng = np.random.default_rng(0)
    again = np.median(ratios[rng.integers(0, len(ratios), (2000, len(ratios)))], axis=1)
    return float(np.median(ratios)), *(float(value) for value in np.percentile(again, (2.5, 97.5)))


def row(curve: SyncCurve, estimate: float, published: float) -> tuple[float, float, float, float]:
    """(median minus minimum of the curve, published and estimated LSE-C, median framewise confidence)."""
    frames = lse.framewise_confidence(curve.distances, curve.mean)
    return lse.sync_of(curve.mean).lse_c, published, estimate, float(np.nanmedian(frames))


def main() -> None:
    """Embed the clips, fit the factor, and compare the scaled framewise values with LSE-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "clips")
    parser.add_argument("--cache", type=Path, help="folder of wide_confidence.py")
    parser.add_argument("--every", type=int, default=1, help="take every Nth clip")
    wanted = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    embedder = load_mini(torch.device("cpu"))
    with (wanted.clips / "published_scores.csv").open() as rows:
        published = {row["clip"]: float(row["lse_c"] or "nan") for row in csv.DictReader(rows)}
    found = []
    for name, track in list(read_boxes(wanted.clips / "boxes.json").items())[:: wanted.every]:
        found.append(row(*curve_of(wanted.clips / "talking" / name, track, embedder), published.get(name, np.nan)))
    tables = {"training clips, published": (np.array(found), 1), "training clips, estimated": (np.array(found), 2)}
    if wanted.cache is not None:
        tables["other clips, estimated"] = np.array([row(*one, np.nan) for one in unseen(wanted.cache, embedder)]), 2
    for title, (table, column) in tables.items():
        table = table[~np.isnan(table[:, column])]
        factor, low, high = fitted(table[:, 0], table[:, column])
        sync = table[table[:, column] >= IN_SYNC]
        off = np.abs(factor * sync[:, 3] - sync[:, column])
        print(
            f"{title} LSE-C: factor {factor:.1f} ({low:.1f} to {high:.1f}), {len(sync)} of {len(table)} clips in sync; "
            f"clips' median framewise values are {off.mean():.2f} away from their LSE-C (mean)"
        )


if __name__ == "__main__":
    main()
