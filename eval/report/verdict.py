"""Judge a run's scores by a standard's limits, by conditions and by a baseline, in lines for the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipscore.errors import UsageError
from lipscore.eval.gate import Gate, failures
from lipscore.eval.options import VerdictOptions
from lipscore.eval.report import baseline
from lipscore.eval.store.judged import no_offset
from lipscore.metrics.standards import STANDARDS, Standard, words
from lipscore.types import VideoScore


def get_standard(name: str) -> Standard:
    """A standard by name.

    Raises:
        UsageError: no standard has this name.
    """
    if name not in STANDARDS:
        raise UsageError.about("standard", name, f"unknown standard; use one of {', '.join(STANDARDS)}")
    return STANDARDS[name]


def judged(records: Sequence[VideoScore], standard: Standard) -> tuple[str, list[str]]:
    """(how many scored videos are within the limits, a line for each that is not or cannot be judged)."""
    scored = [score for score in records if score.status == "ok"]
    outside = []
    for score in scored:
        if why := no_offset(score):
            outside.append(f"{score.name}: cannot be judged by {standard.title}: {why}")
        elif score.offset_ms is None:
            why = "its record has no offset_ms; score it again with --no-resume"
            outside.append(f"{score.name}: cannot be judged by {standard.title}: {why}")
        elif not standard.within(score.offset_ms):
            outside.append(f"{score.name}: outside {standard.title}: {words(score.offset_ms)}")
    limits = f"audio early by at most {standard.early:g} ms, late by at most {standard.late:g} ms"
    return f"{standard.title} ({limits}): {len(scored) - len(outside)} of {len(scored)} within", outside


@dataclass(frozen=True, slots=True)
class Verdict:
    """Lines of text: the summary, the warnings, and one line for each reason why a video fails."""

    summary: tuple[str, ...]
    warnings: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """The criteria of a run, read before the first video is scored."""

    gates: tuple[Gate, ...]
    standard: Standard | None
    baseline: baseline.Baseline | None
    allow_mixed: bool

    @classmethod
    def prepare(cls, options: VerdictOptions) -> Judge:
        """The judge for these options.

        Raises:
            UsageError: a condition or a standard is invalid.
            MissingError: the baseline or its noise band cannot be read.
        """
        return cls(
            tuple(Gate.parse(text) for text in options.fail_on or ()),
            None if options.standard is None else get_standard(options.standard),
            None if options.baseline is None else baseline.read(options.baseline, options.noise),
            options.allow_mixed,
        )

    def of(self, records: Sequence[VideoScore]) -> Verdict:
        """Judge these records.

        Raises:
            UsageError: they cannot be compared with the baseline.
        """
        summary, warnings, failed = [], [], failures(records, self.gates)
        if self.standard is not None:
            line, outside = judged(records, self.standard)
            summary.append(line)
            failed += outside
        if self.baseline is not None:
            found = baseline.judge(records, self.baseline, allow_mixed=self.allow_mixed)
            summary.append(found.summary)
            warnings += [f"warning: {text}" for text in found.warnings]
            failed += found.worse
        return Verdict(tuple(summary), tuple(warnings), tuple(failed))
