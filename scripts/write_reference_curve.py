"""Write the first losses of `tiny` on phantoms, which tests/test_reference_curve.py compares with.

To be run when the numbers are meant to change, and the new file kept with the reason:
.venv/bin/python scripts/write_reference_curve.py tests/reference_curve_tiny.csv
"""

import csv
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from mim3d.config import PretrainConfig
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.splits import Shares
from mim3d.presets import pretrain_preset
from mim3d.recipes.pretrain import pretrain
from mim3d.train.run_folder import read_metrics

COLUMNS = ("loss", "reconstruct/0", "reconstruct/1", "reconstruct/2", "align/0", "align/1")
CHILDREN = (2, 1, 0)
STEPS = 16


def reference_config() -> PretrainConfig:
    """The preset `tiny` with 5 crops a step for 42 (one region, fewer children) and 16 steps for 1,000.

    Weight decay is ten times the preset's: in so few steps it would not show.
    """
    tiny = pretrain_preset("tiny")
    levels = (
        replace(level, children=children)
        for level, children in zip(tiny.nesting.levels, CHILDREN, strict=True)
    )
    return replace(
        tiny,
        nesting=replace(tiny.nesting, levels=tuple(levels)),
        optimisation=replace(tiny.optimisation, steps=STEPS, batch_size=1, warmup_steps=4, weight_decay=0.5),
        runtime=replace(tiny.runtime, accelerator="cpu"),
    )


def make_store(folder: Path) -> Path:
    """A store of two phantoms to train on, 128 x 112 x 96 voxels of 3 mm."""
    make_phantoms(folder / "raw", PhantomOptions(shape=(64, 56, 48), spacing=6.0), cases=2)
    shares = Shares(val=0.0, test=0.0)
    prepare_store(folder / "raw", folder / "store", spacing=(3.0, 3.0, 3.0), shares=shares, workers=1)
    return folder / "store"


def losses(store: Path, run: Path, config: PretrainConfig) -> list[dict[str, float]]:
    """What each step of a run cost, by `COLUMNS`."""
    rows = read_metrics(pretrain(store, run, config=config) / "metrics.csv")
    return [{name: float(row[name]) for name in COLUMNS} for row in rows]


def main(out: Path) -> None:
    """Write the curve, one row a step."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, out.open("w", newline="") as file:
        curve = losses(make_store(Path(folder)), Path(folder) / "run", reference_config())
        writer = csv.DictWriter(file, ("step", *COLUMNS), lineterminator="\n")
        writer.writeheader()
        for step, row in enumerate(curve, start=1):
            writer.writerow({"step": step, **{name: f"{value:.7g}" for name, value in row.items()}})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
