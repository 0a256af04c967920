"""Pieces by thread: every piece once, in order, without gradient, each thread alone."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch

from mim3d.model.pieces import by_thread

CPU, META = torch.device("cpu"), torch.device("meta")

FORKED = """
import os, signal, torch
from mim3d.model.pieces import by_thread
torch.set_num_threads(2)
cpu = torch.device("cpu")
assert len(by_thread(len, [1, 2], cpu)) == 2
child = os.fork()
if not child:
    signal.alarm(10)  # ends a child that waits for threads which it does not have
    os._exit(len(by_thread(len, [1, 2], cpu)))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


pytestmark = pytest.mark.usefixtures("two_threads")


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("device", [CPU, META])
def test_every_piece_is_taken_once_and_in_order(count: int, device: torch.device) -> None:
    results = by_thread(list, range(count), device)
    assert [piece for some in results for piece in some] == list(range(count))
    assert len(results) == (2 if device == CPU and count > 1 else 1)


def test_threads_compute_alone_and_without_gradient() -> None:
    def state(_: Sequence[int]) -> tuple[int, bool]:
        return torch.get_num_threads(), torch.is_grad_enabled()

    assert by_thread(state, [1, 2, 3], CPU) == [(1, False)] * 2
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled()


def test_threads_infer_where_the_caller_does() -> None:
    def infers(_: Sequence[int]) -> bool:
        return torch.is_inference_mode_enabled()

    assert by_thread(infers, [1, 2], CPU) == [False] * 2
    with torch.inference_mode():
        assert by_thread(infers, [1, 2], CPU) == [True] * 2


def test_an_error_reaches_the_caller() -> None:
    def fail(some: Sequence[int]) -> None:
        if 3 in some:
            raise ValueError("of the third")

    with pytest.raises(ValueError, match="of the third"):
        by_thread(fail, [1, 2, 3], CPU)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "2"
