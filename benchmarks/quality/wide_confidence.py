"""The confidence of `lipscore detect` on recordings that it was not fitted on (docs/measures/long-range.md).

    python benchmarks/quality/wide_confidence.py --cache CACHE [--clips FOLDER --known sources.tsv] [--samples 400]

Every face track of the clips is embedded once, by model mini with dlib's boxes, into CACHE. The recordings are then
divided into two halves. The confidence is fitted on files made of one half and tried on files made of the other half,
in both directions, together with the shipped one. Run the script again with another CACHE after the model's weights
have changed.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from lipscore import Models, get_protocol, load_models
from lipscore.errors import LipscoreError, NotScoredError
from lipscore.eval.score import Stopwatch, seek
from lipscore.eval.setup import Setup
from lipscore.eval.stop import Stop
from lipscore.eval.trace import Trace
from lipscore.media import read
from lipscore.media.files.scratch import scratch
from lipscore.metrics.longrange import FITTED, FOUND, Peak, confidence, confidence_terms, cosine_map, find_peak, sums_of
from lipscore.metrics.reduce import bootstrap_mean
from lipscore.syncnet.audio import mfcc
from lipscore.syncnet.crops import cut_tracks
from lipscore.syncnet.models.mini import MiniEmbedder
from lipscore.syncnet.models.wide_pass import LipStream, Sound, steadied
from lipscore.syncnet.protocols import change
from lipscore.syncnet.source import prepare
from lipscore.training.fcn.evaluate import windows_in
from lipscore.training.fcn.streams import Shape, Stream, files, in_step, same_recording

SHARED = Path(__file__).resolve().parents[3] / "shared" / "clips"
# Whole-file offsets of real/ in frames, by SyncNet's search; the other clips' are in sources.tsv
KNOWN = {"example": 4.0, "phone_1080p_25fps": 1.0, "phone_1080p_30fps": -1.0}
SILENT_FACES = ("humo_image_audio_3.1",)  # tracks of people who listen
STRANGERS = 0.2  # share of files with another recording's sound that the fit assumes
FITTED_ON = tuple(Shape((n, n), around) for around in ((0, 0), (0, 250)) for n in (60, 100, 121, 171, 246, 371))
REPORTED = {
    "5 s": Shape(windows_in(5)),
    "10 s": Shape(windows_in(10)),
    "15 s": Shape(windows_in(15)),
    "5 s, sound 5 s to either side": Shape(windows_in(5), (125, 125)),
    "5 s, sound 0 to 10 s to either side": Shape(windows_in(5), (0, 250)),
}
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97, 1.001)


@dataclass(frozen=True, slots=True)
class Tried:
    """A file's peak, whether its sound is its own, whether the peak is right to a frame, and its first clip."""

    peak: Peak
    own: bool
    right: bool
    source: str


def embed(path: Path, target: Path, models: Models) -> None:
    """Write each face track's lips, their first frame, and the whole file's audio embeddings and samples."""
    setup = Setup(change(get_protocol("lipscore-1"), {"min_face_size": 40}), models)
    assert isinstance(models.sync, MiniEmbedder)
    with scratch() as folder:
        source, stop = prepare(read.probe(path), setup.protocol, folder), Stop()
        frames, found, _ = seek(source, setup, path, Trace(), Stopwatch(None, stop), stop)
        streams, parts = [LipStream(models.sync) for _ in found], defaultdict(list)
        for k, chunk, last in cut_tracks(frames, [steadied(track) for track in found], setup.protocol.crop_scale):
            parts[k] += [streams[k].feed(chunk), *([streams[k].rest()] if last else [])]
    audio, _ = Sound(models.sync, mfcc(source.pcm), len(source.pcm)).around(0, len(source.pcm))
    for k, rows in parts.items():
        lip = np.concatenate([part for part in rows if len(part)])
        np.savez(target / f"{path.stem}.{k}.npz", lip=lip, audio=audio, first=found[k].first_frame, pcm=source.pcm)


def load(cache: Path, known: dict[str, float]) -> list[Stream]:
    """The embedded tracks, aligned by their clips' known offsets: 0 if unknown; a track with NaN is left out."""
    kept: dict[str, tuple[NDArray[np.float32], NDArray[np.float32], int]] = {}
    sounds = {}
    for path in sorted(cache.glob("*.npz")):
        if path.stem in SILENT_FACES or np.isnan(known.get(path.stem.rpartition(".")[0], 0.0)):
            continue
        with np.load(path) as arrays:
            kept[path.stem] = arrays["lip"], arrays["audio"], int(arrays["first"])
            sounds[path.stem] = arrays["pcm"]
    spoken = same_recording(sounds)
    return [
        in_step(name, lip, audio[first:], spoken[name], round(known.get(name.rpartition(".")[0], 0.0)))
        for name, (lip, audio, first) in kept.items()
    ]


def halves(streams: Sequence[Stream], seed: int) -> list[list[Stream]]:
    """Two halves that share no recording."""
    order = np.random.default_rng(seed).permutation(sorted({stream.recording for stream in streams}))
    return [[stream for stream in streams if stream.recording in set(order[part::2])] for part in (0, 1)]


def tried(streams: Sequence[Stream], shape: Shape, samples: int, seed: int, strangers: float) -> Iterator[Tried]:
    """Files of this shape, all with their own sound or all with another's."""
    rng = np.random.default_rng(seed)
    for file in itertools.islice(files(streams, shape, rng, strangers), samples):
        peak = find_peak(sums_of(cosine_map(file.lip, file.audio, file.first)))
        if peak is not None:
            right = file.offset is not None and abs(peak.offset - file.offset) <= 1
            yield Tried(peak, file.offset is not None, right, file.names[0])


def fit(items: Sequence[Tried]) -> tuple[float, ...]:
    """The weights of the logistic function, by maximum likelihood."""
    terms = np.array([confidence_terms(item.peak) for item in items])
    right = np.array([item.right for item in items], float)
    own = np.array([item.own for item in items])
    weight = np.where(own, (1 - STRANGERS) / own.sum(), STRANGERS / (~own).sum()) * len(items)

    def loss(weights: NDArray[np.float64]) -> float:
        logit = terms @ weights
        return float((weight * (np.logaddexp(0, logit) - right * logit)).sum() + 1e-3 * weights @ weights)

    return tuple(float(value) for value in minimize(loss, np.zeros(terms.shape[1])).x)


def share(items: Sequence[Tried], hits: Sequence[bool]) -> str:
    """A share in percent with its 95 % interval, over the files' first clips."""
    by_clip: dict[str, list[float]] = defaultdict(list)
    for item, hit in zip(items, hits, strict=True):
        by_clip[item.source].append(100.0 * hit)
    if not by_clip:
        return "-"
    interval = bootstrap_mean(list(by_clip.values()))
    return f"{100 * np.mean(hits):.1f} ({interval.low:.1f} to {interval.high:.1f})"


def report(title: str, items: Sequence[Tried], sure: Sequence[float]) -> None:
    """How many of the strangers and of the own files get an answer, and how many of these are right."""
    pairs = list(zip(items, sure, strict=True))
    strangers = [(item, value >= FOUND) for item, value in pairs if not item.own]
    own = [(item, value >= FOUND) for item, value in pairs if item.own]
    answered = [item for item, hit in own if hit]
    columns = (share(*zip(*strangers)), share(*zip(*own)), share(answered, [item.right for item in answered]))  # noqa: B905
    print(f"| {title} | {' | '.join(columns)} |", flush=True)


def main() -> None:
    """Embed what CACHE lacks, fit, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="*", default=[SHARED / "more", SHARED / "real"])
    parser.add_argument("--known", type=Path, default=SHARED / "more" / "sources.tsv", help="columns path, mini_offset")
    parser.add_argument("--samples", type=int, default=400, help="files of each kind, over both halves")
    wanted = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    wanted.cache.mkdir(parents=True, exist_ok=True)
    models: Models | None = None
    for path in sorted(path for folder in wanted.clips for path in folder.rglob("*") if path.suffix != ".tsv"):
        if path.is_file() and path.suffix in read.VIDEO_SUFFIXES and not [*wanted.cache.glob(f"{path.stem}.*.npz")]:
            models = models or load_models("mini", device="cpu")
            try:
                embed(path, wanted.cache, models)
            except (LipscoreError, NotScoredError) as error:
                print(f"{path.name}: left out: {error}")
    with wanted.known.open() as rows:
        table = list(csv.DictReader(rows, delimiter="\t"))
    made = [row for row in table if row["path"].startswith("generated/")]  # the GRID corpus is in sync
    known = {Path(row["path"]).stem: float(row["mini_offset"] or "nan") for row in made}
    streams = load(wanted.cache, KNOWN | known)
    parts, each = halves(streams, seed=5), wanted.samples // 2
    for number, part in enumerate(parts):
        seconds = sum(len(stream.lip) for stream in part) / 25
        print(f"half {number}: {len(part)} tracks of {len({s.recording for s in part})} recordings, {seconds:.0f} s")
    fits = [
        fit([item for shape in FITTED_ON for own in (0.0, 1.0) for item in tried(part, shape, each // 4, number, own)])
        for number, part in enumerate(parts)
    ]
    print("fitted on", *([round(value, 2) for value in weights] for weights in fits), "shipped", FITTED)
    print("| file | another's sound answered | own sound answered | of these right |\n|---|---|---|---|")
    said: list[tuple[float, bool, float]] = []
    for title, shape in REPORTED.items():
        items: list[Tried] = []
        held: list[float] = []
        for number, part in enumerate(parts):
            for own in (0.0, 1.0):
                drawn = list(tried(part, shape, each, 100 + number, own))
                items += drawn
                held += [confidence(item.peak, fits[1 - number]) for item in drawn]
        report(f"{title}, fitted on the other half", items, held)
        report(f"{title}, shipped", items, [confidence(item.peak) for item in items])
        said += [(v, i.right, 1 - STRANGERS if i.own else STRANGERS) for i, v in zip(items, held, strict=True)]
    print("| confidence | files | said | right |\n|---|---|---|---|")
    for low, high in itertools.pairwise(BINS):
        inside = [row for row in said if low <= row[0] < high]
        if inside:
            value, right, weight = (np.array(column, float) for column in zip(*inside, strict=True))
            said_, is_ = np.average(value, weights=weight), np.average(right, weights=weight)
            print(f"| {low:.2f} to {min(high, 1):.2f} | {len(inside)} | {said_:.3f} | {is_:.3f} |")


if __name__ == "__main__":
    main()
