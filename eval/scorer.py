"""The Python interface: a Scorer is loaded once and scores files, arrays and folders.

It prints nothing, and writes only to paths that the caller names and to the temporary folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipscore.errors import UsageError
from lipscore.eval import score as stages
from lipscore.eval.options import InputOptions, ModelOptions, ProtocolOptions, ReferenceOptions, RunOptions
from lipscore.eval.run.batch import find_jobs, scorer_of
from lipscore.eval.run.jobs import Silent, Task
from lipscore.eval.run.runner import Run
from lipscore.eval.run.threads import at_a_time
from lipscore.eval.run.work import on_threads
from lipscore.eval.setup import Models, Setup, warn_of_estimates
from lipscore.eval.stop import Stop
from lipscore.eval.store.appending import check_appendable
from lipscore.eval.store.records import RecordStore
from lipscore.eval.trace import Trace
from lipscore.media.decode.arrays import source_of
from lipscore.syncnet.protocols import Protocol
from lipscore.syncnet.source import Source
from lipscore.types import VideoScore

Pathlike = Path | str


class Scorer:
    """Scores videos with one protocol and one set of models; several threads may share it.

    Args:
        setup: the protocol, the models and the reference options.
        models: the options that the models were loaded with; `score_all` finds face boxes by them.

    Attributes:
        setup: the protocol, the models and the reference options.
    """

    def __init__(self, setup: Setup, models: ModelOptions | None = None) -> None:
        self.setup = setup
        self._models = models or ModelOptions()

    @classmethod
    def load(
        cls,
        protocol: str | ProtocolOptions = "wav2lip",
        models: str | ModelOptions = "auto",
        reference: ReferenceOptions | None = None,
        *,
        changes: dict[str, Any] | None = None,
    ) -> Scorer:
        """Load the networks.

        Args:
            protocol: a protocol's name, a TOML file, or options.
            models: "vgg", "mini" or "auto", or options.
            reference: how videos are compared with their references.
            changes: protocol settings to change, such as {"min_track": 50}.

        Raises:
            UsageError: an option is wrong.
            MissingError: FFmpeg, a device or the weights are missing.
        """
        chosen = ProtocolOptions(protocol) if isinstance(protocol, str) else protocol
        wanted = ModelOptions(models) if isinstance(models, str) else models
        setup = Setup.load(replace(chosen, **(changes or {})), wanted, reference)
        warn_of_estimates(setup.models)
        return cls(setup, wanted)

    @property
    def comparable(self) -> bool:
        """Whether scores are comparable with published ones."""
        return self.setup.comparable

    def score(
        self,
        video: Pathlike,
        reference: Pathlike | None = None,
        *,
        audio: Pathlike | None = None,
        name: str | None = None,
        trace: Trace | None = None,
    ) -> VideoScore:
        """Score one video; a problem with it becomes the record's status and reason.

        Args:
            video: the video file.
            reference: the reference video for PSNR and SSIM.
            audio: a file whose sound is scored instead of the video's own; it starts with the first frame.
            name: the video's name in the record; default: its stem.
            trace: receives boxes, shots, tracks and curves.

        Raises:
            MissingError: FFmpeg is missing, or the temporary folder cannot be written.
            DeviceError: the GPU failed, or has too little memory.
        """
        return stages.score_video(video, self.setup, reference, audio, name=name, trace=trace)

    def score_frames(
        self,
        frames: NDArray[np.uint8],
        fps: float | Fraction,
        pcm: NDArray[np.int16] | NDArray[np.floating[Any]],
        sample_rate: int,
        *,
        name: str = "frames",
        trace: Trace | None = None,
    ) -> VideoScore:
        """Score frames in memory, for example in a training loop, under protocol lipscore-1.

        Args:
            frames: uint8[T, H, W, 3], RGB.
            fps: the frames' rate, in frames per second.
            pcm: int16[N] or [N, channels], or float in -1 ... 1; sample 0 is at the start of the first frame.
            sample_rate: of pcm, in Hz.
            name: the name in the record.
            trace: receives boxes, shots, tracks and curves.

        Raises:
            UsageError: an array has another shape or dtype, a rate is not above 0, or the protocol needs a file.
        """
        protocol = self.setup.protocol
        if protocol.transcode != "none" or protocol.direct:
            raise UsageError.about(
                "protocol", protocol.name, "reads files only; load the scorer with lipscore-1 to score arrays"
            )
        stream, samples = source_of(frames, fps, pcm, sample_rate, protocol.frame_rate)
        source = Source(stream, stream.packed, samples)
        return stages.score_source(source, self.setup, name=name, trace=trace)

    def score_all(
        self,
        inputs: Pathlike | Sequence[Pathlike],
        out: Pathlike | None = None,
        *,
        reference: Pathlike | None = None,
        audio: Pathlike | None = None,
        scores_file: Pathlike | None = None,
        workers: int | None = None,
        resume: bool = True,
    ) -> Iterator[VideoScore]:
        """Score files and folders, and yield each record as soon as its video is done.

        Args:
            inputs: a video or folder, or several of them.
            out: the folder for scores.jsonl and scores.csv; None writes neither.
            reference: the folder of references; default: INPUT/reference, if it exists.
            audio: a folder with the sounds to score instead of the videos' own; for one video, a file.
            scores_file: a file to which a line per face track is appended.
            workers: videos at a time; default: one per core, at most 4.
            resume: reuse the results that `out` already contains.

        Raises:
            UsageError: two files could be the reference, the boxes or the sound of one video.
            MissingError: the inputs contain no video, or `out` or `scores_file` cannot be written.
        """
        named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        asked = InputOptions(
            tuple(map(Path, named)),
            None if reference is None else Path(reference),
            audio=None if audio is None else Path(audio),
        )
        jobs = find_jobs(asked, self._models, RunOptions(), self.setup.protocol)
        store = None if out is None else RecordStore(Path(out))
        scores_path = None if scores_file is None else Path(scores_file)
        if scores_path is not None:
            check_appendable(scores_path)
        stop, silent = Stop(), Silent()
        setup = self.setup.hearing([job.audio for job in jobs])
        task = Task(setup.blank(), setup.settings(), scores_path, resume)
        score = scorer_of(setup, stop, silent.stage)
        backend = on_threads(jobs, score, task, store, silent, workers=at_a_time(len(jobs), workers), stop=stop)
        run = Run(jobs, backend, task, store, silent)
        try:
            for index, done in run:
                yield run.write(index, done).record.score
        finally:
            run.close()
            if store is not None:
                store.write_csv()


def score_video(
    path: Pathlike,
    protocol: Protocol,
    models: Models,
    reference: Pathlike | None = None,
    *,
    audio: Pathlike | None = None,
    name: str | None = None,
    reference_options: ReferenceOptions | None = None,
) -> VideoScore:
    """Score one video with models from `load_models`, as `Scorer.score` does.

    Args:
        path: the video file.
        protocol: from `get_protocol`; the models must have been loaded for it.
        models: from `load_models`.
        reference_options: how the video is compared with its reference; default: `ReferenceOptions()`.

    The other arguments, the result and the errors are those of `Scorer.score`.
    """
    setup = Setup(protocol, models, reference_options or ReferenceOptions())
    return stages.score_video(path, setup, reference, audio, name=name)
