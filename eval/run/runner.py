"""Score many videos: skip what is scored already, contain failures, and write each result as soon as it exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from lipscore.errors import LipscoreError
from lipscore.eval.run.backends import Backend
from lipscore.eval.run.jobs import Job, Progress, Task
from lipscore.eval.run.signals import Interrupted, Interruption
from lipscore.eval.run.work import Done, about
from lipscore.eval.store.records import TRY_AGAIN, Record, RecordStore
from lipscore.eval.store.scores_file import append_lines, held_lines, lines_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's outcome.

    records: those of the videos that the run reached, in the order of the jobs. resumed: how many of them came from an
    earlier run. interrupted: the exit status of a run that a signal ended, else None.
    """

    records: tuple[Record, ...]
    resumed: int
    interrupted: int | None


class Run:
    """Scores every job that has no record yet. Iterate over it, and pass each result to `write`.

    A job with a record is not scored again; its lines are added to the scores file if they are missing there, or if
    another run's lines have replaced them.

    Args:
        backend: does the work of `lipscore.eval.run.work.Work` on each job.
        store: keeps the records; None: records are not kept, and nothing is resumed.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        backend: Backend[Done],
        task: Task,
        store: RecordStore | None,
        progress: Progress,
    ) -> None:
        self._jobs, self._backend, self._task, self._store, self._progress = jobs, backend, task, store, progress
        self._lines_held: set[tuple[str, ...]] = set()
        if task.scores_path is not None and task.resume:
            self._lines_held = held_lines(task.scores_path)
        self.written: dict[int, Done] = {}

    def __iter__(self) -> Iterator[tuple[int, Done]]:
        """Yield (the job's index, its result), not yet written; pass each to `write`.

        Raises:
            LipscoreError: something that every video needs is missing (FFmpeg, the temporary folder).
        """
        return self._backend.results()

    def write(self, index: int, done: Done) -> Done:
        """Write a result; it is on disk when this method returns.

        Raises:
            MissingError: it cannot be written.
        """
        record = done.record
        if done.held is None or _about(done.held) != about(done.job):
            video, name, folder = about(done.job)
            record = replace(record, score=replace(record.score, video=video, name=name, folder=folder))
            if self._store is not None:
                self._store.append(record)
        if self._task.scores_path is not None:
            lines = lines_of(record.score)
            if done.held is None or lines not in self._lines_held:
                append_lines(self._task.scores_path, lines)
        self.written[index] = replace(done, record=record)
        self._progress.finished(len(self.written), len(self._jobs), record, done.held is not None, done.seconds)
        return self.written[index]

    def stop(self) -> None:
        """Stop the run, and write the results that are complete."""
        for index, done in self._backend.stop():
            # a failure may be an effect of stopping
            if index not in self.written and done.record.score.status not in TRY_AGAIN:
                self.write(index, done)

    def close(self) -> None:
        """Stop all running jobs, and write nothing more."""
        self._backend.stop()


def run(
    jobs: Sequence[Job], backend: Backend[Done], task: Task, store: RecordStore | None, progress: Progress
) -> Outcome:
    """Score the jobs, and write each result as soon as it exists; a signal ends the run between two writes.

    The arguments are those of `Run`. scores.csv is written at the end, even if the run was interrupted.

    Raises:
        LipscoreError: something that every video needs is missing, or a result cannot be written. Earlier results are
            on disk.
    """
    interrupted = None
    under_way = Run(jobs, backend, task, store, progress)
    with Interruption() as interruption:
        try:
            for index, done in under_way:
                with interruption.held():
                    under_way.write(index, done)
        except Interrupted as signal_:
            interrupted = signal_.exit_status
            with suppress(Interrupted), interruption.held():
                under_way.stop()
        except LipscoreError:
            with suppress(Interrupted), interruption.held():
                under_way.stop()
            raise
        except BaseException:
            under_way.close()
            raise
        finally:
            if store is not None:
                store.write_csv()
    written = [under_way.written[index] for index in sorted(under_way.written)]
    return Outcome(tuple(done.record for done in written), sum(done.held is not None for done in written), interrupted)


def _about(record: Record) -> tuple[str, str, str]:
    return record.score.video, record.score.name, record.score.folder
