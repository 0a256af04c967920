"""The whole method learns two regions by heart: every level is reconstructed, every child finds its place."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from mim3d.config import Architecture, Level, Nesting, Optimisation, PretrainConfig, Runtime
from mim3d.model.patches import index_of, patchify, take_tokens
from mim3d.recipes.pretrain import pretrain
from mim3d.sampling.batch import LevelBatch, RegionBatch
from mim3d.sampling.loader import region_batches
from mim3d.train.run_folder import read_metrics

STEPS = 200
RECONSTRUCTED = 0.3
"""What every level's squared error must fall below; seeds 0 to 4 end at 0.02 to 0.15."""
FOUND = 0.6
"""Share of the loss at chance that every alignment must fall below; seeds 0 to 4 end at 0.05 to 0.38."""
NESTING = Nesting(
    extent=(24, 24, 16),
    crop=(16, 16, 8),
    patch=(4, 4, 4),
    levels=(
        Level(cell=(2, 2, 1), masked_ratio=0.5, children=1),
        Level(masked_ratio=0.75, children=1),
        Level(masked_ratio=0.75, children=0),
    ),
)
ARCHITECTURE = Architecture(
    dims=(6, 6, 12, 48),
    depths=(1, 1, 1, 1),
    num_heads=2,
    mlp_ratio=2,
    decoder_dim=96,
    decoder_depth=2,
    decoder_heads=2,
)


@pytest.fixture
def repeated(monkeypatch: pytest.MonkeyPatch) -> list[RegionBatch]:
    """Has every step see the first batch; holds that batch afterwards."""
    batches: list[RegionBatch] = []

    def first_batch_only(*arguments: Any, **options: Any) -> Iterator[RegionBatch]:
        batches.append(next(region_batches(*arguments, **options)))
        return itertools.repeat(batches[0], STEPS)

    monkeypatch.setattr("mim3d.recipes.pretrain.region_batches", first_batch_only)
    return batches


def error_of_best_constant(level: LevelBatch) -> Tensor:
    """Squared error of the best of all predictors that give every hidden patch the same voxels.

    A patch's own mean, i.e. zeros, is one of them.
    """
    patches = take_tokens(patchify(level.crops, NESTING.patch).flatten(2), index_of(level.masked)).flatten(
        0, 1
    )
    target = (patches - patches.mean(dim=1, keepdim=True)) / (patches.var(dim=1, keepdim=True) + 1e-6).sqrt()
    return (target - target.mean(dim=0)).square().mean()


def test_two_regions_are_learnt_by_heart(
    store_path: Path, tmp_path: Path, repeated: list[RegionBatch]
) -> None:
    config = PretrainConfig(
        nesting=NESTING,
        architecture=ARCHITECTURE,
        optimisation=Optimisation(steps=STEPS, batch_size=2, lr=4e-3, warmup_steps=10, weight_decay=0.0),
        runtime=Runtime(accelerator="cpu", checkpoint_every=STEPS),
    )
    last = read_metrics(pretrain(store_path, tmp_path / "run", config=config) / "metrics.csv")[-1]
    (batch,) = repeated
    for number, level in enumerate(batch.levels):
        assert error_of_best_constant(level) > 2 * RECONSTRUCTED
        assert float(last[f"reconstruct/{number}"]) < RECONSTRUCTED
    for pair in range(2):
        chance = math.log(math.prod(NESTING.cells(pair)))
        assert float(last[f"align/{pair}"]) < FOUND * chance
