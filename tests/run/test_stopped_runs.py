"""Runs that are stopped, and runs side by side: what is on disk, and what goes on from there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from run_files import BLANK, Said, go, jobs_in, names_in, scored, three_videos

from lipscore.eval.run.jobs import Job, Task
from lipscore.eval.run.runner import run
from lipscore.eval.run.work import on_threads
from lipscore.eval.stop import Stop
from lipscore.eval.store.records import RecordStore, read_records
from lipscore.eval.store.scores_file import append_lines, read_scores
from lipscore.types import VideoScore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return three_videos(tmp_path)


SLOW_RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from run_files import BLANK, Said, jobs_in, scored
from lipscore.eval.store.records import RecordStore
from lipscore.eval.run.jobs import Task
from lipscore.eval.run.runner import run
from lipscore.eval.run.work import on_threads

def score(job, sha256):
    if job.name == "c":
        try:
            print("waiting", flush=True)
            time.sleep(60)
        finally:
            time.sleep(0.5)
            print("cleaned up", flush=True)
    return scored(job)

folder = Path(sys.argv[1])
task = Task(BLANK, "s", folder / "all_scores.txt")
jobs, store, said = jobs_in(folder / "in"), RecordStore(folder / "out"), Said()
outcome = run(jobs, on_threads(jobs, score, task, store, said), task, store, said)
sys.exit(outcome.interrupted or 0)
"""


@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
)
def test_a_run_that_is_stopped_keeps_what_it_has_and_goes_on_from_there(
    folder: Path, signum: signal.Signals, status: int
) -> None:
    code = SLOW_RUN.format(tests=str(Path(__file__).parent))
    child = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "waiting\n"
    child.send_signal(signum)
    if signum != signal.SIGKILL:
        child.send_signal(signum)  # as make and a terminal do: the second must not break off the cleaning up
        assert child.stdout.read() == "cleaned up\n"
    assert child.wait(20) == status
    child.stdout.close()
    assert names_in(folder) == ["a", "b"]
    records, problems = read_records(folder / "out" / "scores.jsonl")
    assert [record.score.name for record in records] == ["a", "b"] and not problems
    outcome, said = go(folder)
    assert said.done == [("a", True), ("b", True), ("c", False)] and outcome.interrupted is None
    assert names_in(folder) == ["a", "b", "c"]


def test_no_signal_breaks_off_the_writing_of_a_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(path: Path, lines: list[str]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        append_lines(path, lines)

    monkeypatch.setattr("lipscore.eval.run.runner.append_lines", slowly)
    outcome, _ = go(folder)
    assert outcome.interrupted == 143
    assert names_in(folder) == ["a"] and len(read_records(folder / "out" / "scores.jsonl")[0]) == 1


def test_a_result_is_on_disk_when_its_video_is_done_whatever_others_do(folder: Path) -> None:
    written = threading.Event()

    def score(job: Job) -> VideoScore:
        if job.name == "a":  # the first video is the slowest: the others must not wait for it
            assert written.wait(60), "b and c were not written while a was scored"
        return scored(job)

    def look() -> None:
        while len(names_in(folder)) < 2 or not (folder / "out" / "scores.jsonl").is_file():
            time.sleep(0.01)
        written.set()

    (folder / "all_scores.txt").touch()
    threading.Thread(target=look, daemon=True).start()
    outcome, said = go(folder, score, workers=2)
    assert names_in(folder) == [name for name, _ in said.done] == ["b", "c", "a"]
    assert [record.score.name for record in outcome.records] == ["a", "b", "c"], "the outcome is in order of the jobs"
    assert said.started_names == ["a", "b", "c"]


def test_finished_videos_are_kept_when_the_run_is_stopped(folder: Path) -> None:
    """b and c are done while a still runs: neither may be lost, and what breaks off must not count as a failure."""
    done = {name: threading.Event() for name in "bc"}
    stop = Stop()

    def score(job: Job) -> VideoScore:
        if job.name == "a":
            assert all(event.wait(20) for event in done.values())
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(2000):
                stop.check()
                time.sleep(0.01)
            raise AssertionError("not stopped")
        found = scored(job)
        threading.Timer(0.05, done[job.name].set).start()
        return found

    task = Task(BLANK, "s", folder / "all_scores.txt")
    store = RecordStore(folder / "out")
    jobs = jobs_in(folder / "in")
    backend = on_threads(jobs, lambda job, _: score(job), task, store, Said(), workers=2, stop=stop)
    outcome = run(jobs, backend, task, store, Said())
    assert outcome.interrupted == 143 and names_in(folder) == ["b", "c"]
    assert go(folder)[1].done == [("a", False), ("b", True), ("c", True)]


def test_two_runs_at_once_interleave_whole_lines(folder: Path) -> None:
    code = re.sub(r"time.sleep\(60\)", "pass", SLOW_RUN.format(tests=str(Path(__file__).parent)))
    code = code.replace('folder / "out"', "folder / sys.argv[2]")
    for k in range(30):
        (folder / "in" / f"n{k}.mp4").write_bytes(b"." * (10 + k))
    runs = [subprocess.Popen([sys.executable, "-c", code, str(folder), out], stdout=subprocess.DEVNULL) for out in "xy"]
    assert [child.wait(60) for child in runs] == [0, 0]
    scores = read_scores(folder / "all_scores.txt")
    assert len(scores.rows) == 66 and not scores.malformed
