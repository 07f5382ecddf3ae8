"""Work side by side: in order, on so many threads, no further ahead than it says."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lipscore.pool import Pool


@pytest.mark.parametrize(("cores", "expected"), [(2, (2, 1)), (16, (8, 2)), (6, (6, 1)), (1, (1, 1))])
def test_cores_are_shared(cores: int, expected: tuple[int, int]) -> None:
    pool = Pool(cores)
    everybody = threading.Barrier(expected[0])

    def look(_: int) -> tuple[str, int]:
        everybody.wait(10)  # so that no thread does two of them
        return threading.current_thread().name, torch.get_num_threads()

    found = list(pool.spread(look, range(expected[0])))
    assert (len({name for name, _ in found}), pool.threads) == expected
    assert {number for _, number in found} == {pool.threads}


def test_beside_a_gpu_each_core_has_a_thread() -> None:
    pool = Pool(16, thread_per_core=True)
    for one in (pool, pickle.loads(pickle.dumps(pool))):
        assert (one.count, one.threads) == (16, 1)


def test_results_come_in_order_and_items_are_not_hoarded() -> None:
    pool = Pool(3)
    taken = []

    def items() -> Iterator[int]:
        for k in range(20):
            taken.append(k)
            yield k

    def work(k: int) -> int:
        time.sleep(0.01 * (k % 3))
        return k * k

    for count, result in enumerate(pool.spread(work, items())):
        assert result == count**2
        assert len(taken) <= count + 3 + 1


def test_an_error_reaches_the_caller_and_ends_the_rest() -> None:
    pool = Pool(1)
    done = []

    def work(k: int) -> int:
        if k == 2:
            raise ValueError("two")
        done.append(k)
        return k

    with pytest.raises(ValueError, match="two"):
        list(pool.spread(work, range(100)))
    assert list(pool.spread(work, [7])) == [7]  # the threads are free again
    assert set(done) <= {0, 1, 3, 7}


def test_two_callers_share_the_threads() -> None:
    pool = Pool(2)
    results: dict[int, list[int]] = {}

    def call(caller: int) -> None:
        results[caller] = list(pool.spread(lambda k: 100 * caller + k, range(50)))

    callers = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == {caller: [100 * caller + k for k in range(50)] for caller in range(4)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    pool = Pool(2)
    assert list(pool.spread(str, range(5))) == ["0", "1", "2", "3", "4"]
    child = os.fork()
    if child == 0:
        done = list(pool.spread(str, range(3)))
        os._exit(0 if done == ["0", "1", "2"] else 1)
    until = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


def test_a_pickled_pool_is_a_new_one_of_the_same_size() -> None:
    pool = pickle.loads(pickle.dumps(Pool(3)))
    assert (pool.cores, pool.count, list(pool.spread(str, range(2))), pool.run(lambda: 7)) == (3, 3, ["0", "1"], 7)
