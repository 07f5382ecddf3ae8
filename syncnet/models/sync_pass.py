"""Compute the distances at every shift from crops and MFCCs, in batches and in constant memory.

A model that embeds windows (SyncNet v2, mini) is an `Embedder`. A `WindowPass` feeds it a track's crops chunk by chunk
and keeps only what the next chunk needs.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import NotScoredError
from lipscore.metrics import lse
from lipscore.syncnet.window import MFCC_PER_FRAME, N_FRAMES, N_MFCC, SAMPLES_PER_FRAME
from lipscore.types import Floats, SyncCurve


@runtime_checkable
class Embedder(Protocol):
    """A pair of towers that embed the windows of lips and speech.

    pads: True if windows beyond the ends count as zero vectors (SyncNet), False if they are left out (mini).
    context: how many neighbouring windows on each side an embedding depends on; 0: its own frames only.
    """

    @property
    def pads(self) -> bool:
        """Whether shifts without a partner count."""
        ...

    @property
    def context(self) -> int:
        """Neighbouring windows on each side."""
        ...

    def lip(self, frames: NDArray[np.uint8]) -> Floats:
        """uint8[T, 224, 224, 3] BGR, T >= 5 -> float32[T - 4, D], one per window of five frames."""
        ...

    def audio(self, mfcc: Floats) -> Floats:
        """float32[M, 13] at 100 per second, M >= 20 -> float32[(M - 20) // 4 + 1, D], one per window of twenty."""
        ...


class WindowPass:
    """One track's pass through an embedder: feed() its crops in order, then call curve().

    Args:
        embedder: the model.
        mfcc: float32[M, 13], the track's audio, starting with its first frame.
        n_samples: of the audio at 16 kHz.
        n_frames: of the track; windows = min(n_frames, n_samples // 640) - 5, as SyncNetInstance.py counts them.
        vshift: shifts to either side.

    Attributes:
        n_windows: that a track of so many frames and samples has.
        kept: the lip embeddings so far, float32[n, D] each, where it was set to a list; None keeps none.
    """

    def __init__(
        self,
        embedder: Embedder,
        mfcc: Floats,
        n_samples: int,
        n_frames: int,
        vshift: int,
    ) -> None:
        self.n_windows = max(0, min(n_frames, n_samples // SAMPLES_PER_FRAME) - N_FRAMES)
        self.mfcc = mfcc
        self._embedder, self._vshift = embedder, vshift
        self._n_frames = n_frames
        self._pending = np.zeros((0, 224, 224, 3), np.uint8)
        self._pending_from = 0  # the frame that the first pending one is
        self._audio: Floats | None = None
        self._audio_from = -vshift  # the window that the first kept audio row belongs to
        self._done = 0
        self._lip_sum: Floats = np.zeros(0, np.float32)
        self._distances: list[Floats] = []
        self.kept: list[Floats] | None = None

    def feed(self, crops: NDArray[np.uint8]) -> None:
        """Feed the track's next crops, uint8[n, 224, 224, 3] BGR.

        Raises:
            NotScoredError: the network gave NaN or infinity, which a mean over the rest would hide.
        """
        if self._done >= self.n_windows:
            return  # the sound has ended
        frames = np.concatenate([self._pending, crops])
        end = self._pending_from + len(frames)
        # A window waits for what the model sees beyond it, except where the track ends.
        beyond = 0 if end >= self._n_frames else self._embedder.context
        stop = min(end - N_FRAMES + 1 - beyond, self.n_windows)
        if stop <= self._done:
            self._pending = frames
            return
        seen = frames[: min(len(frames), stop + N_FRAMES - 1 + self._embedder.context - self._pending_from)]
        lip = _finite("frames", self._embedder.lip(seen))[self._done - self._pending_from : stop - self._pending_from]
        keep_from = max(0, stop - self._embedder.context)
        if stop == self.n_windows:
            keep_from = end  # nothing more is embedded, and a trace keeps the pass for its scores
        self._pending, self._pending_from = frames[keep_from - self._pending_from :].copy(), keep_from
        self.feed_lips(lip)

    def feed_lips(self, lip: Floats) -> None:
        """float32[n, D]: embeddings of the next windows, in place of crops; what lies beyond the sound is left out."""
        lip = lip[: self.n_windows - self._done]
        if not len(lip):
            return
        stop = self._done + len(lip)
        if self.kept is not None:
            self.kept.append(lip)
        self._distances.append(lse.shifted_distances(lip, self._audio_around(self._done, stop), self._vshift))
        self._lip_sum = lip.sum(axis=0) + (self._lip_sum if len(self._lip_sum) else 0)
        self._done = stop

    def curve(self) -> SyncCurve:
        """The curve of all crops fed so far."""
        distances = self.distances()
        return SyncCurve(distances, lse.mean_curve(distances))

    def scores(self, curve: SyncCurve) -> tuple[float, float]:
        """(LSE-D, LSE-C) as SyncNet defines them on a curve."""
        sync = lse.sync_of(curve.mean)
        return sync.lse_d, sync.lse_c

    def distances(self) -> Floats:
        """float32[windows fed, 2 * vshift + 1], NaN where the model does not pad and a shift has no partner."""
        if not self._distances:
            return np.zeros((0, 2 * self._vshift + 1), np.float32)
        return np.concatenate(self._distances)

    def lip(self) -> Floats:
        """float32[D]: the mean of the lip embeddings so far; empty before the first."""
        return self._lip_sum / np.float32(max(1, self._done))

    def _audio_around(self, start: int, stop: int) -> Floats:
        """Audio embeddings of the windows start - vshift ... stop + vshift - 1, each computed once."""
        first, last = start - self._vshift, stop + self._vshift
        have = self._audio_from + (0 if self._audio is None else len(self._audio))
        fresh = self._embed_audio(have, last)
        rows = fresh if self._audio is None else np.concatenate([self._audio, fresh])
        self._audio, self._audio_from = rows[first - self._audio_from :], first
        return self._audio

    def _embed_audio(self, start: int, stop: int) -> Floats:
        """Windows start ... stop - 1; beyond the track zero vectors for a model that pads, else NaN."""
        inner_start, inner_stop = max(0, start), min(self.n_windows, stop)
        if inner_stop > inner_start:
            first, last = max(0, inner_start - self._embedder.context), inner_stop + self._embedder.context
            at_end = last > (len(self.mfcc) - N_MFCC) // MFCC_PER_FRAME
            part = self.mfcc[MFCC_PER_FRAME * first : None if at_end else MFCC_PER_FRAME * (last - 1) + N_MFCC]
            rows = _finite("audio", self._embedder.audio(part))[inner_start - first : inner_stop - first]
        else:
            inner_start, inner_stop = stop, stop
            rows = self._embedder.audio(np.zeros((N_MFCC, 13), np.float32))[:0]
        fill = 0.0 if self._embedder.pads else np.nan
        widths = ((inner_start - start, stop - inner_stop), (0, 0))
        return np.pad(rows, widths, constant_values=fill).astype(np.float32)


def _finite(of: str, rows: Floats) -> Floats:
    """The embeddings, float32[n, D], if all are numbers."""
    broken = int((~np.isfinite(rows)).any(axis=1).sum())
    if broken:
        raise NotScoredError(
            "error",
            f"the network gave NaN or infinity for {broken} of {len(rows)} windows of the {of}; "
            "are its weights whole? On a GPU try --precision fp32",
        )
    return rows
