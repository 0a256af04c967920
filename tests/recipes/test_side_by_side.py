import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mim3d.errors import Interruption
from mim3d.recipes.job_process import Job
from mim3d.recipes.side_by_side import run_side_by_side
from mim3d.train.loop import TrainingError

MakeJob = Callable[[str, str], Job]
"""From a name and the Python that is done; what other processes are to do must be known to them by name."""


@pytest.fixture
def job(tmp_path: Path) -> MakeJob:
    return lambda name, code: Job(name=name, log=tmp_path / f"{name}.log", work=partial(exec, code))


def test_all_jobs_are_done_some_at_a_time_with_a_share_of_the_threads(
    job: MakeJob, two_threads: None
) -> None:
    said = "import os, sys; print(os.environ['OMP_NUM_THREADS']); print('{}', file=sys.stderr)"
    jobs = [job("a", "import torch; print(torch.get_num_threads()); " + said.format("a"))]
    jobs += [job(name, said.format(name)) for name in ("b", "c")]
    done = list(run_side_by_side(jobs, at_once=2))
    assert sorted(one.name for one in done) == ["a", "b", "c"]
    for one in jobs:
        words = one.log.read_text().split()
        assert set(words) == {"1", one.name}
    assert jobs[0].log.read_text().split().count("1") == 2  # PyTorch took the share over


def test_a_job_that_fails_ends_the_others(job: MakeJob, tmp_path: Path) -> None:
    wait = "import time; time.sleep(60)"
    refused = "from mim3d.errors import DataError; raise DataError('no such scan')"
    started = time.monotonic()
    with pytest.raises(TrainingError, match=r"bad: no such scan \(its log: .*bad.log\)"):
        list(run_side_by_side([job("slow", wait), job("bad", refused), job("never", wait)], at_once=2))
    assert time.monotonic() - started < 50
    assert not (tmp_path / "never.log").exists()


def test_a_mistake_of_ours_keeps_its_traceback(job: MakeJob) -> None:
    broken = job("broken", "1 / 0")
    with pytest.raises(RuntimeError, match="broken: ZeroDivisionError: division by zero"):
        list(run_side_by_side([broken], at_once=1))
    assert "Traceback" in broken.log.read_text()


def test_a_job_that_was_killed_or_stopped_is_told(job: MakeJob) -> None:
    with pytest.raises(TrainingError, match="killed: ended with status -9"):
        list(run_side_by_side([job("killed", "import os; os.kill(os.getpid(), 9)")], at_once=1))
    stopped = "from mim3d.errors import Interruption; raise Interruption('saved')"
    with pytest.raises(Interruption, match="stopped: was told to stop, and is saved"):
        list(run_side_by_side([job("stopped", stopped)], at_once=1))


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    """Who is killed with -9 can tell nobody; two processes must not write into one folder later."""
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"""
        from functools import partial
        from pathlib import Path
        from mim3d.recipes.job_process import Job
        from mim3d.recipes.side_by_side import run_side_by_side
        if __name__ == "__main__":
            job = Job(name="a", log=Path({str(tmp_path / "log")!r}), work=partial(exec, {code!r}))
            list(run_side_by_side([job], at_once=1))
    """
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(parent))
    process = subprocess.Popen([sys.executable, str(script)])
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    child = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not runs(child))


def wait_for(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "Z" not in (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
