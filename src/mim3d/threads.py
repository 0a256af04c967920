"""Jobs on threads of their own, each of which computes its operations alone.

Threads that share each operation wait for each other after every one of them. So where there are jobs enough
for all threads, each takes jobs of its own.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Result = TypeVar("Result")


def run_apart(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """What the jobs give, in their order; the first error that one of them raises, once all are over.

    Args:
        jobs: At most as many as `torch.get_num_threads()`; not called from within a job.
    """
    threads = torch.get_num_threads()
    assert 1 < len(jobs) <= threads
    submitted = [_pool(threads).submit(job) for job in jobs]
    wait(submitted)
    return [done.result() for done in submitted]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads, each of which computes its operations alone."""
    all_there = Barrier(threads)
    pool = ThreadPoolExecutor(threads, initializer=_compute_alone)
    list(pool.map(lambda _: all_there.wait(), range(threads)))
    torch.set_num_threads(threads)  # for this thread, and for others to come
    return pool


def _compute_alone() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread takes the number over when it first asks, and keeps it


os.register_at_fork(after_in_child=_pool.cache_clear)
