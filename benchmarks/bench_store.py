"""The store against what others read training samples from, on the same real volumes.

.venv/bin/python -m pip install -c constraints.txt '.[bench]'    once
.venv/bin/python benchmarks/bench_store.py                       a table
.venv/bin/python benchmarks/bench_store.py --json                one JSON object on the last line

A chest CT (fetched, 35 MB) is mirrored to 512 x 512 x 256 voxels, eight times, each time shifted and turned
otherwise. Measured are, one process at a time and in turns where two are compared:

- samples a second: level 0 of a 192^3 region at 96^3 and four of its octants at 96^3, at random places, as
  training draws them; against MONAI's PersistentDataset with RandSpatialCrop and the same resizing, and
  against blosc2 files (chunks of 64, zstd) of which the same box is read;
- bytes on disk: the store against the files of PersistentDataset;
- seconds a volume to prepare gzipped NIfTI at 1.5 mm, by one worker: against reading and resampling it as
  nnU-Net does, by scikit-image and SciPy at order 3; with the error of both; and at its own spacing, against
  reading alone;
- peak memory of that worker, over that of a volume's voxels in 16 bits.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from store_peers import Blosc2Files, persistent_dataset, read_only, resampled_like_nnunet
from store_volumes import SHAPE, SPACING, error_of, known_volume, write_volumes
from turns import in_turns

from mim3d.config import Level, PretrainConfig
from mim3d.data.prepare import prepare_store
from mim3d.data.store import open_store
from mim3d.presets import pretrain_preset
from mim3d.sampling.crops import read_region
from mim3d.train.allocator import keep_freed_memory

VOLUMES = 8
SAMPLES = 24
"""Samples a round of each side."""
WORKING = (1.5, 1.5, 1.5)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--folder", type=Path, help="keep the volumes here for other runs (4 GB)")
    parser.add_argument("--rounds", type=int, default=3, help="of what is measured in turns")
    parser.add_argument("--prepare", nargs=3, metavar=("RAW", "STORE", "SPACING"), help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sample:
        sample_alone(arguments.sample)
        return
    if arguments.prepare:
        prepare_alone(*arguments.prepare)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        result = measured(folder, arguments.rounds)
    print(json.dumps(result) if arguments.json else table(result))


def measured(folder: Path, rounds: int) -> dict[str, Any]:
    """Everything, by name; ratios are theirs over ours in time and size, so that larger is better for us."""
    raw = folder / "raw"
    write_volumes(raw, VOLUMES)
    with ExitStack() as stack:
        found = sampling(folder, raw, rounds, stack)
    return found | preparing(folder, raw, rounds)


def region_config() -> PretrainConfig:
    """A region of 192^3 voxels: level 0, and four hidden octants of it."""
    base = pretrain_preset("base")
    levels = (Level(cell=(3, 3, 3), masked_ratio=0.5), Level(masked_ratio=0.6, children=0))
    return replace(base, nesting=replace(base.nesting, levels=levels, body_aware=False))


def sampling(folder: Path, raw: Path, rounds: int, stack: ExitStack) -> dict[str, Any]:
    """Samples a second of the store, of PersistentDataset and of blosc2 files, and what they take on disk.

    The store's are read in a process of its own, which keeps freed memory as training does.
    """
    path = folder / "store"
    if not (path / "store.json").exists():
        prepare_store(raw, path, spacing="native", workers=1)
    cache = folder / "persistent"
    theirs = persistent_dataset(sorted(raw.glob("*.nii.gz")), cache)
    blosc2 = Blosc2Files(folder / "blosc2", raw)
    worker = stack.enter_context(started("--sample", str(path)))
    counts = {"ours": SAMPLES, "monai": SAMPLES // 4, "blosc2": SAMPLES}
    sides = {
        "ours": partial(ask, worker),
        "monai": partial(take, lambda number: theirs[number % len(theirs)], count(), counts["monai"]),
        "blosc2": partial(take, blosc2.sample, count(), counts["blosc2"]),
    }
    times = in_turns(sides, rounds)
    ms = {name: 1e3 * times[name].median / number for name, number in counts.items()}
    sizes = {"store": size_of(path), "monai": size_of(cache), "blosc2": size_of(folder / "blosc2")}
    return {
        "sampling_speedup": ms["monai"] / ms["ours"],
        "sampling_over_blosc2": ms["blosc2"] / ms["ours"],
        "disk_ratio": sizes["monai"] / sizes["store"],
        "sample_ms": ms,
        "disk_mb": {name: size / 1e6 for name, size in sizes.items()},
    }


def take(sample: Callable[[int], object], numbers: Iterator[int], how_many: int) -> None:
    """Take the next samples of one side."""
    for number in islice(numbers, how_many):
        sample(number)


def started(*arguments: str) -> subprocess.Popen[str]:
    """A process that takes samples when asked."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker: subprocess.Popen[str]) -> None:
    """Have a process take its samples."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("samples\n")
    worker.stdin.flush()
    assert worker.stdout.readline()


def sample_alone(path: Path) -> None:
    """Take samples of a store for every line of standard input."""
    keep_freed_memory()
    store, config, number = open_store(path), region_config(), 0
    for _ in sys.stdin:
        for _ in range(SAMPLES):
            read_region(store, store.catalog.cases, config, number)
            number += 1
        print("done", flush=True)


def preparing(folder: Path, raw: Path, rounds: int) -> dict[str, Any]:
    """Seconds a volume of `prepare` with one worker, of nnU-Net's way, of reading alone; errors; memory."""
    one = sorted(raw.glob("*.nii.gz"))[0]
    times = in_turns(
        {
            "prepare at 1.5 mm": lambda: prepare_all(raw, folder / "made", WORKING),
            "nnU-Net's way": lambda: nnunet_way(one, folder / "theirs.npy"),
            "prepare at its own spacing": lambda: prepare_all(raw, folder / "made", "native"),
            "reading alone": lambda: read_only(one),
        },
        rounds,
    )
    seconds = {name: found.median / (VOLUMES if "prepare" in name else 1) for name, found in times.items()}
    peaks = {spacing: peak_of(raw, folder / "made", spacing) for spacing in ("native", "1.5")}
    known, voxels_gb = known_volume(), 2 * SHAPE[0] * SHAPE[1] * SHAPE[2] / 1e9
    return {
        "prepare_speedup": seconds["nnU-Net's way"] / seconds["prepare at 1.5 mm"],
        "native_over_reading": seconds["prepare at its own spacing"] / seconds["reading alone"],
        "seconds": seconds,
        "error": error_of(known, WORKING),
        "error_like_nnunet": error_of(known, WORKING, resampled_like_nnunet),
        "peak_over_voxels": {name: peak / voxels_gb for name, peak in peaks.items()},
    }


def prepare_all(raw: Path, store: Path, spacing: Any) -> None:
    """A store of all volumes, made anew by one worker process."""
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(store.with_name(store.name + ".private"), ignore_errors=True)
    prepare_store(raw, store, spacing=spacing, workers=1)


def peak_of(raw: Path, store: Path, spacing: str) -> float:
    """Peak memory, GB, of a worker that prepares all volumes, with all that it imports."""
    command = [sys.executable, __file__, "--prepare", str(raw), str(store), spacing]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def prepare_alone(raw: str, store: str, spacing: str) -> None:
    """What `peak_of` runs: prints the peak of the largest of the processes that it starts."""
    os.setpgrp()
    peaks, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peaks.extend(peaks_of_group())

    watcher = threading.Thread(target=watch)
    watcher.start()
    prepare_all(Path(raw), Path(store), "native" if spacing == "native" else WORKING)
    over.set()
    watcher.join()
    print(max(peaks))


def peaks_of_group() -> Iterator[float]:
    """Most memory, GB, that each other process of this one's group has held."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may just have ended
            number = int(folder.name)
            if number != os.getpid() and os.getpgid(number) == os.getpgrp():
                for line in (folder / "status").read_text().splitlines():
                    if line.startswith("VmHWM"):
                        yield int(line.split()[1]) * 1024 / 1e9


def nnunet_way(scan: Path, out: Path) -> None:
    """Read by SimpleITK, resample at order 3, save uncompressed; axes are Z, Y, X, as they lie in memory."""
    array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(scan))
    z, y, x = SPACING[::-1]
    np.save(out, resampled_like_nnunet(array, (z, y, x), WORKING))


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"{name:24}{value:10.2f}" for name, value in result.items() if isinstance(value, float)]
    for name, values in result.items():
        if isinstance(values, dict):
            lines.append(name + ": " + ", ".join(f"{key} {value:.3g}" for key, value in values.items()))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
