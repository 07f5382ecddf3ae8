"""A run on Ray: the same records as on threads, whatever dies in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipscore.eval.options import (
    BACKENDS,
    InputOptions,
    ModelOptions,
    OutputOptions,
    ProtocolOptions,
    Request,
    RunOptions,
)
from lipscore.eval.run.batch import Ran, run_batch
from lipscore.eval.run.jobs import Silent
from lipscore.eval.store.records import as_json, read_records
from lipscore.eval.store.scores_file import read_scores

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'lipscore[ray]'")
from lipscore.eval.run.cluster.crew import Crew, Hands  # noqa: E402
from lipscore.eval.run.cluster.worker import examine, versions  # noqa: E402

if sys.platform != "linux":
    pytest.skip("Ray clusters of several nodes on one machine need Linux", allow_module_level=True)


class Sleeper:
    """An actor that sleeps, dies or waits, as the item says."""

    def begin(self) -> str:
        return ""

    def work(self, item: float | str) -> float | str:
        if item == "die" or (isinstance(item, str) and item.startswith("once:") and not Path(item[5:]).exists()):
            if item != "die":
                Path(item[5:]).touch()
            os._exit(9)
        if isinstance(item, float):
            time.sleep(item)
        return item

    def stop(self) -> None:
        pass


def hands(said: list[str], *, begin: Callable[[Any], Any] | None = None) -> Hands[Any, Any]:
    actor = ray.remote(num_cpus=0)(Sleeper)
    return Hands(
        spawn=actor.remote,
        begin=begin or (lambda worker: worker.begin.remote()),
        work=lambda worker, item: worker.work.remote(item),
        stop=lambda worker: worker.stop.remote(),
        take=lambda index, value: value,
        lost=lambda index, why: f"lost: {why}",
        say=said.append,
    )


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test's module
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


def request(inputs: list[Path], out: Path, on: str, workers: int = 2) -> Request:
    return Request(
        InputOptions(tuple(inputs)),
        ProtocolOptions("mochabench"),
        ModelOptions(model="mini", device="cpu"),
        run=RunOptions(on=on, workers=workers),
        output=OutputOptions(out, out / "all_scores.txt", keep_pictures=True),
    )


def score(inputs: list[Path], out: Path, on: str, workers: int = 2) -> Ran:
    return run_batch(request(inputs, out, on, workers), Silent())


def contents(out: Path) -> tuple[dict[str, Any], Counter[str]]:
    """Records without times, by name, and the lines of the scores file."""
    records, problems = read_records(out / "scores.jsonl")
    assert not problems
    found = {record.score.name: as_json(replace(record, score=replace(record.score, seconds={}))) for record in records}
    assert len(found) == len(records), "a video has two records"
    return found, Counter((out / "all_scores.txt").read_text().splitlines())


def test_a_dead_worker_is_replaced_and_its_item_tried_once_more(local_ray: None, tmp_path: Path) -> None:
    said: list[str] = []
    once = f"once:{tmp_path / 'mark'}"
    items = [0.01, "die", 0.02, once, "last"]
    crew = Crew(items, hands(said), 2)
    got = list(crew.results())
    assert sorted(index for index, _ in got) == [0, 1, 2, 3, 4]
    results = dict(got)
    assert str(results.pop(1)).startswith("lost: ")
    assert results == {0: 0.01, 2: 0.02, 3: once, 4: "last"}


def test_what_waits_behind_a_poison_item_is_not_charged_with_it(local_ray: None) -> None:
    """One worker holds the item and the next; both times that it dies on the one, the other had not begun."""
    begun: list[Any] = []
    items = ["die", "a", "b", "c", "d", "e", "f"]
    crew = Crew(items, hands([]), 1, started=begun.append)
    got = {}
    for number, (index, value) in enumerate(crew.results(), start=1):
        got[index] = value
        assert len(begun) <= number + 2  # what waits has not begun; the poison item begins twice
    assert got.pop(0).startswith("lost: ")
    assert got == dict(enumerate(items[1:], start=1))
    assert begun == ["die", "die", *items[1:]]


def test_a_run_on_ray_is_a_run_on_threads(local_ray: None, talk: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    inputs = [talk, bad]
    ran = score(inputs, tmp_path / "ray", "ray")
    here = score(inputs, tmp_path / "threads", "threads")
    assert contents(tmp_path / "ray") == contents(tmp_path / "threads")
    kept, there = ({path.name: path.read_bytes() for path in (tmp_path / on / "pictures").iterdir()} for on in BACKENDS)
    assert kept == there and len(kept) == 1
    assert ran.exit_status == here.exit_status == 1 and ran.made == here.made
    again = score(inputs, tmp_path / "ray", "ray")
    assert again.outcome.resumed == 1
    assert len(read_scores(tmp_path / "ray" / "all_scores.txt").rows) == len(ran.outcome.records[0].score.tracks)


def test_a_node_that_is_not_as_the_driver_is_refused_by_name(tmp_path: Path) -> None:
    assert examine(versions(), [str(tmp_path)]).refusal == ""
    other = versions() | {"torch": "1.0"}
    assert "torch" in examine(other, []).refusal and "the driver has 1.0" in examine(other, []).refusal
    assert str(tmp_path / "none") in examine(versions(), [str(tmp_path / "none")]).refusal
    os_version = versions()["FFmpeg"]
    assert examine(versions() | {"FFmpeg": os_version + "x"}, []).differs == (
        f"FFmpeg {os_version}, but the driver has {os_version}x",
    )


@pytest.fixture
def nodes() -> Iterator[Any]:
    """(A cluster of three nodes with a CPU each, the last of them)."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.shutdown()
    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    added = [cluster.add_node(**small) for _ in range(2)]
    cluster.wait_for_nodes()
    yield cluster, added[-1]
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty short clips of unequal length."""
    from lipscore.demo.clips import render_clip

    folder = tmp_path_factory.mktemp("thirty")
    for seed in range(30):
        render_clip(folder / f"c{seed:02}.mp4", seed=seed, seconds=2.2 + seed % 4 * 0.4, size=(224, 224))
    return folder


@pytest.mark.slow
def test_thirty_clips_on_three_nodes_are_as_on_threads_with_a_node_killed_in_the_middle(
    nodes: Any, thirty: Path, tmp_path: Path
) -> None:
    cluster, last = nodes
    ray.init(address=cluster.address, log_to_driver=False)
    killed: list[int] = []

    class Killing(Silent):
        def finished(self, done: int, *_: Any) -> None:
            if done == 8:
                cluster.remove_node(last, allow_graceful=False)
                killed.append(done)

        def videos(self, total: int) -> Killing:
            return self

    ran = run_batch(request([thirty], tmp_path / "ray", "ray", 3), Killing())
    assert ran.counts.scored == 30
    score([thirty], tmp_path / "threads", "threads")
    assert killed == [8]
    assert contents(tmp_path / "ray") == contents(tmp_path / "threads")


def scoring(thirty: Path, out: Path, address: str) -> subprocess.Popen[bytes]:
    where = ["--out", out, "--scores-file", out / "all_scores.txt", "--ray-address", address]
    command = [sys.executable, "-m", "lipscore", "score", thirty, "--on", "ray", *where, "--workers", "3"]
    return subprocess.Popen([*map(str, command), "--model", "mini", "--protocol", "mochabench"])


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_ends_leaves_nothing_running_and_goes_on(
    nodes: Any, thirty: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    cluster, out = nodes[0], tmp_path / "out"
    first = scoring(thirty, out, cluster.address)
    while not (out / "scores.jsonl").is_file() or len(read_records(out / "scores.jsonl")[0]) < 5:
        assert first.poll() is None
        time.sleep(0.1)
    start = time.monotonic()
    first.send_signal(signum)
    status = first.wait(60)
    assert status == (130 if signum == signal.SIGINT else -9)
    assert signum == signal.SIGKILL or time.monotonic() - start < 15
    held = len(read_records(out / "scores.jsonl")[0])
    ray.init(address=cluster.address, log_to_driver=False)
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0) < 3:  # the workers of the dead driver are gone
        assert time.monotonic() < deadline
        time.sleep(0.5)
    ray.shutdown()
    assert 5 <= held < 30
    assert scoring(thirty, out, cluster.address).wait(300) == 0
    assert len(contents(out)[0]) == 30
    score([thirty], tmp_path / "threads", "threads")
    assert contents(out) == contents(tmp_path / "threads")


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "workers", "wall"), [(1_000, 1, 25), (1_000, 8, 40), (1_000, 64, 60), (10_000, 64, 160)]
)
def test_sleeping_jobs_keep_all_workers_busy(local_ray: None, jobs: int, workers: int, wall: float) -> None:
    """Lognormal durations; the order is by a size that tells the duration only roughly, as a file's does.

    With 64 workers a job takes 3.8 or 1.0 seconds on average, as a short video does on a GPU or on two cores. The clock
    starts when all workers have, because starting them costs the same for any number of jobs.
    """
    chance = random.Random(jobs)
    raw = [chance.lognormvariate(0, 0.7) for _ in range(jobs)]
    scale = wall * workers / sum(raw)  # the wall time, were there no overhead
    durations = [value * scale for value in raw]
    sizes = [value * chance.lognormvariate(0, 0.3) for value in durations]
    order = sorted(range(jobs), key=lambda index: -sizes[index])
    work = hands([])
    actors = [work.spawn() for _ in range(workers)]
    ray.get([actor.begin.remote() for actor in actors])
    crew = Crew(durations, work, workers, order=order, actors=actors)
    seen: set[int] = set()
    before, start, cpu = memory(), time.perf_counter(), time.process_time()
    for index, _ in crew.results():
        seen.add(index)
    took, driver = time.perf_counter() - start, time.process_time() - cpu
    assert seen == set(range(jobs))
    efficiency = sum(durations) / (took * workers)
    overhead = (took * workers - sum(durations)) / jobs
    print(
        f"{jobs} jobs of {sum(durations) / jobs:.2f} s, {workers} workers: efficiency {efficiency:.3f}, "
        f"{overhead * 1e3:.1f} ms of a worker and {driver / jobs * 1e3:.2f} ms of the driver's CPU per job"
    )
    assert memory() - before < 20 << 20
    assert driver / jobs < 0.02  # CPU time, which a busy machine does not change much
