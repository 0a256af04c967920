"""Many small tasks in supervised processes: what breaks a worker costs one of them."""

import os
import signal
import time
from pathlib import Path

import pytest

from mim3d.data.groups import Supervision, in_groups
from mim3d.data.limits import GB, Limits, cores
from mim3d.data.pool import Lost
from mim3d.errors import ConfigError


def obey(order: str) -> str:
    """What the order says: end, crash, hang, take memory, count how often it was tried, or echo."""
    if order == "end":
        os._exit(3)
    if order == "crash":
        signal.raise_signal(signal.SIGSEGV)
    if order == "hang":
        time.sleep(60)
    if order == "grow":
        return str(len(bytearray(2 * GB)))
    if order.startswith("/"):
        with Path(order).open("a") as tried:
            tried.write("x")
        os._exit(4)
    return order


def process_of(_: int) -> int:
    time.sleep(0.01)
    return os.getpid()


def test_without_supervision_all_is_done_here_in_order() -> None:
    assert list(in_groups(process_of, [3, 1], None)) == [(3, os.getpid()), (1, os.getpid())]
    assert list(in_groups(process_of, [], Supervision())) == []


def test_all_workers_take_part() -> None:
    told: list[tuple[int, int]] = []
    supervision = Supervision(workers=2, on_progress=lambda done, total: told.append((done, total)))
    outcomes = list(in_groups(process_of, list(range(40)), supervision))
    assert sorted(item for item, _ in outcomes) == list(range(40))
    assert len({process for _, process in outcomes}) == 2
    assert os.getpid() not in {process for _, process in outcomes}
    assert told == sorted(told)
    assert told[-1] == (40, 40)


def test_whatever_breaks_a_worker_costs_one_item() -> None:
    orders = [*"abcdefgh", "end", *"ijklmnop", "crash", *"qrstu", "grow", *"vwxyz"]
    told: list[tuple[int, int]] = []
    supervision = Supervision(
        workers=1, limits=Limits(600.0, GB), on_progress=lambda done, total: told.append((done, total))
    )
    outcomes = dict(in_groups(obey, orders, supervision))
    assert outcomes.keys() == set(orders)
    lost = {item: outcome.reason for item, outcome in outcomes.items() if isinstance(outcome, Lost)}
    assert lost == {
        "end": "its worker process crashed, ended with status 3: the file breaks what reads it",
        "crash": "its worker process crashed, ended by SIGSEGV: the file breaks what reads it",
        "grow": "needs more than the 1 GB of memory that a case may take; take fewer workers or raise "
        "--case-memory, or leave it out",
    }
    assert all(outcomes[letter] == letter for letter in "abcdefghijklmnopqrstuvwxyz")
    assert told[-1] == (29, 29)


def test_what_hangs_costs_itself() -> None:
    outcomes = dict(in_groups(obey, ["a", "hang", "b"], Supervision(workers=1, limits=Limits(1.0))))
    assert (outcomes["a"], outcomes["b"]) == ("a", "b")
    assert outcomes["hang"] == Lost("hang", "took longer than 1 s; if it needs more, raise --case-seconds")


def test_what_was_alone_is_not_tried_again(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    ((item, outcome),) = in_groups(obey, [str(tried)], Supervision(workers=1), most=1)
    assert isinstance(outcome, Lost)
    assert (item, outcome.task) == (str(tried), str(tried))
    assert tried.read_text() == "x"


def test_no_worker_is_too_few() -> None:
    assert Supervision(workers=3).processes == 3
    assert Supervision().processes == cores()
    with pytest.raises(ConfigError, match="workers must be at least 1, got 0"):
        Supervision(workers=0)
