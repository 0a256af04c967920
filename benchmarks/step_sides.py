"""The sides of `bench_step.py`: a model with given weights, and its step."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from dense_reference import DenseMim, as_released
from torch import Tensor, nn

from mim3d.config import PretrainConfig
from mim3d.model import linear
from mim3d.model.compiled import compile_blocks
from mim3d.model.cost import plan_step
from mim3d.model.mim import Mim
from mim3d.model.released import load_released
from mim3d.objective.pretrain import pretrain_chunks
from mim3d.train.allocator import keep_freed_memory
from mim3d.train.apart import compute_group, gather_gradients, sharing
from mim3d.train.chunk import Chunk, Logged

HEADS = "predictor."


def reference_side(
    config: PretrainConfig, weights: dict[str, Tensor]
) -> tuple[nn.Module, Callable[..., Any]]:
    """The dense model, and its step: all levels forward, then one backward pass, by PyTorch as it is."""
    linear.AVAILABLE = False
    model = DenseMim(config.nesting, config.architecture)
    model.load_state_dict(weights)

    def step(model: nn.Module, batch: Any, config: PretrainConfig) -> dict[str, float]:
        computed = [
            chunk.compute(model)
            for chunk in chain.from_iterable(
                pretrain_chunks(model, batch, config, (10**6,) * len(batch.levels))
            )
        ]
        torch.autograd.backward(torch.stack([loss for loss, _ in computed]).sum())
        return {name: float(value) for _, logged in computed for name, value in logged.items()}

    return model, step


def our_side(config: PretrainConfig, weights: dict[str, Tensor]) -> tuple[nn.Module, Callable[..., Any]]:
    """MiM, and its step: level by level, in chunks that fit the memory budget, as a run trains."""
    model = our_model(config, weights)
    return model, planned(model, config, torch.get_num_threads())


def our_model(config: PretrainConfig, weights: dict[str, Tensor]) -> Mim:
    """MiM with the weights of the reference."""
    keep_freed_memory()
    model = Mim(config.nesting, config.architecture, config.alignment)
    load_released(as_released(without_heads(weights)), model.encoder, model.decoder)
    assert model.predictor is not None
    model.predictor.load_state_dict(
        {n.removeprefix(HEADS): t for n, t in weights.items() if n.startswith(HEADS)}
    )
    return model


def planned(model: nn.Module, config: PretrainConfig, threads: int) -> Callable[..., dict[str, float]]:
    """A step with as many threads side by side as the budget allows."""
    plan = plan_step(config, sum(weight.numel() for weight in model.parameters()), threads)
    models = [model, *(sharing(model) for _ in range(plan.threads - 1))]
    return partial(our_step, models=models, at_once=plan.at_once)


def our_step(
    model: nn.Module,
    batch: Any,
    config: PretrainConfig,
    *,
    models: Sequence[nn.Module],
    at_once: tuple[int, ...],
) -> dict[str, float]:
    """Forward and backward, chunk by chunk."""
    logged: Counter[str] = Counter()
    for group in pretrain_chunks(model, batch, config, at_once):
        for values in compute_group(models, group, forward_backward):
            logged.update({name: float(value) for name, value in values.items()})
    gather_gradients(models)
    return dict(logged)


def forward_backward(model: nn.Module, chunk: Chunk) -> Logged:
    """Of one chunk; what it logs."""
    loss, values = chunk.compute(model)
    torch.autograd.backward(loss)
    return values


def compiled_side(config: PretrainConfig, weights: dict[str, Tensor]) -> tuple[nn.Module, Callable[..., Any]]:
    """MiM with its transformer blocks compiled, where there is a compiler."""
    model = our_model(config, weights)
    compile_blocks(model)
    return model, planned(model, config, 1)


SIDES = {"reference": reference_side, "compiled": compiled_side, "ours": our_side}


def without_heads(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of encoder and decoder."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
