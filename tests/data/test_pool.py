"""Tasks in processes of their own."""

import os

import pytest

from mim3d.data.pool import in_processes
from mim3d.errors import DataError


def double(number: int) -> int:
    return 2 * number


def end(number: int) -> int:
    os._exit(number)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done(workers: int) -> None:
    assert sorted(in_processes(double, [1, 2, 3], workers)) == [2, 4, 6]


def test_no_task_needs_no_process() -> None:
    assert list(in_processes(double, [], 2)) == []


def test_a_killed_process_is_said() -> None:
    with pytest.raises(DataError, match="a worker process of 2 was ended from outside, most likely for want"):
        list(in_processes(end, [1, 2], 2))
