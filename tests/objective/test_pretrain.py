from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.config import Alignment, Level, PretrainConfig
from mim3d.data.store import Store
from mim3d.geometry import tokens_of_cell
from mim3d.model.mim import Mim, Output
from mim3d.model.patches import index_of, patchify
from mim3d.objective.pretrain import pretrain_chunks
from mim3d.sampling.crops import select_cases
from mim3d.sampling.loader import LevelBatch, RegionBatch, region_batches


def batch_of(store: Store, config: PretrainConfig) -> RegionBatch:
    return next(region_batches(store, select_cases(store, "train"), config, 0, 0, 1))


def model_of(config: PretrainConfig, *, align: bool = True) -> Mim:
    torch.manual_seed(1)
    return Mim(config.nesting, config.architecture, align=align)


def with_levels(number: int, config: PretrainConfig) -> PretrainConfig:
    inner = [Level(masked_ratio=0.6, children=2)] * (number - 2)
    outer = [Level(cell=(2, 2, 2), masked_ratio=0.5, children=2)] if number > 1 else []
    levels = (*outer, *inner, Level(masked_ratio=0.5, children=0))
    return replace(config, nesting=replace(config.nesting, levels=levels))


def run(
    model: Mim, batch: RegionBatch, config: PretrainConfig, crops: int = 3
) -> tuple[float, dict[str, float]]:
    """Whole loss and logged sums, with the gradients left in the model."""
    model.zero_grad()
    total, logged = 0.0, Counter[str]()
    for chunk in pretrain_chunks(model, batch, config, (crops,) * len(batch.levels)):
        loss, values = chunk.compute()
        torch.autograd.backward(loss)
        total += float(loss.detach())
        logged.update({name: float(value) for name, value in values.items()})
    return total, dict(logged)


def gradients(model: Mim) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def expected_reconstruction(output: Output, level: LevelBatch, config: PretrainConfig) -> Tensor:
    """He et al. 2022: squared error of hidden patches, each standardised, token by token."""
    patches = patchify(level.crops, config.nesting.patch).flatten(2)
    errors = []
    for crop, hidden in enumerate(index_of(level.masked)):
        for place, token in enumerate(hidden.tolist()):
            voxels = patches[crop, token]
            target = (voxels - voxels.mean()) / (voxels.var() + 1e-6).sqrt()
            errors.append((output.predicted[crop, place] - target).square().mean())
    return torch.stack(errors).mean()


def expected_alignment(
    output: Output, parents: Output, level: LevelBatch, above: int, config: PretrainConfig
) -> Tensor:
    """Cross-entropy of finding the own cell among all cells of the parent, child by child."""
    assert output.foreseen is not None
    nesting, losses = config.nesting, []
    cells, cell = nesting.cells(above), nesting.levels[above].cell
    count = cells[0] * cells[1] * cells[2]
    for child, (parent, place) in enumerate(zip(level.parent.tolist(), level.cell.tolist(), strict=True)):
        features = parents.features[parent].detach()
        pooled = [features[list(tokens_of_cell(index, cells, cell))].mean(dim=0) for index in range(count)]
        cosines = [F.cosine_similarity(output.foreseen[child], one, dim=0) for one in pooled]
        logits = torch.stack(cosines) / config.alignment.temperature
        losses.append(torch.logsumexp(logits, dim=0) - logits[place])
    return torch.stack(losses).mean()


def test_the_loss_is_the_sum_of_every_level_and_pair(store: Store, pretraining: PretrainConfig) -> None:
    config, model = pretraining, model_of(pretraining)
    batch = batch_of(store, config)
    total, logged = run(model, batch, config, 100)
    outputs: list[Output] = [
        model(one.crops, index_of(~one.masked), index_of(one.masked)) for one in batch.levels
    ]
    expected = {
        f"reconstruct/{number}": expected_reconstruction(outputs[number], level, config)
        for number, level in enumerate(batch.levels)
    }
    for number, level in enumerate(batch.levels[1:], start=1):
        pair = expected_alignment(outputs[number], outputs[number - 1], level, number - 1, config)
        expected[f"align/{number - 1}"] = pair
    assert logged == pytest.approx(
        {name: float(value.detach()) for name, value in expected.items()}, rel=1e-4
    )
    weights = {name: 0.1 if name.startswith("align") else 1.0 for name in logged}
    assert total == pytest.approx(sum(weights[name] * logged[name] for name in logged), rel=1e-5)


@pytest.mark.parametrize("crops", [1, 2, 3, 5])
def test_chunks_add_up_to_the_loss_and_gradients_of_one_piece(
    store: Store, pretraining: PretrainConfig, crops: int
) -> None:
    batch, model = batch_of(store, pretraining), model_of(pretraining)
    whole, logged = run(model, batch, pretraining, 100)
    expected = gradients(model)
    total, values = run(model, batch, pretraining, crops)
    assert total == pytest.approx(whole, rel=1e-5)
    assert values == pytest.approx(logged, rel=1e-5)
    found = gradients(model)
    assert found.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("crops", [1, 3, 100])
def test_one_chunk_is_last_and_it_comes_last(store: Store, pretraining: PretrainConfig, crops: int) -> None:
    model, last = model_of(pretraining), []
    for chunk in pretrain_chunks(model, batch_of(store, pretraining), pretraining, (crops,) * 3):
        chunk.compute()
        last.append(chunk.last)
    assert last[-1]
    assert sum(last) == 1


@pytest.mark.parametrize("number", [1, 2, 4])
def test_any_number_of_levels(store: Store, pretraining: PretrainConfig, number: int) -> None:
    config = with_levels(number, pretraining)
    total, logged = run(model_of(config, align=number > 1), batch_of(store, config), config)
    names = [f"reconstruct/{level}" for level in range(number)]
    assert sorted(logged) == sorted([*names, *(f"align/{level}" for level in range(number - 1))])
    assert total == pytest.approx(
        sum(value * (0.1 if name.startswith("align") else 1) for name, value in logged.items()), rel=1e-5
    )


def test_without_a_predictor_nothing_is_aligned(store: Store, pretraining: PretrainConfig) -> None:
    config = replace(pretraining, alignment=Alignment(weight=0))
    _, logged = run(model_of(config, align=False), batch_of(store, config), config)
    assert sorted(logged) == ["reconstruct/0", "reconstruct/1", "reconstruct/2"]


def test_a_child_is_aligned_with_its_own_parent(store: Store, pretraining: PretrainConfig) -> None:
    batch, model = batch_of(store, pretraining), model_of(pretraining)
    _, logged = run(model, batch, pretraining)
    outermost = batch.levels[0]
    swapped = replace(outermost, crops=outermost.crops.flip(0), masked=outermost.masked.flip(0))
    _, others = run(model, replace(batch, levels=(swapped, *batch.levels[1:])), pretraining)
    changed = {name for name, value in logged.items() if others[name] != pytest.approx(value, rel=1e-6)}
    assert changed == {"align/0"}


def test_alignment_does_not_teach_the_parent(store: Store, pretraining: PretrainConfig) -> None:
    batch, model = batch_of(store, pretraining), model_of(pretraining)
    found = []
    for weight in (0.1, 10.0):
        run(model, batch, replace(pretraining, alignment=Alignment(weight=weight)))
        found.append(gradients(model))
    for name in found[0]:
        same = torch.allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-7)
        assert same == name.startswith("decoder."), name  # the decoder makes the parent's features only


def test_nothing_is_computed_before_it_is_asked_for(store: Store, pretraining: PretrainConfig) -> None:
    batch, model = batch_of(store, pretraining), model_of(pretraining)
    calls: list[int] = []
    model.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    for chunk in pretrain_chunks(model, batch, pretraining, (3, 2, 3)):
        before = len(calls)
        chunk.compute()
        assert len(calls) == before + 1
        assert calls[-1] <= 3
    assert sum(calls) == 2 * (1 + 2 + 4)
