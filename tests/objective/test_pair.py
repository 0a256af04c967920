"""Every way of aligning, computed again child by child."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mim3d.config import Alignment, PretrainConfig
from mim3d.geometry import tokens_of_cell
from mim3d.model.mim import Mim
from mim3d.model.patches import index_of
from mim3d.sampling.batch import LevelBatch, RegionBatch

Run = Callable[..., tuple[float, dict[str, float]]]
BatchOf = Callable[[PretrainConfig], RegionBatch]
ModelOf = Callable[[PretrainConfig], Mim]


def pooled(features: Tensor, config: PretrainConfig, level: int) -> Tensor:
    """(L, D) to (cells, D), cell by cell."""
    cells, cell = config.nesting.cells(level), config.nesting.levels[level].cell
    count = cells[0] * cells[1] * cells[2]
    return torch.stack(
        [features[list(tokens_of_cell(index, cells, cell))].mean(dim=0) for index in range(count)]
    )


def encoded(model: Mim, config: PretrainConfig, crop: Tensor, visible: Tensor) -> Tensor:
    """Features (L, D) that others foresee, of one crop (C, X, Y, Z) seen at (K,)."""
    network = model.teacher or model
    if config.alignment.features == "encoder":
        everything = torch.arange(config.nesting.grid[0] ** 3)
        latents: Tensor = network.encoder(crop[None], everything[None])[0]
        return latents
    return network.decoder.features(network.encoder(crop[None], visible[None]), visible[None])[0]


def candidates(
    model: Mim, config: PretrainConfig, batch: RegionBatch, outer: int
) -> dict[tuple[int, int], Tensor]:
    """What can be foreseen between two levels, by parent and cell."""
    if config.alignment.predicts == "child":
        above = batch.levels[outer]
        return {
            (parent, cell): place
            for parent, crop in enumerate(above.crops)
            for cell, place in enumerate(
                pooled(encoded(model, config, crop, index_of(~above.masked)[parent]), config, outer)
            )
        }
    below = batch.levels[outer + 1]
    return {
        (int(below.parent[i]), int(below.cell[i])): encoded(
            model, config, crop, index_of(~below.masked)[i]
        ).mean(dim=0)
        for i, crop in enumerate(below.crops)
    }


def expectations(
    model: Mim, config: PretrainConfig, batch: RegionBatch, outer: int
) -> dict[tuple[int, int], Tensor]:
    """What is foreseen between two levels, by parent and cell that it is foreseen of."""
    assert model.predictor is not None
    above, below = batch.levels[outer], batch.levels[outer + 1]
    owners = list(zip(below.parent.tolist(), below.cell.tolist(), strict=True))
    if config.alignment.predicts == "child":
        latents = model.encoder(below.crops, index_of(~below.masked))
        return {owner: model.predictor(latents[i].mean(dim=0)) for i, owner in enumerate(owners)}
    visible = index_of(~above.masked)
    features = model.decoder.features(model.encoder(above.crops, visible), visible)
    return {(p, c): model.predictor(pooled(features[p], config, outer)[c]) for p, c in owners}


def blind(model: Mim, config: PretrainConfig, outer: int) -> Tensor:
    """What an empty parent gives for each cell, (cells, D)."""
    crop, nothing = torch.zeros(1, *config.nesting.crop), torch.empty(0, dtype=torch.long)
    if config.alignment.predicts == "child":
        return pooled(encoded(model, config, crop, nothing), config, outer)
    assert model.predictor is not None
    latents = torch.zeros(1, 0, config.architecture.dims[3])
    places: Tensor = model.predictor(pooled(model.decoder.features(latents, nothing[None])[0], config, outer))
    return places


@torch.no_grad()
def expected(model: Mim, config: PretrainConfig, batch: RegionBatch, outer: int) -> dict[str, float]:
    """All that is logged of a pair."""
    alignment, losses, found, found_blind = config.alignment, [], [], []
    keys = candidates(model, config, batch, outer)
    queries = expectations(model, config, batch, outer)
    of_nothing = blind(model, config, outer)
    for (parent, cell), query in queries.items():
        cosine = {owner: F.cosine_similarity(query, key, dim=0) for owner, key in keys.items()}
        kin = {owner: value for owner, value in cosine.items() if owner[0] == parent}
        among = kin if alignment.negatives == "parent" else cosine
        own = cosine[parent, cell]
        logits = torch.stack(list(among.values())) / alignment.temperature
        nce = torch.logsumexp(logits, dim=0) - own / alignment.temperature
        losses.append(nce if alignment.loss == "info_nce" else 2 - 2 * own)
        found.append(float(own >= max(among.values())))
        if alignment.predicts == "child":
            guesses = {c: F.cosine_similarity(query, key, dim=0) for c, key in enumerate(of_nothing)}
        else:
            guesses = {c: F.cosine_similarity(of_nothing[cell], keys[p, c], dim=0) for p, c in kin}
        found_blind.append(float(guesses[cell] >= max(guesses.values())))
    unit = F.normalize(torch.stack(list(keys.values())), dim=1)
    others = ~torch.eye(len(unit), dtype=torch.bool)
    return {
        f"align/{outer}": float(torch.stack(losses).mean()),
        f"found/{outer}": sum(found) / len(found),
        f"found_blind/{outer}": sum(found_blind) / len(found_blind),
        f"align_cosine/{outer}": float((unit @ unit.T)[others].mean()),
        f"align_spread/{outer}": float(unit.shape[1] ** 0.5 * unit.std(dim=0, correction=0).mean()),
    }


def test_every_way_of_aligning(
    aligned: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    batch, model = batch_of(aligned), model_of(aligned)
    total, logged = run(model, batch, aligned)  # moves the teacher, which stays there from here on
    pairs = expected(model, aligned, batch, 0) | expected(model, aligned, batch, 1)
    assert {name: logged[name] for name in pairs} == pytest.approx(pairs, rel=1e-4, abs=1e-5)
    terms = sum(logged[f"reconstruct/{level}"] for level in range(3))
    assert total == pytest.approx(terms + 0.1 * (logged["align/0"] + logged["align/1"]), rel=1e-5)


def exchanged(level: LevelBatch) -> LevelBatch:
    """The crops of a level in another order, while everybody else keeps to the old one."""
    return replace(level, crops=level.crops.roll(1, 0), masked=level.masked.roll(1, 0))


def test_each_child_is_aligned_with_its_own_parent(
    aligned: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    batch = batch_of(aligned)
    _, logged = run(model_of(aligned), batch, aligned)
    swapped = replace(batch, levels=(exchanged(batch.levels[0]), *batch.levels[1:]))
    _, others = run(model_of(aligned), swapped, aligned)
    assert others["align/0"] != pytest.approx(logged["align/0"], rel=1e-6)
    losses = [name for name in logged if name.startswith(("align/1", "reconstruct/"))]
    assert {n: others[n] for n in losses} == pytest.approx({n: logged[n] for n in losses}, rel=1e-5)


def test_the_gradient_flows_into_the_side_that_predicts(
    aligned: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    found = []
    for weight in (0.1, 10.0):
        config = replace(aligned, alignment=replace(aligned.alignment, weight=weight))
        model = model_of(config)
        run(model, batch_of(config), config)
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        same = torch.allclose(gradient, found[1][name], rtol=1e-4, atol=1e-7)
        untouched = "decoder." if aligned.alignment.predicts == "child" else "decoder.predict."
        assert same == name.startswith(untouched), name


def test_own_passes_of_parents_give_what_an_extra_one_would(
    pretraining: PretrainConfig,
    batch_of: BatchOf,
    model_of: ModelOf,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = batch_of(pretraining)
    total, logged = run(model_of(pretraining), batch, pretraining)
    monkeypatch.setattr("mim3d.objective.pretrain.hands_down", lambda config: False)
    again, others = run(model_of(pretraining), batch, pretraining)
    assert again == pytest.approx(total, rel=1e-6)
    assert others == pytest.approx(logged, rel=1e-5, abs=1e-6)


def test_children_may_come_in_any_order(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    config = replace(pretraining, alignment=Alignment(predicts="parent", features="encoder"))
    batch = batch_of(config)
    _, logged = run(model_of(config), batch, config)
    last, order = batch.levels[2], torch.randperm(8, generator=torch.Generator().manual_seed(0))
    mixed = LevelBatch(
        last.crops[order], last.masked[order], last.padded[order], last.parent[order], last.cell[order]
    )
    _, others = run(model_of(config), replace(batch, levels=(*batch.levels[:2], mixed)), config)
    assert others == pytest.approx(logged, rel=1e-5)


def test_the_teacher_moves_once_a_batch_before_anything_is_computed(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    config = replace(pretraining, alignment=Alignment(features="encoder", momentum=0.75))
    model = model_of(config)
    assert model.teacher is not None
    before = {name: tensor.clone() for name, tensor in model.teacher.state_dict().items()}
    run(model, batch_of(config), config)
    student = model.state_dict()
    for name, tensor in model.teacher.state_dict().items():
        torch.testing.assert_close(tensor, 0.75 * before[name] + 0.25 * student[name])
