"""How long a store of very many cases takes to open, and its sampler to start, and in how much memory.

    python benchmarks/bench_catalog.py [--cases 200000] [--json]

The index is generated; the voxels of all cases are those of one, since only the first samples are read. Each
measurement is made in a process of its own. The last line is one JSON object.
"""

import argparse
import hashlib
import json
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from machine import peak_gb

from mim3d.data.catalog import Case, write_index
from mim3d.data.foreground import foreground_table
from mim3d.data.labels import LabelSet
from mim3d.data.layout import Settings, case_folder, num_scales, write_description
from mim3d.data.sources import Split
from mim3d.data.store import open_store
from mim3d.data.store_writer import Content, content_hash, write_case
from mim3d.presets import pretrain_preset
from mim3d.sampling.crops import select_cases
from mim3d.sampling.loader import region_batches
from mim3d.sampling.turns import turn_of

SHAPE = (96, 96, 96)
SPACING = (1.5, 1.5, 1.5)
BOUNDS = {"open_seconds": 2.0, "sampler_seconds": 5.0, "peak_gb": 1.0}


def generate(store: Path, count: int) -> None:
    """A store whose index lists `count` cases, every second of them labelled."""
    store.mkdir()
    structures = {f"structure_{number}": number for number in range(1, 105)}
    write_description(store, Settings(SPACING), {"organs": LabelSet("organs", structures)})
    array = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    case = Case(
        case="first",
        patient="0" * 16,
        split="train",
        shape=SHAPE,
        spacing=SPACING,
        source_spacing=(0.7, 0.7, 2.5),
        hash=content_hash(array, SPACING, {}),
        statistics=dict.fromkeys(("mean", "std", "p005", "p995", "minimum", "maximum", "body_share"), 1.0),
        labels={},
        scales=num_scales(SHAPE),
    )
    table = foreground_table(case.case, array > 0, [])
    write_case(store, Content(case, array, np.eye(4), table, {}), {})
    write_index(store, [listed(case, number) for number in range(count)])


def listed(case: Case, number: int) -> Case:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    labels = {"organs": tuple(range(1, 105))} if number % 2 else {}
    split: Split = "val" if number % 10 == 0 else "train"
    return replace(
        case,
        case=f"{number * 2654435761 % 2**64:016x}",
        patient=digest[-16:],
        split=split,
        hash=digest,
        labels=labels,
        fingerprint=digest[-16:],
        perceptual_hash=(digest * 3)[:140],
        statistics={**case.statistics, "mean": number / 7},
    )


def measure(store: Path) -> dict[str, float]:
    """Seconds and memory of opening and of the first batch, in this process."""
    before = peak_gb()  # of imports alone, most of it PyTorch's
    begin = time.perf_counter()
    opened = open_store(store)
    opening = time.perf_counter() - begin
    after_open = peak_gb()
    config = pretrain_preset("tiny")
    begin = time.perf_counter()
    cases = select_cases(opened, "train")
    places = [turn_of(config.seed, number, len(cases)) for number in range(8)]
    spent = time.perf_counter() - begin
    for place in places:
        folder = case_folder(store, cases[place].case)
        if not folder.exists():
            folder.symlink_to(case_folder(store, "first"), target_is_directory=True)
    begin = time.perf_counter()
    batches = list(islice(region_batches(opened, cases, config, 0, 0, 1), 1))
    spent += time.perf_counter() - begin
    assert len(batches) == 1
    sent = len(pickle.dumps((opened, cases)))
    begin = time.perf_counter()
    assert len(opened.catalog.hash) == 64
    return {
        "cases": len(opened.catalog.cases),
        "open_seconds": round(opening, 2),
        "sampler_seconds": round(opening + spent, 2),
        "hash_seconds": round(time.perf_counter() - begin, 2),
        "sent_to_a_worker_gb": round(sent / 1e9, 3),
        "open_gb": round(after_open - before, 3),
        "imports_gb": round(before, 3),
        "peak_gb": round(peak_gb(), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        generate(store, arguments.cases)
        command = [sys.executable, __file__, "--measure", str(store)]
        runs = [json.loads(subprocess.check_output(command).splitlines()[-1]) for _ in range(3)]
        size = (store / "index.parquet").stat().st_size
    best = {name: min(run[name] for run in runs) for name in runs[0]}
    result = {**best, "index_mb": round(size / 1e6, 1)}
    if not arguments.json:
        for name, bound in BOUNDS.items():
            print(f"{name}: {result[name]} (at most {bound})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
