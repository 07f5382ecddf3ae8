"""A run that is killed again and again, at any moment, with SIGKILL: what a video's end put on disk is never lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lipscore.eval.store.records import read_records
from lipscore.eval.store.scores_file import read_scores

KILLS, VIDEOS = 20, 120
RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from run_files import BLANK, jobs_in, scored
from lipscore.eval.run.jobs import Silent, Task
from lipscore.eval.run.runner import run
from lipscore.eval.run.work import on_threads
from lipscore.eval.store.records import RecordStore

folder = Path(sys.argv[1])

class Told(Silent):
    def finished(self, done, total, record, resumed, seconds):
        if not resumed:
            print(record.score.name, flush=True)

def score(job, sha256):
    time.sleep(int(job.name[1:]) % 5 / 100)  # so that workers end out of order
    return scored(job)

print("ready", flush=True)
task = Task(BLANK, "s", folder / "all_scores.txt")
jobs, store, told = jobs_in(folder / "in"), RecordStore(folder / "out"), Told()
run(jobs, on_threads(jobs, score, task, store, told, workers=3), task, store, told)
"""


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(VIDEOS):
        (tmp_path / "in" / f"v{k:03d}.mp4").write_bytes(b"." * (k + 1))
    code = RUN.format(tests=str(Path(__file__).parent))
    chance = random.Random(18)
    told: list[str] = []
    killed = 0
    while killed < KILLS:
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.12))
        child.kill()
        told += child.stdout.read().split()
        child.wait()
        child.stdout.close()
        killed += 1
        records, problems = read_records(tmp_path / "out" / "scores.jsonl")
        held = {record.score.name for record in records}
        assert not problems and held >= set(told), "what was said to be done is on disk"
        assert len(records) == len(held), "nothing was scored twice"
    assert told, "the kills came too early to lose anything"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    names = {f"v{k:03d}" for k in range(VIDEOS)}
    records, problems = read_records(tmp_path / "out" / "scores.jsonl")
    assert {record.score.name for record in records} == names and not problems
    assert len(records) == VIDEOS
    scores = read_scores(tmp_path / "all_scores.txt")
    assert {row.name for row in scores.rows} == names and not scores.malformed
