"""Preparations that end before their time, killed or on a full disk; the same command finishes the work.

An interrupted and an uninterrupted store agree byte for byte if they have the same key. Nothing else differs.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mim3d.data import prepare_case as worker
from mim3d.data.layout import Settings
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.prepare_case import Task
from mim3d.data.sources import Source
from mim3d.data.store import open_store
from mim3d.data.volume import write_nifti
from mim3d.errors import StoreError

CASES = 6
SPACING = (8.0, 8.0, 8.0)
COMMAND = "import sys; from mim3d.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny phantoms."""
    folder = tmp_path_factory.mktemp("interrupted") / "raw"
    make_phantoms(folder, PhantomOptions(shape=(40, 36, 32), spacing=8.0), cases=CASES)
    return folder


@pytest.fixture(scope="module")
def whole(raw: Path) -> Path:
    """A store that was made without interruption."""
    prepare_store(raw, raw.with_name("whole"), spacing=SPACING, workers=1)
    return raw.with_name("whole")


def files_of(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def with_key_of(whole: Path, store: Path) -> None:
    store.with_name(store.name + ".private").mkdir(mode=0o700)
    shutil.copy(whole.with_name("whole.private") / "key", store.with_name(store.name + ".private"))


def cases_of(store: Path) -> dict[str, int]:
    """Cases that are there, and when they were written."""
    return {path.name: path.stat().st_ctime_ns for path in (store / "cases").glob("*")}


def kill_when(raw: Path, store: Path, moment: Callable[[], bool]) -> None:
    """Run the command in a process of its own, and end it by SIGKILL at a moment."""
    words = ["prepare", raw, store, "--workers", "2", "--spacing", "8"]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *map(str, words)], stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while not moment() and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.002)
    process.kill()
    assert process.wait() in (-signal.SIGKILL, 0)  # 0: it was done before this busy machine could look


@pytest.mark.parametrize("done", [0, 2, 5])
def test_killed_at_any_moment_and_run_again(raw: Path, whole: Path, tmp_path: Path, done: int) -> None:
    store = tmp_path / "store"
    with_key_of(whole, store)
    kill_when(raw, store, lambda: len(cases_of(store)) >= done and (store / ".partial").exists())
    before = cases_of(store)
    found = prepare_store(raw, store, spacing=SPACING, workers=1)
    assert (found.made, found.kept) == (CASES - len(before), len(before))
    assert len(before) >= done
    assert before.items() <= cases_of(store).items()
    assert files_of(store) == files_of(whole)
    assert not (store / ".partial").exists()


def test_nobody_writes_on_when_the_command_was_killed(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    kill_when(raw, store, lambda: len(cases_of(store)) >= 1)
    time.sleep(0.3)
    before = files_of(store)
    time.sleep(0.5)
    assert files_of(store) == before


def test_the_command_leaves_nothing_behind(raw: Path, tmp_path: Path) -> None:
    words = ["prepare", raw, tmp_path / "store", "--workers", "2", "--spacing", "8"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, words)], capture_output=True, text=True, check=True
    )
    *progress, line = done.stderr.splitlines()
    assert all(said.startswith("prepare ") for said in progress)  # where the machine is slow
    assert line.startswith(f"{tmp_path / 'store'}: 6 cases ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(folder)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(words, check=False).returncode:
        pytest.skip("a file system of a certain size needs the right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_store_intact(small_disk: Path, tmp_path: Path) -> None:
    for number in range(5):
        noise = np.random.default_rng(number).integers(-1000, 1000, (40, 40, 40)).astype(np.int16)
        write_nifti(tmp_path / "raw" / f"{number}.nii", noise, np.eye(4))
    given: dict[str, Any] = {"spacing": "native", "workers": 1}
    with pytest.raises(
        StoreError,
        match=r"could not be written \(No space left on device\); nothing of it is kept: make room",
    ):
        prepare_store(tmp_path / "raw", small_disk / "store", **given)
    made = len(cases_of(small_disk / "store"))
    assert 0 < made < 5
    assert not (small_disk / "store" / ".partial").exists()
    subprocess.run(["mount", "-o", "remount,size=5m", str(small_disk)], check=True)
    assert prepare_store(tmp_path / "raw", small_disk / "store", **given).kept == made
    assert len(open_store(small_disk / "store").catalog.cases) == 5


def test_what_cannot_be_written_is_no_rejection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "write_case", full)
    write_nifti(tmp_path / "a.nii", np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
    task = Task(
        source=Source(image=tmp_path / "a.nii", key="a"),
        case="a",
        patient="p",
        study="",
        key="k",
        split="train",
        block=False,
        fingerprint="",
        label_set=None,
        store=tmp_path / "store",
        settings=Settings(None),
    )
    with pytest.raises(StoreError, match=r"case a could not be written \(No space left on device\); nothing"):
        worker.prepare_case(task)
