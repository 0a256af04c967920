"""Batches, models and options for the tests of pre-training's objective."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import pytest
import torch
from torch import nn

from mim3d.config import Alignment, PretrainConfig
from mim3d.data.store import Store
from mim3d.model.mim import Mim
from mim3d.objective.pretrain import pretrain_chunks
from mim3d.sampling.batch import RegionBatch
from mim3d.sampling.crops import select_cases
from mim3d.sampling.loader import region_batches

WAYS = (
    Alignment(),
    Alignment(negatives="batch"),
    Alignment(momentum=0.5),
    Alignment(momentum=0.5, loss="cosine", negatives="batch"),
)
SIDES = (
    Alignment(),
    Alignment(features="encoder"),
    Alignment(predicts="parent"),
    Alignment(predicts="parent", features="encoder"),
)
ALIGNMENTS = {
    f"{side.predicts}-{side.features}-{way.momentum}-{way.loss}-{way.negatives}": replace(
        way, predicts=side.predicts, features=side.features
    )
    for side in SIDES
    for way in WAYS
}
"""By name, every side and kind of features with several of the rest."""


@pytest.fixture(params=ALIGNMENTS.values(), ids=list(ALIGNMENTS))
def aligned(request: pytest.FixtureRequest, pretraining: PretrainConfig) -> PretrainConfig:
    """The smallest configuration with each of the ways to align, in turn."""
    return replace(pretraining, alignment=request.param)


@pytest.fixture(scope="session")
def batch_of(store: Store) -> Callable[[PretrainConfig], RegionBatch]:
    """Gives the first batch of a configuration."""
    cases = select_cases(store, "train")
    return lambda config: next(region_batches(store, cases, config, 0, 0, 1))


@pytest.fixture(scope="session")
def model_of() -> Callable[[PretrainConfig], Mim]:
    """Gives a model whose teacher, if it has one, is not the student: the student has moved since."""

    def made(config: PretrainConfig) -> Mim:
        torch.manual_seed(1)
        model = Mim(config.nesting, config.architecture, config.alignment)
        if model.teacher is not None:
            with torch.no_grad():
                for parameter in (*model.encoder.parameters(), *model.decoder.parameters()):
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return made


@pytest.fixture(scope="session")
def run() -> Callable[..., tuple[float, dict[str, float]]]:
    """Gives the whole loss and the logged sums, and leaves the gradients in the model."""

    def score(
        model: nn.Module, batch: RegionBatch, config: PretrainConfig, crops: int = 3
    ) -> tuple[float, dict[str, float]]:
        model.zero_grad()
        total, logged = 0.0, Counter[str]()
        for chunk in chain.from_iterable(pretrain_chunks(model, batch, config, (crops,) * len(batch.levels))):
            loss, values = chunk.compute(model)
            torch.autograd.backward(loss)
            total += float(loss.detach())
            logged.update({name: float(value) for name, value in values.items()})
        return total, dict(logged)

    return score
