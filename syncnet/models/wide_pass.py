"""Compute a face track's cosines for a wide search: lips block by block, against the sound of the whole file.

`SyncPass` compares a track with the sound during the track, within +-15 frames. Here the sound continues before the
track's first frame and after its last, so that a short track in a long file has its full overlap at every shift. Only
sums per second are kept: 3,600 rows for an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from lipscore.metrics.longrange import ShiftSums, cosine_map, sums_of, unit
from lipscore.syncnet.models.sync_pass import Embedder
from lipscore.syncnet.window import FRAME_RATE, MFCC_PER_FRAME, N_FRAMES, N_MFCC, SAMPLES_PER_FRAME
from lipscore.types import Floats, Track

STEP = FRAME_RATE  # windows whose cosines are summed together: a second
BLOCK = 1500  # audio windows embedded at a time: a minute
STEADY = 5.0  # frames: sigma of the smoothing
KEPT = 3  # blocks kept in memory, because simultaneous tracks need neighbouring ones


def steadied(track: Track) -> Track:
    """The track with its boxes smoothed over time (Gaussian, sigma STEADY frames).

    Crops that jump look like moving lips, and dlib's boxes alternate between two sizes. On two real people, in files of
    10 and 20 seconds, smoothing raised the peak from 4.1 to 6.6 and from 6.3 to 8.2 deviations. The published protocols
    use the boxes unchanged.
    """
    return replace(track, boxes_xyxy=gaussian_filter1d(track.boxes_xyxy, STEADY, axis=0, mode="nearest"))


class Sound:
    """A file's audio embeddings, float32[len, D] of length 1, computed block by block on request.

    Args:
        mfcc: float32[M, 13], starting with the video's first frame.
        n_samples: the number of audio samples at 16 kHz; a window counts if all of its five frames have sound.
    """

    def __init__(self, embedder: Embedder, mfcc: Floats, n_samples: int) -> None:
        self._embedder, self._mfcc = embedder, mfcc
        by_mfcc = (len(mfcc) - N_MFCC) // MFCC_PER_FRAME + 1
        self._count = max(0, min(by_mfcc, n_samples // SAMPLES_PER_FRAME - N_FRAMES + 1))
        self._blocks: dict[int, Floats] = {}

    def __len__(self) -> int:
        return self._count

    def around(self, start: int, stop: int) -> tuple[Floats, int]:
        """The embeddings of those windows start ... stop - 1 that exist, and the number of the first one."""
        first, last = max(0, start), min(self._count, stop)
        if last <= first:
            return np.zeros((0, 1), np.float32), first
        parts = []
        for number in range(first // BLOCK, (last - 1) // BLOCK + 1):
            block, begins = self._block(number), number * BLOCK
            parts.append(block[max(0, first - begins) : last - begins])
        return np.concatenate(parts), first

    def _block(self, number: int) -> Floats:
        if number not in self._blocks:
            start, stop = number * BLOCK, min(self._count, (number + 1) * BLOCK)
            context = self._embedder.context
            first, last = max(0, start - context), min(self._count, stop + context)
            rows = self._mfcc[MFCC_PER_FRAME * first : MFCC_PER_FRAME * (last - 1) + N_MFCC]
            self._blocks[number] = unit(self._embedder.audio(rows)[start - first : stop - first])
            while len(self._blocks) > KEPT:
                del self._blocks[next(iter(self._blocks))]
        return self._blocks[number]


class LipStream:
    """Turns crops into lip embeddings; returns each once, as soon as the frames that it depends on are available."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._pending = np.zeros((0, 224, 224, 3), np.uint8)
        self._pending_from = 0  # the frame that the first pending one is
        self._done = 0

    def feed(self, crops: NDArray[np.uint8]) -> Floats:
        """uint8[n, 224, 224, 3] BGR, the next frames -> float32[w, D], the next windows of length 1; w may be 0."""
        self._pending = np.concatenate([self._pending, crops])
        return self._embed(self._embedder.context)

    def rest(self) -> Floats:
        """The last windows, which were waiting for frames beyond the end."""
        rows = self._embed(0)
        self._pending = self._pending[:0].copy()
        return rows

    def _embed(self, beyond: int) -> Floats:
        end = self._pending_from + len(self._pending)
        stop = end - N_FRAMES + 1 - beyond
        if stop <= self._done:
            return np.zeros((0, 1), np.float32)
        rows = self._embedder.lip(self._pending)[self._done - self._pending_from : stop - self._pending_from]
        keep_from = max(0, stop - self._embedder.context)
        self._pending = self._pending[keep_from - self._pending_from :].copy()  # a view would keep all of the chunk
        self._pending_from, self._done = keep_from, stop
        return unit(rows)


class WidePass:
    """One track's pass through the towers: feed() its crops in order, finish(), then read the sums.

    Args:
        first_frame: the track's first frame, counted at 25 per second from the video's first.
        reach: the largest shift in each direction.
        on_map: called with the cosines float32[W, 2 * reach + 1] of each block of windows in turn.
    """

    def __init__(
        self,
        embedder: Embedder,
        sound: Sound,
        first_frame: int,
        reach: int,
        on_map: Callable[[Floats], None] | None = None,
    ) -> None:
        self._lips = LipStream(embedder)
        self._sound, self.first_frame, self._reach = sound, first_frame, reach
        self._on_map = on_map
        self._kept: list[ShiftSums] = []
        self.n_windows = 0

    def feed(self, crops: NDArray[np.uint8]) -> None:
        """Feed the track's next crops, uint8[n, 224, 224, 3] BGR."""
        self._add(self._lips.feed(crops))

    def finish(self) -> None:
        """Note that the track has no more frames."""
        self._add(self._lips.rest())

    @property
    def steps(self) -> list[ShiftSums]:
        """The sums of each STEP windows in turn; the last may cover fewer."""
        return self._kept

    def total(self) -> ShiftSums:
        """The sums of the whole track."""
        return sum(self._kept, ShiftSums.none(self._reach))

    def _add(self, lip: Floats) -> None:
        if not len(lip):
            return
        at = self.first_frame + self.n_windows
        audio, first = self._sound.around(at - self._reach, at + len(lip) + self._reach)
        if not len(audio):
            audio = np.zeros((0, lip.shape[1]), np.float32)
        cosines = cosine_map(lip, audio, at - first, self._reach)
        if self._on_map is not None:
            self._on_map(cosines)
        start = 0
        while start < len(lip):
            stop = min(len(lip), start + STEP - self.n_windows % STEP)
            part = sums_of(cosines[start:stop])
            if self.n_windows % STEP:
                self._kept[-1] = self._kept[-1] + part
            else:
                self._kept.append(part)
            self.n_windows += stop - start
            start = stop
