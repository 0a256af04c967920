import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mim3d.config import Architecture, Optimisation, PretrainConfig
from mim3d.model.mim import Mim
from mim3d.train.optim import build_optimizer, lr_at


def test_the_learning_rate_rises_linearly_and_falls_as_a_half_cosine() -> None:
    optimisation = Optimisation(steps=110, warmup_steps=10, lr=2.0)
    rates = [lr_at(step, optimisation) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[35] == pytest.approx(1 + math.cos(math.pi / 4))
    assert rates[109] == pytest.approx(1 + math.cos(math.pi * 0.99))


@given(steps=st.integers(1, 200), warmup=st.integers(0, 300), lr=st.floats(1e-6, 1))
def test_the_learning_rate_is_positive_and_never_above_its_peak(steps: int, warmup: int, lr: float) -> None:
    optimisation = Optimisation(steps=steps, warmup_steps=warmup, lr=lr)
    rates = [lr_at(step, optimisation) for step in range(steps)]
    assert all(0 < rate <= lr * (1 + 1e-12) for rate in rates)
    rising = min(warmup, steps - 1)
    assert rates[:rising] == sorted(rates[:rising])
    assert rates[rising:] == sorted(rates[rising:], reverse=True)
    assert lr_at(steps, optimisation) == pytest.approx(0, abs=1e-12)


def test_only_matrices_and_kernels_decay(pretraining: PretrainConfig) -> None:
    model = Mim(pretraining.nesting, pretraining.architecture, pretraining.alignment)
    decayed, others = build_optimizer(model, Optimisation(weight_decay=0.3, betas=(0.8, 0.7))).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert decayed["betas"] == others["betas"] == (0.8, 0.7)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    left_out = {names[id(parameter)] for parameter in others["params"]}
    assert "decoder.mask_token" in left_out
    assert all(name.endswith(("bias", "norm.weight", "mask_token")) or ".norm" in name or "layers.1" in name
               for name in left_out)  # fmt: skip
    assert not any("norm" in names[id(parameter)] for parameter in decayed["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(names)


def test_frozen_parameters_are_left_out(architecture: Architecture) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, Optimisation())
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]
    assert optimizer.param_groups[0]["params"][0] is model[1].weight
    assert isinstance(optimizer, torch.optim.AdamW)
