"""Tasks through a real Dask cluster of processes on this machine."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.dask_pool import through_dask
from mim3d.data.limits import GB, Limits
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.pool import Lost
from mim3d.data.prepare import State, prepare_store
from mim3d.errors import ConfigError

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install 'mim3d[dask]'")

pytestmark = pytest.mark.filterwarnings("default")  # Dask closes sockets when it comes to it


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes of one thread each; its dashboard on any free port."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit="4GB"
    ) as cluster:
        yield cluster


def test_each_task_is_supervised_where_it_is_done(cluster: Any) -> None:
    address = cluster.scheduler_address
    outcomes = list(through_dask(time.sleep, [60.0, 0.0], address, Limits(0.5, GB)))
    assert sorted(map(str, outcomes))[1] == "None"
    (late,) = (one for one in outcomes if isinstance(one, Lost))
    assert (late.task, late.reason.split(";")[0]) == (60.0, "took longer than 0.5 s")
    (lost,) = through_dask(signal.raise_signal, [signal.SIGSEGV], address, Limits(60.0, GB))
    assert isinstance(lost, Lost)
    assert "its worker process crashed, ended by SIGSEGV" in lost.reason


def test_a_killed_worker_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    make_phantoms(tmp_path / "raw", PhantomOptions(shape=(40, 36, 32), spacing=8.0), cases=6)
    killed: list[int] = []

    def kill_one(state: State) -> None:
        if state.done == 2 and not killed:
            process = next(iter(cluster.workers.values())).process.process
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    given: dict[str, Any] = {"spacing": (8.0, 8.0, 8.0)}
    found = prepare_store(
        tmp_path / "raw",
        tmp_path / "store",
        scheduler=cluster.scheduler_address,
        on_progress=kill_one,
        **given,
    )
    assert killed
    assert (found.made, found.rejected) == (6, ())
    assert prepare_store(tmp_path / "raw", tmp_path / "store", workers=1, **given).kept == 6


def test_no_scheduler_is_said() -> None:
    with pytest.raises(ConfigError, match=r"scheduler: none answers at nowhere; give the address that"):
        list(through_dask(str, ["a"], "nowhere", Limits()))
