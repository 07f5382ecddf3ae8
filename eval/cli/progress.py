"""The progress of a run on standard error: a bar on a terminal, a line per video elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lipscore.eval.run.jobs import Job, Progress
from lipscore.eval.store.records import Record
from lipscore.eval.store.scores_file import one_line, quote_name
from lipscore.eval.store.summary import offsets_of, reason_of
from lipscore.metrics import catalogue
from lipscore.metrics.standards import words

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

QUIET_SECONDS, REDRAW_SECONDS = 10.0, 0.1  # between two lines of a log, two states of a line on a terminal


def say(text: str) -> None:
    """Print a line on standard error; characters that it cannot show become escapes."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


def plain(terminal: bool) -> bool:
    """Whether to omit colour and bars: NO_COLOR is set (https://no-color.org), or the output is not a terminal."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not terminal


class Lines:
    """A line per video, for logs and pipes."""

    def started(self, job: Job) -> None:
        """Print nothing; the line comes with the result."""

    def stage(self, video: str, name: str) -> None:
        """Print nothing; stages change too fast for a log."""

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:
        """Print one line with the result."""
        say(f"[{done}/{total}] {result_line(record)} ({'scored before' if resumed else f'{seconds:.1f} s'})")

    def trouble(self, text: str) -> None:
        """Print the text as it is."""
        say(text.rstrip())


class Live:
    """A bar with the video's name and stage, the count and the remaining time; failures stay above it."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def started(self, job: Job) -> None:
        """Show the video's name in the bar."""
        self._bar.update(self._task, video=quote_name(job.name))

    def stage(self, video: str, name: str) -> None:
        """Show the video and its stage in the bar; with several videos, the one that changed last."""
        self._bar.update(self._task, video=f"{quote_name(video)}: {name}")

    def finished(self, done: int, total: int, record: Record, resumed: bool, seconds: float) -> None:  # noqa: ARG002
        """Advance the bar; a video without a score gets a line."""
        if record.score.status != "ok":
            self.trouble(reason_of(record))
        self._bar.update(self._task, total=total, completed=done)

    def trouble(self, text: str) -> None:
        """Print a line above the bar."""
        from rich.text import Text

        self._bar.console.print(Text(text.rstrip()), soft_wrap=True)


@contextmanager
def shown(total: int) -> Iterator[Lines | Live]:
    """The progress that suits standard error."""
    if plain(sys.stderr.isatty()):
        yield Lines()
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Video(ProgressColumn):
        """The video's name, without interpreting brackets as markup."""

        def render(self, task: object) -> Text:
            return Text(str(task.fields["video"]), overflow="ellipsis", no_wrap=True)  # type: ignore[attr-defined]

    columns = (MofNCompleteColumn(), BarColumn(20), TimeRemainingColumn(), TextColumn(escape("left")), Video())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Live(bar, bar.add_task("", total=total, video=""))


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
    reference = score.reference
    if reference is not None and reference.status == "no_reference":
        parts.append("no reference")  # common, so without the reason, which the record has
    elif reference is not None and reference.status != "ok":
        parts.append(f"reference: {reference.status}: {one_line(reference.reason)}")
    elif reference is not None and reference.alignment is not None and reference.alignment.warning:
        parts.append(f"reference: {one_line(reference.alignment.warning)}")
    if score.silent:
        parts.append("silent")
    # what is the same for every video of a run is left to the record
    said = [note for note in score.notes if not note.startswith(("weights not verified", f"{score.detector} looked"))]
    return "; ".join([f"{quote_name(score.name)}: {', '.join(parts)}", *map(one_line, said)])


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
    """A progress of one file's stages, with the time that is left of each.

    On a terminal in one place, else a line every QUIET_SECONDS.
    """
    terminal = not plain(sys.stderr.isatty())
    began: dict[str, float] = {}
    told = time.monotonic()

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        start = began.setdefault(stage, now)
        if now - told < (REDRAW_SECONDS if terminal else QUIET_SECONDS) and not (terminal and done >= total):
            return
        told = now
        text = (
            f"{quote_name(what)}: {stage} {done} of {total}, {(now - start) / done * max(0, total - done):.0f} s left"
        )
        if terminal:
            print(f"\r{text}  ", end="\n" if done >= total else "", file=sys.stderr, flush=True)
        else:
            say(text)

    return tell


def _tenths(text_of: Callable[[str, int, int], str]) -> Callable[[str, int, int], None]:
    """A line for every tenth of each task; on a terminal one line that is updated at every step."""
    last_tenth: dict[str, int] = {}
    terminal = not plain(sys.stderr.isatty())

    def report(name: str, have: int, size: int) -> None:
        tenth = 10 * have // max(1, size)
        if terminal:
            print(f"\r{text_of(name, have, size)}", end="\n" if have >= size else "", file=sys.stderr, flush=True)
        elif last_tenth.get(name) != tenth:
            last_tenth[name] = tenth
            say(text_of(name, have, size))

    return report
