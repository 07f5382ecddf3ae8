"""`lipscore score --baseline RESULTS`: find the videos that are worse than in earlier results by more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipscore.errors import UsageError
from lipscore.eval.report.table.build import ABS_OFFSET, Column, columns_of
from lipscore.eval.report.table.read import Band, Results, mixed, other_noise, read_noise, read_results
from lipscore.types import VideoScore


@dataclass(frozen=True, slots=True)
class Baseline:
    """The results to compare with, and the noise band of each score."""

    results: Results
    bands: Mapping[str, Band]
    noise_signature: str


@dataclass(frozen=True, slots=True)
class Judged:
    """summary: one line for the reader; worse: a line for each video that is worse, missing or no longer scored."""

    summary: str
    worse: tuple[str, ...]
    warnings: tuple[str, ...]


def read(folder: Path, noise: Path | None) -> Baseline:
    """Read the baseline; its noise band is in `noise`, else in its own folder.

    Raises:
        MissingError: there are no results, or no band.
        UsageError: the baseline's records were made with different settings.
    """
    bands, signature = read_noise(noise or folder)
    return Baseline(read_results("baseline", folder), bands, signature)


def judge(records: Sequence[VideoScore], baseline: Baseline, *, allow_mixed: bool = False) -> Judged:
    """Compare each video with the baseline's video of the same name.

    Raises:
        UsageError: this run and the baseline have different settings, and allow_mixed is not set.
    """
    signature = records[0].signature if records else ""
    run = Results("this run", Path(), {score.name: score for score in records}, signature, "")
    differs = mixed([baseline.results, run]) if signature and baseline.results.signature else []
    if differs and not allow_mixed:
        raise UsageError(f"--baseline: {differs[0]}; score with the same settings, or give --allow-mixed")
    warnings = [*differs, *([said] if (said := other_noise(baseline.noise_signature, run)) else [])]
    columns = [column for column in columns_of([baseline.results]) if column.name in baseline.bands]
    worse: list[str] = []
    counts = {"worse": 0, "better": 0, "within": 0}
    for name, before in baseline.results.scored.items():
        now = run.scores.get(name)
        if now is None:
            worse.append(f"{name}: in the baseline, but not in this run")
        elif now.status != "ok":
            worse.append(f"{name}: scored in the baseline, now {now.status}: {now.reason}")
        elif now.silent:
            worse.append(f"{name}: scored in the baseline, now silent: no audible speech")
        else:
            verdict, said = _verdict(before, now, columns, baseline.bands)
            counts[verdict] += 1
            worse += [f"{name}: {said}"] if verdict == "worse" else []
    new = len(run.scores.keys() - baseline.results.scored.keys())
    judged_by = ", ".join(column.title for column in columns)
    summary = (
        f"against the baseline {baseline.results.folder} by {judged_by}: {counts['worse']} worse, {counts['better']} "
        f"better, {counts['within']} within the noise band"
        f"{f'; {new} videos are not in the baseline' if new else ''}"
    )
    return Judged(summary, tuple(worse), tuple(warnings))


def _verdict(
    before: VideoScore, now: VideoScore, columns: Sequence[Column], bands: Mapping[str, Band]
) -> tuple[str, str]:
    """("worse", "better" or "within", why it is worse); a video that is worse in one score is worse."""
    worse, better = [], False
    for column in columns:
        was, is_now = column.of(before), column.of(now)
        if was is None:
            continue
        if is_now is None:
            worse.append(f"{column.title} is missing now")
            continue
        gain, band = column.sign * (is_now - was), bands[column.name].video
        if gain < -band:
            unit = " ms" if column.name == ABS_OFFSET else ""
            worse.append(f"{column.title} {was:{column.form}} -> {is_now:{column.form}}{unit} (band {band:.3f})")
        better = better or gain > band
    return "worse" if worse else "better" if better else "within", f"worse: {', '.join(worse)}"
