"""Tasks in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mim3d.data.limits import GB, Limits
from mim3d.data.pool import Lost, in_processes, supervised
from mim3d.errors import DataError


def double(number: int) -> int:
    return 2 * number


def end(number: int) -> int:
    os._exit(number)


def obey(order: str) -> str:
    """What the order says: end, crash, be killed, hang, take memory, fail, or else do nothing special."""
    if order == "end":
        os._exit(3)
    if order in ("SIGSEGV", "SIGKILL", "SIGABRT"):
        signal.raise_signal(signal.Signals[order])
    if order == "hang":
        time.sleep(60)
    if order == "grow":
        return str(len(bytearray(2 * GB)))
    if order == "fail":
        raise ValueError("a mistake of ours")
    return order


def unable() -> None:
    os._exit(7)


def process_of(_: int) -> int:
    return os.getpid()


def blocked(_: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done(workers: int) -> None:
    assert sorted(in_processes(double, [1, 2, 3], workers)) == [2, 4, 6]
    assert sorted(map(str, supervised(double, [1, 2, 3], workers, Limits()))) == ["2", "4", "6"]


def test_no_task_needs_no_process() -> None:
    assert list(in_processes(double, [], 2)) == []
    assert list(supervised(double, [], 2, Limits())) == []


def test_a_killed_process_is_said() -> None:
    with pytest.raises(
        DataError, match=r"process crashed, ended with status 1: .*; what is done is kept: run"
    ):
        list(in_processes(end, [1, 1], 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_whatever_ends_a_worker_costs_its_task_alone(workers: int) -> None:
    orders = ["a", "end", "SIGSEGV", "b", "SIGKILL", "SIGABRT", "grow", "c"]
    outcomes = list(supervised(obey, orders, workers, Limits(60, GB)))
    assert sorted(one for one in outcomes if isinstance(one, str)) == ["a", "b", "c"]
    reasons = {one.task: one.reason for one in outcomes if isinstance(one, Lost)}
    assert len(outcomes) == len(orders)
    assert reasons == {
        "end": "its worker process crashed, ended with status 3: the file breaks what reads it",
        "SIGSEGV": "its worker process crashed, ended by SIGSEGV: the file breaks what reads it",
        "SIGABRT": "its worker process crashed, ended by SIGABRT: the file breaks what reads it",
        "SIGKILL": "its worker process was killed from outside, most likely for want of memory",
        "grow": "needs more than the 1 GB of memory that a case may take; take fewer workers or raise "
        "--case-memory, or leave it out",
    }


def test_what_hangs_is_given_up() -> None:
    lost, done = supervised(obey, ["hang", "a"], 1, Limits(0.3))
    assert done == "a"
    assert isinstance(lost, Lost)
    assert (lost.task, lost.reason) == (
        "hang",
        "took longer than 0.3 s; if it needs more, raise --case-seconds",
    )


def test_one_worker_is_a_process_of_its_own_and_does_many_tasks() -> None:
    first, second = supervised(process_of, [1, 2], 1)
    assert first == second != os.getpid()


def test_mistakes_of_ours_are_raised() -> None:
    with pytest.raises(ValueError, match="a mistake of ours") as caught:
        list(supervised(obey, ["fail"], 1))
    assert "in obey" in caught.value.__notes__[0]


def test_a_worker_that_cannot_begin_is_said() -> None:
    with pytest.raises(DataError, match="a worker process ended with status 7 before it could begin"):
        list(supervised(double, [1], 1, initializer=unable))


def test_workers_end_with_whoever_started_them() -> None:
    outcomes = supervised(process_of, [1, 2, 3], 1)
    process = next(outcomes)
    assert isinstance(process, int)
    outcomes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_interrupts_reach_no_worker_nor_what_it_is_forked_from() -> None:
    assert list(supervised(blocked, [1], 1)) == [True]
    assert not blocked(1)


def test_scripts_need_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom mim3d.data.pool import supervised\n"
        "print('begin', flush=True)\nprint(list(supervised(abs, [-1, -2], 1)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["begin", "[1, 2]"]
