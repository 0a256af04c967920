"""Pieces of a block at once: on a CPU each thread takes its own, elsewhere they go one after another.

A thread that computes alone already (`threads.run_apart`) takes all of its pieces itself. Which thread takes
which piece depends on their numbers only, and so does the order in which sums over pieces
are taken.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from mim3d.threads import run_apart

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
    inference = torch.is_inference_mode_enabled()  # of this thread alone: others have to be told
    share = -(-len(pieces) // threads)
    shares = [pieces[begin : begin + share] for begin in range(0, len(pieces), share)]

    def alone(some: Sequence[Piece]) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return compute(some)

    return run_apart([partial(alone, some) for some in shares])
