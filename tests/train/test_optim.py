import torch
from torch import nn

from mim3d.config import Architecture, Optimisation, PretrainConfig
from mim3d.model.mim import Mim
from mim3d.train.optim import Pace, build_optimizer, set_rates


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


def test_weights_of_a_pace_learn_at_their_own_rate_and_decay_like_others() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    low, middle = (Pace(parameters=tuple(model[n].parameters()), scale=s) for n, s in ((0, 0.25), (1, 0.5)))
    optimisation = Optimisation(steps=10, warmup_steps=0, lr=1.0, weight_decay=0.3, schedule="constant")
    optimizer = build_optimizer(model, optimisation, (low, middle))
    assert set_rates(optimizer, 3, optimisation) == {"lr": 1.0, "lr/encoder": 0.25}
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    for layer, rate in zip(model, (0.25, 0.5, 1.0), strict=True):
        assert isinstance(layer, nn.Linear)
        assert rates[id(layer.weight)] == (rate, 0.3)
        assert rates[id(layer.bias)] == (rate, 0.0)


def test_weights_that_begin_later_have_no_gradient_until_then() -> None:
    first, last = nn.Linear(2, 2), nn.Linear(2, 2)
    late = Pace(parameters=tuple(first.parameters()), begins=2)
    optimisation = Optimisation(steps=4, warmup_steps=2, lr=1.0, schedule="sawtooth")
    optimizer = build_optimizer(nn.Sequential(first, last), optimisation, (late,))
    before = first.weight.detach().clone()
    for step in range(4):
        logged = set_rates(optimizer, step, optimisation)
        assert logged["lr/encoder"] == (0.0 if step < 2 else logged["lr"])
        torch.autograd.backward(last(first(torch.ones(1, 2))).sum())
        assert (first.weight.grad is not None) == (step >= 2)
        optimizer.step()
        assert torch.equal(first.weight, before) == (step < 2)
        optimizer.zero_grad()


def test_without_paces_there_is_one_rate() -> None:
    model = nn.Linear(2, 2)
    optimisation = Optimisation(steps=10, warmup_steps=4, lr=1.0)
    optimizer = build_optimizer(model, optimisation)
    assert set_rates(optimizer, 1, optimisation) == {"lr": 0.5}
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
