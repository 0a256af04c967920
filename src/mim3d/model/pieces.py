"""Pieces of a block at once: on a CPU each thread takes its own, elsewhere they go one after another.

Threads that share each operation wait for each other after every one of them, and pieces are short. So each
thread computes its pieces alone. Which thread takes which piece depends on their numbers only, and so does
the order in which sums over pieces are taken.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def by_thread(
    compute: Callable[[Sequence[Piece]], Result], pieces: Sequence[Piece], device: torch.device
) -> list[Result]:
    """What `compute`, without gradient, gives of each thread's pieces; in the order of the pieces.

    Args:
        compute: From some pieces, in order, to a result.
        pieces: At least one.
        device: Where they lie.

    Returns:
        As many results as there were threads with something to do.
    """
    threads = min(torch.get_num_threads() if device.type == "cpu" else 1, len(pieces))
    if threads == 1:
        return [compute(pieces)]
    share = -(-len(pieces) // threads)
    shares = [pieces[begin : begin + share] for begin in range(0, len(pieces), share)]

    def alone(some: Sequence[Piece]) -> Result:
        with torch.no_grad():
            return compute(some)

    return list(_pool(threads).map(alone, shares))


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
