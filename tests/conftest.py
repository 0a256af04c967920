"""A small store of phantoms, and the smallest configurations that still have every part."""

from pathlib import Path

import pytest

from mim3d.config import (
    Architecture,
    FinetuneConfig,
    Level,
    Nesting,
    Optimisation,
    PretrainConfig,
    Runtime,
)
from mim3d.data.phantom import make_phantoms
from mim3d.data.phantom_case import PhantomOptions
from mim3d.data.prepare import prepare_store
from mim3d.data.splits import Shares
from mim3d.data.store import Store, open_store

SPACING = 8.0
"""Of the phantoms and of the store's working grid, mm."""


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five phantoms of 40 x 36 x 32 voxels: three to train on, one for validation, one for testing."""
    folder = tmp_path_factory.mktemp("phantoms")
    options = PhantomOptions(shape=(40, 36, 32), spacing=SPACING)
    make_phantoms(folder / "raw", options, cases=5)
    prepare_store(
        folder / "raw", folder / "store", spacing=(SPACING,) * 3, shares=Shares(0.2, 0.2), workers=1
    )
    return folder / "store"


@pytest.fixture(scope="session")
def store(store_path: Path) -> Store:
    return open_store(store_path)


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    return Architecture(
        dims=(6, 6, 12, 12),
        depths=(1, 1, 1, 1),
        num_heads=2,
        decoder_dim=12,
        decoder_depth=1,
        decoder_heads=2,
    )


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime(accelerator="cpu", chunk_crops=3, checkpoint_every=2)


@pytest.fixture(scope="session")
def pretraining(architecture: Architecture, runtime: Runtime) -> PretrainConfig:
    """Three levels of 1, 2 and 4 crops of 16^3 voxels in 4^3 tokens; regions of 32^3 voxels."""
    nesting = Nesting(
        extent=(32, 32, 32),
        crop=(16, 16, 16),
        patch=(4, 4, 4),
        levels=(
            Level(cell=(2, 2, 2), masked_ratio=0.5, children=2),
            Level(masked_ratio=0.6, children=2),
            Level(masked_ratio=0.5, children=0),
        ),
    )
    return PretrainConfig(
        preset="tiny",
        nesting=nesting,
        architecture=architecture,
        optimisation=Optimisation(steps=6, batch_size=2, lr=1e-3, warmup_steps=2),
        runtime=runtime,
    )


@pytest.fixture(scope="session")
def finetuning(architecture: Architecture, runtime: Runtime) -> FinetuneConfig:
    """Crops of 16^3 voxels, two structures, validated every second step."""
    return FinetuneConfig(
        preset="tiny",
        labels="labels",
        structures=("liver", "lungs"),
        crop=(16, 16, 16),
        patch=(4, 4, 4),
        architecture=architecture,
        feature_size=4,
        optimisation=Optimisation(steps=6, batch_size=2, lr=1e-3, warmup_steps=2),
        overlap=0.0,
        validate_every=2,
        runtime=runtime,
    )
