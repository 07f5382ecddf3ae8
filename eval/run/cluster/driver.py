"""The driver of a run on Ray: it connects, compares the nodes with itself, starts workers and reads their replies."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lipscore.errors import LipscoreError, MissingError
from lipscore.eval import pictures
from lipscore.eval.options import Request
from lipscore.eval.run.backends import Made
from lipscore.eval.run.cluster.crew import Crew, Hands, said
from lipscore.eval.run.cluster.worker import Failure, Node, Order, Reply, Worker, examine, versions
from lipscore.eval.run.floor import Floor
from lipscore.eval.run.inputs.fetch import url_of
from lipscore.eval.run.jobs import Job, Progress, Reporter, Task
from lipscore.eval.run.runner import Outcome
from lipscore.eval.run.work import Done, about
from lipscore.eval.store.records import Record, RecordStore
from lipscore.pool import available_cores
from lipscore.types import whose

EXAMINE_S = 120.0  # a node that takes longer to answer is refused
OTHERS_S = 60.0  # how long other workers are waited for where one cannot load the networks
OBJECT_STORE = 100 << 20  # bytes; records are small, and videos and weights never pass through it


class Cluster:
    """A Ray cluster with workers that have loaded the networks, while entered.

    Args:
        jobs: the jobs to score.

    Raises:
        MissingError: the cluster cannot be reached, or none of its nodes can be used.
    """

    def __init__(self, request: Request, jobs: Sequence[Job], reporter: Reporter) -> None:
        self._request, self._jobs, self._reporter = request, jobs, reporter
        self._own = not ray.is_initialized()
        self._refused: list[str] = []
        self._actors: list[Any] = []
        self.made: Made

    def __enter__(self) -> Cluster:
        if self._own:
            _connect(self._request.run.ray_address)
        try:
            places = self._places(self._usable())
            wanted = self._request.run.workers or places
            if not wanted:
                raise MissingError(self._no_room())
            self._count = min(wanted, len(self._jobs))
            self._order = ray.put(self._make_order())
            self._actors = [self._spawn() for _ in range(self._count)]
            self.made = self._first_made()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._own:
            ray.shutdown()
        else:
            for actor in self._actors:
                ray.kill(actor)

    def backend(self, task: Task, store: RecordStore | None, progress: Progress) -> Crew[Job, Done]:
        """The workers, ready to score the jobs."""
        made = ray.put(self.made)
        keys = ray.put(store.keys(task.settings) if store is not None and task.resume else frozenset())
        hands: Hands[Job, Done] = Hands(
            spawn=self._spawn,
            begin=lambda actor: actor.begin.remote(made, keys),
            work=lambda actor, job: actor.work.remote(job),
            stop=lambda actor: actor.stop.options(concurrency_group="control").remote(),
            take=partial(self._take, store, progress),
            lost=partial(self._lost, task),
            say=progress.trouble,
        )
        actors, self._actors = self._actors, []
        order = sorted(range(len(self._jobs)), key=lambda index: -_size(self._jobs[index]))
        return Crew(self._jobs, hands, self._count, order=order, actors=actors, started=progress.started)

    def floors(self, _: Outcome) -> list[Floor]:
        """Always empty: a cluster keeps no embeddings."""
        return []

    def _take(self, store: RecordStore | None, progress: Progress, index: int, reply: Reply) -> Done | None:
        for trouble in reply.troubles:
            progress.trouble(trouble)
        if reply.failure is not None:
            raise reply.failure.raised()
        done = reply.done
        if done is None:
            return None
        if done.held is not None and store is not None:
            held = store.held(done.held.key, about(self._jobs[index]))
            assert held is not None
            done = replace(done, record=held, held=held)
        out = self._request.output.out
        if reply.pictures is not None and out is not None:
            pictures.write(out, done.record.settings, done.record.score, reply.pictures)
        return replace(done, job=self._jobs[index])

    def _lost(self, task: Task, index: int, why: str) -> Done:
        job = self._jobs[index]
        reason = f"its worker died twice on it ({why}); give workers more memory, or score it alone to see why"
        score = replace(task.blank, video=job.where, name=job.name, status="worker_lost", reason=reason)
        return Done(job, Record(score, task.settings), None, 0.0)

    def _make_order(self) -> Order:
        request, run = self._request, self._request.run
        models = request.models
        if models.cores is None:
            models = replace(models, cores=max(1, math.floor(run.cpus_per_worker)))
        audio = whose([job.audio for job in self._jobs])
        folder, keeps = str(Path.cwd()), request.output.keep_pictures
        return Order(request.protocol, models, request.reference, folder, request.run.limits, audio, keeps)

    def _spawn(self) -> Any:
        run = self._request.run
        options: dict[str, Any] = {
            "num_cpus": run.cpus_per_worker,
            "num_gpus": run.gpus_per_worker,
            "concurrency_groups": {"control": 1},
        }
        if self._refused:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(self._refused)})"}
        return ray.remote(**options)(Worker).remote(self._order)

    def _first_made(self) -> Made:
        """The setup that the first worker reports after it has loaded its networks."""
        waiting = {actor.load.remote(): actor for actor in self._actors}
        failure: LipscoreError | None = None
        while waiting:
            # the others may wait for nodes that never come
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=None if failure is None else OTHERS_S)
            if not ready:
                break
            reference = ready[0]
            del waiting[reference]
            try:
                made = ray.get(reference)
            except RayError as error:
                failure = failure or MissingError(f"a worker died while it loaded the networks: {said(error)}")
                continue
            if not isinstance(made, Failure):
                return made  # type: ignore[no-any-return]
            failure = failure or made.raised()
        assert failure is not None
        raise failure

    def _usable(self) -> list[dict[str, Any]]:
        """The nodes that have room for a worker and match the driver; a line for the user names each refused node.

        Raises:
            MissingError: nodes have room, but all of them are refused.
        """
        roomy = [node for node in ray.nodes() if node["Alive"] and self._places([node])]
        found = list(zip(roomy, self._examined(roomy), strict=True))
        for node, seen in found:
            if seen.refusal:
                self._refused.append(node["NodeID"])
                self._reporter.say(f"node {seen.name} ({node['NodeID'][:8]}) is refused: {seen.refusal}")
        if roomy and len(self._refused) == len(roomy):
            raise MissingError("no node of the cluster can be used; the reasons are above")
        return [node for node, seen in found if not seen.refusal]

    def _examined(self, nodes: Sequence[dict[str, Any]]) -> list[Node]:
        task = ray.remote(examine)
        wanted, paths = versions(), self._paths()
        asked = [
            task.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(wanted, paths)
            for node in nodes
        ]
        answers: list[Node] = []
        for node, reference in zip(nodes, asked, strict=True):
            try:
                answers.append(ray.get(reference, timeout=EXAMINE_S))
            except (RayError, RuntimeError) as error:
                why = f"lipscore cannot be run there ({said(error)})"
                answers.append(Node(node.get("NodeManagerHostname", "?"), (why,), ()))
        return answers

    def _paths(self) -> list[str]:
        """The paths that must exist on every node: the named inputs and folders."""
        inputs, models = self._request.inputs, self._request.models
        named = [
            *inputs.inputs,
            inputs.reference,
            inputs.audio,
            models.detections,
            models.weights_dir,
            models.mini_weights,
        ]
        here = [path for path in named if path is not None and not url_of(path) and path.exists()]
        return [str(path.absolute()) for path in here]

    def _places(self, nodes: Sequence[dict[str, Any]]) -> int:
        """The number of workers that the nodes can hold."""
        run, places = self._request.run, 0
        for node in nodes:
            has = node["Resources"]
            here = has.get("CPU", 0) / run.cpus_per_worker
            if run.gpus_per_worker:
                here = min(here, has.get("GPU", 0) / run.gpus_per_worker)
            places += math.floor(here + 1e-9)
        return places

    def _no_room(self) -> str:
        run = self._request.run
        gpus = f" and {run.gpus_per_worker:g} GPUs" if run.gpus_per_worker else ""
        return (
            f"no node of the cluster has {run.cpus_per_worker:g} CPUs{gpus} for a worker; lower --cpus-per-worker or "
            "--gpus-per-worker, or give --workers N where the cluster starts nodes as they are needed"
        )


def _connect(address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
        options = {"num_cpus": available_cores(), "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise MissingError(
            f"the Ray cluster {address} cannot be reached: {said(error)}; see that it runs (`ray status`) and "
            "has the driver's versions of Ray and Python"
        ) from error


def _size(job: Job) -> float:
    """A measure of a job's time: the file's bytes, or a piece's share of them; 0 if unknown."""
    try:
        size = float(job.path.stat().st_size)
    except OSError:
        return 0.0
    return size if job.piece is None else size * float(job.piece.seconds) / max(job.piece.info.duration_s, 1e-9)
