"""The progress of a run on standard error: a bar on a terminal, a line per video elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from lipscore.eval.cli.output import is_quiet, plain, say, tell, visible
from lipscore.eval.run.jobs import Job, Progress
from lipscore.eval.store.records import Record
from lipscore.eval.store.scores_file import one_line, quote_name
from lipscore.eval.store.summary import offsets_of, reason_of
from lipscore.metrics import catalogue
from lipscore.metrics.standards import words
from lipscore.types import VideoScore

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

QUIET_SECONDS, REDRAW_SECONDS = 10.0, 0.1  # between two lines of a log, two states of a line on a terminal


class Lines:
    """Prints a line per video, for logs and pipes."""

    def started(self, job: Job) -> None:
        """Print nothing; the line comes with the result."""

    def stage(self, video: str, name: str) -> None:
        """Print nothing; stages change too fast for a log."""

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """Print one line with the result."""
        tell(finished_line(done, total, record, resumed, seconds))

    def trouble(self, text: str) -> None:
        """Print the text as it is."""
        say(text.rstrip())


class Quiet(Lines):
    """Prints only failures, and warnings about a video's numbers."""

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:  # noqa: ARG002
        """Print failures and warnings."""
        said = warnings_of(record)
        if record.score.status != "ok":
            say(reason_of(record))
        elif said:
            say(f"{quote_name(record.score.name)}: {'; '.join(said)}")


class Pace:
    """Estimates a run's remaining time from the videos that it scored itself, without those of an earlier run.

    Args:
        clock: seconds, as time.monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self._scored = self._rest = 0

    def finished(self, done: int, total: int, resumed: bool) -> None:
        """Note that `done` of `total` videos have their records."""
        self._scored += not resumed
        self._rest, self._last = total - done, self._clock()

    def left(self) -> str:
        """The remaining time, such as "0:12:30 left"; empty as long as it cannot be estimated."""
        if not self._scored or not self._rest:
            return ""
        seconds = (self._last - self._began) / self._scored * self._rest - (self._clock() - self._last)
        return f"{timedelta(seconds=round(seconds))} left" if seconds >= 1 else ""


class Live:
    """A bar with the count, the remaining time, and the video's name and stage; results stay above it."""

    def __init__(self, bar: Bar, task: TaskID, pace: Pace) -> None:
        self._bar, self._task, self._pace = bar, task, pace

    def started(self, job: Job) -> None:
        """Show the video's name in the bar."""
        self._bar.update(self._task, video=quote_name(job.name))

    def stage(self, video: str, name: str) -> None:
        """Show the video and its stage in the bar; with several videos, the one that changed last."""
        self._bar.update(self._task, video=f"{quote_name(video)}: {name}")

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """Print the result above the bar, and advance the bar."""
        self.trouble(finished_line(done, total, record, resumed, seconds))
        self._pace.finished(done, total, resumed)
        self._bar.update(self._task, total=total, completed=done)

    def trouble(self, text: str) -> None:
        """Print a line above the bar."""
        from rich.text import Text

        self._bar.console.print(Text(visible(text.rstrip())), soft_wrap=True)


@contextmanager
def shown(total: int) -> Iterator[Lines | Live]:
    """The progress that suits standard error."""
    if is_quiet() or plain(sys.stderr):
        yield Quiet() if is_quiet() else Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    pace = Pace()

    class Left(ProgressColumn):
        """The remaining time, if it can be estimated."""

        def render(self, _: object) -> Text:
            return Text(pace.left(), no_wrap=True)

    class Video(ProgressColumn):
        """The video's name, without interpreting brackets as markup."""

        def render(self, task: object) -> Text:
            return Text(visible(str(task.fields["video"])), overflow="ellipsis", no_wrap=True)  # type: ignore[attr-defined]

    columns = (MofNCompleteColumn(), BarColumn(20), Left(), Video())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Live(bar, bar.add_task("", total=total, video=""), pace)


def finished_line(done: int, total: int, record: Record, resumed: bool, seconds: float) -> str:
    """The line about a finished video."""
    return f"[{done}/{total}] {result_line(record)} ({'scored before' if resumed else f'{seconds:.1f} s'})"


def result_line(record: Record) -> str:
    """A video's result on one line."""
    score = record.score
    if score.status != "ok":
        return reason_of(record)
    parts = [
        f"{len(score.tracks)} track{'s' * (len(score.tracks) != 1)}",
        f"{catalogue.OFFSET.title} {offsets_of(record)}",
    ]
    if score.offset_ms is not None:
        parts.append(words(score.offset_ms))
    for one in catalogue.averaged([score]):
        value = one.of(score)
        if value is not None:
            parts.append(f"{one.title_for([score.model])} {one.text(value)}")
    if _without_reference(score):
        parts.append("no reference")  # common, so without the reason, which the record has
    return "; ".join([f"{quote_name(score.name)}: {', '.join(parts)}", *warnings_of(record)])


def warnings_of(record: Record) -> list[str]:
    """The warnings about a video's numbers; notes that are the same for all videos of a run are left out."""
    score, found = record.score, []
    reference = score.reference
    if reference is not None and reference.status != "ok" and not _without_reference(score):
        found.append(f"reference: {reference.status}: {reference.reason}")
    elif reference is not None and reference.alignment is not None and reference.alignment.warning:
        found.append(f"reference: {reference.alignment.warning}")
    if score.silent:
        found.append("silent")
    found += [note for note in score.notes if not note.startswith(("weights not verified", f"{score.detector} looked"))]
    return [one_line(text) for text in found]


def _without_reference(score: VideoScore) -> bool:
    """Whether no reference was named for the video, which is common; a named one that is missing is not."""
    reference = score.reference
    return reference is not None and reference.status == "no_reference" and not reference.reference


class Terminal:
    """The command line's reporter.

    Args:
        records: called with each record as it is done.
    """

    def __init__(self, records: Callable[[Record], None] | None = None) -> None:
        self._records = records
        self.fetching = _tenths(lambda name, have, size: f"fetching {name}: {have / 1e6:.0f} of {size / 1e6:.0f} MB")

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        say(text)

    @contextmanager
    def videos(self, total: int) -> Iterator[Progress]:
        """The progress that suits standard error."""
        with shown(total) as inner:
            yield inner if self._records is None else _Handing(inner, self._records)


class _Handing:
    """A progress that also passes each record to a function."""

    def __init__(self, inner: Progress, records: Callable[[Record], None]) -> None:
        self.started, self.stage, self.trouble = inner.started, inner.stage, inner.trouble
        self._inner, self._records = inner, records

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """Pass the record on, then show it."""
        self._records(record)
        self._inner.finished(done, total, record, resumed, seconds)


def steps_progress() -> Callable[[str, int, int], None]:
    """A progress of steps, for training."""
    return _tenths(lambda stage, done, total: f"{stage}: {done} of {total}")


def left_progress(what: str) -> Callable[[str, int, int], None]:
    """A progress of one file's stages, with the remaining time of each.

    On a terminal, one line is updated; elsewhere, a line is printed every QUIET_SECONDS.
    """
    terminal = not plain(sys.stderr)
    began: dict[str, float] = {}
    told = time.monotonic()

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        start = began.setdefault(stage, now)
        if now - told < (REDRAW_SECONDS if terminal else QUIET_SECONDS) and not (terminal and done >= total):
            return
        told = now
        left = (now - start) / done * max(0, total - done)
        _in_place(f"{quote_name(what)}: {stage} {done} of {total}, {left:.0f} s left  ", terminal, done >= total)

    return tell


def _tenths(text_of: Callable[[str, int, int], str]) -> Callable[[str, int, int], None]:
    """Prints a line for every tenth of each task; on a terminal, one line that is updated at every step."""
    last_tenth: dict[str, int] = {}
    terminal = not plain(sys.stderr)

    def report(name: str, have: int, size: int) -> None:
        tenth = 10 * have // max(1, size)
        if terminal or last_tenth.get(name) != tenth:
            last_tenth[name] = tenth
            _in_place(text_of(name, have, size), terminal, have >= size)

    return report


def _in_place(text: str, terminal: bool, last: bool) -> None:
    """Print a line of progress: on a terminal over the previous one, elsewhere below it."""
    if not terminal:
        tell(text)
    elif not is_quiet():
        with suppress(OSError, ValueError):
            print(f"\r{visible(text)}", end="\n" if last else "", file=sys.stderr, flush=True)
