"""The whole objective: every level and option, in parts of any size."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from mim3d.config import Alignment, Level, PretrainConfig, Target
from mim3d.model.mim import Mim, Output
from mim3d.model.patches import index_of, patchify
from mim3d.objective.monitor import columns, derived
from mim3d.objective.pretrain import pretrain_chunks
from mim3d.sampling.batch import LevelBatch, RegionBatch
from mim3d.train.apart import compute_group, gather_gradients, sharing
from mim3d.train.chunk import Chunk, Logged

Run = Callable[..., tuple[float, dict[str, float]]]
BatchOf = Callable[[PretrainConfig], RegionBatch]
ModelOf = Callable[[PretrainConfig], Mim]
PARENT = Alignment(predicts="parent", features="encoder", momentum=0.9)


def with_target(config: PretrainConfig, target: Target) -> PretrainConfig:
    levels = tuple(replace(level, target=target) for level in config.nesting.levels)
    return replace(config, nesting=replace(config.nesting, levels=levels))


def with_levels(number: int, config: PretrainConfig) -> PretrainConfig:
    inner = [Level(masked_ratio=0.6, children=2)] * (number - 2)
    outer = [Level(cell=(2, 2, 2), masked_ratio=0.5, children=2)] if number > 1 else []
    levels = (*outer, *inner, Level(masked_ratio=0.5, children=0))
    return replace(config, nesting=replace(config.nesting, extent=(32, 32, 32), levels=levels))


def with_channels(batch: RegionBatch, channels: int) -> RegionBatch:
    """The same with several channels, each of another contrast."""
    crops = [torch.cat([one.crops ** (1 + i) for i in range(channels)], dim=1) for one in batch.levels]
    levels = [replace(one, crops=more) for one, more in zip(batch.levels, crops, strict=True)]
    return replace(batch, levels=tuple(levels))


def gradients(model: Mim) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def expected_reconstruction(
    output: Output, level: LevelBatch, config: PretrainConfig, counts: Callable[[Tensor, bool], bool]
) -> float:
    """He et al. 2022: squared error of standardised hidden patches, channel by channel."""
    cubes = patchify(level.crops, config.nesting.patch).flatten(2, 4)  # (N, L, P, C)
    predicted = output.predicted.detach().reshape(*output.predicted.shape[:2], *cubes.shape[2:])
    errors = []
    for crop, hidden in enumerate(index_of(level.masked)):
        for place, token in enumerate(hidden.tolist()):
            if not counts(cubes[crop, token], bool(level.padded[crop, token])):
                continue
            for channel in range(cubes.shape[-1]):
                voxels = cubes[crop, token, :, channel]
                target = (voxels - voxels.mean()) / (voxels.var() + 1e-6).sqrt()
                errors.append((predicted[crop, place, :, channel] - target).square().mean())
    return float(torch.stack(errors).mean()) if errors else 0.0


COUNTING = {
    "all": (Target(), lambda voxels, padded: True),
    "inside": (Target(padded=False), lambda voxels, padded: not padded),
    "varied": (
        Target(least_variance=1e-3),
        lambda voxels, padded: bool((voxels.var(dim=0) >= 1e-3).any()),
    ),
    "none": (Target(least_variance=9.0), lambda voxels, padded: False),
}
"""Which patches count, by target."""


@pytest.mark.parametrize(("target", "counts"), COUNTING.values(), ids=list(COUNTING))
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_error_of_a_level_is_the_mean_over_its_patches_that_count(
    pretraining: PretrainConfig,
    batch_of: BatchOf,
    model_of: ModelOf,
    run: Run,
    target: Target,
    counts: Callable[[Tensor, bool], bool],
    channels: int,
) -> None:
    config = with_target(pretraining, target)
    config = replace(config, nesting=replace(config.nesting, extent=(40, 24, 24)))  # reaches out of the scan
    batch = with_channels(batch_of(config), channels)
    config = replace(config, architecture=replace(config.architecture, channels=channels))
    model = model_of(config)
    assert batch.levels[0].padded.any()
    total, logged = run(model, batch, config)
    for number, level in enumerate(batch.levels):
        output = model(level.crops, index_of(~level.masked), index_of(level.masked))
        expected = expected_reconstruction(output, level, config, counts)
        assert logged[f"reconstruct/{number}"] == pytest.approx(expected, rel=1e-4)
    aligned = 0.1 * (logged["align/0"] + logged["align/1"])
    assert total == pytest.approx(
        sum(logged[f"reconstruct/{number}"] for number in range(3)) + aligned, rel=1e-5
    )


def test_where_no_patch_counts_nothing_is_learnt(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    config = replace(with_target(pretraining, COUNTING["none"][0]), alignment=Alignment(weight=0))
    model = model_of(config)
    total, logged = run(model, batch_of(config), config)
    assert total == 0
    assert not any(logged.values())
    assert not any(gradient.any() for gradient in gradients(model).values())
    assert derived({"loss": total, **logged}).keys() == {"loss", *(f"reconstruct/{n}" for n in range(3))}


def test_levels_are_weighted(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    levels = pretraining.nesting.levels
    weighted = tuple(replace(one, weight=w) for one, w in zip(levels, (0.5, 0.0, 3.0), strict=True))
    config = replace(pretraining, nesting=replace(pretraining.nesting, levels=weighted))
    _, logged = run(model_of(pretraining), batch_of(config), pretraining)
    total, same = run(model_of(config), batch_of(config), config)
    assert same == logged
    errors = 0.5 * logged["reconstruct/0"] + 3.0 * logged["reconstruct/2"]
    assert total == pytest.approx(errors + 0.1 * (logged["align/0"] + logged["align/1"]), rel=1e-5)


def add_up(config: PretrainConfig, batch: RegionBatch, model_of: ModelOf, run: Run, crops: int) -> None:
    whole, parts = model_of(config), model_of(config)
    total, logged = run(whole, batch, config, 100)
    again, values = run(parts, batch, config, crops)
    assert again == pytest.approx(total, rel=1e-5)
    assert values == pytest.approx(logged, rel=1e-5, abs=1e-6)
    expected, found = gradients(whole), gradients(parts)
    trained = {name for name, p in whole.named_parameters() if p.requires_grad}
    assert found.keys() == expected.keys() == trained
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("crops", [1, 3])
def test_chunks_add_up_however_levels_are_aligned(
    aligned: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run, crops: int
) -> None:
    add_up(aligned, batch_of(aligned), model_of, run, crops)


@pytest.mark.parametrize("crops", [1, 2, 5])
@pytest.mark.parametrize(
    "target",
    [
        Target(),
        Target(kind="raw", low_pass=2),
        Target(least_variance=1e-3, padded=False, variance_floor=1e-4),
    ],
    ids=str,
)
def test_chunks_add_up_whatever_the_target(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run, target: Target, crops: int
) -> None:
    config = with_target(pretraining, target)
    config = replace(config, architecture=replace(config.architecture, embedded_levels=3))
    add_up(config, batch_of(config), model_of, run, crops)


@pytest.mark.parametrize("alignment", [Alignment(), Alignment(features="encoder"), PARENT], ids=str)
@pytest.mark.parametrize("number", [1, 2, 4])
def test_any_number_of_levels(
    pretraining: PretrainConfig,
    batch_of: BatchOf,
    model_of: ModelOf,
    run: Run,
    number: int,
    alignment: Alignment,
) -> None:
    config = replace(with_levels(number, pretraining), alignment=alignment)
    model = model_of(config)
    total, logged = run(model, batch_of(config), config)
    assert {*derived({"loss": total, **logged})} == {*columns(config)}
    assert total == pytest.approx(
        sum(value for name, value in logged.items() if name.startswith("reconstruct/"))
        + 0.1 * sum(value for name, value in logged.items() if name.startswith("align/")),
        rel=1e-5,
    )
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_without_a_predictor_nothing_is_aligned(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, run: Run
) -> None:
    config = replace(pretraining, alignment=Alignment(weight=0))
    total, logged = run(model_of(config), batch_of(config), config)
    assert total == pytest.approx(sum(logged[f"reconstruct/{number}"] for number in range(3)))
    assert {name.split("/")[0] for name in logged} == {
        "reconstruct",
        "error_of_mean",
        "error_of_interpolation",
    }


@pytest.mark.parametrize("crops", [1, 3, 100])
def test_one_chunk_is_last_and_it_comes_last(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, crops: int
) -> None:
    model, last = model_of(pretraining), []
    for chunk in chain.from_iterable(
        pretrain_chunks(model, batch_of(pretraining), pretraining, (crops,) * 3)
    ):
        chunk.compute(model)
        last.append(chunk.last)
    assert last[-1]
    assert sum(last) == 1


@pytest.mark.parametrize(("told", "blanks"), [(0, 1), (3, 2)])
def test_a_forward_pass_a_chunk_and_one_of_nothing_for_what_it_is_told(
    pretraining: PretrainConfig, batch_of: BatchOf, model_of: ModelOf, told: int, blanks: int
) -> None:
    architecture = replace(pretraining.architecture, embedded_levels=told)
    pretraining = replace(pretraining, architecture=architecture)
    batch, model = batch_of(pretraining), model_of(pretraining)
    calls: list[tuple[int, int]] = []
    model.register_forward_hook(lambda module, args, output: calls.append(args[1].shape))
    for chunk in chain.from_iterable(pretrain_chunks(model, batch, pretraining, (3, 2, 3))):
        before = len(calls)
        chunk.compute(model)
        assert len(calls) == before + 1
        assert calls[-1][0] <= 3
    assert [shape for shape in calls if shape[1] == 0] == [(1, 0)] * blanks
    assert sum(count for count, visible in calls if visible) == 2 * (1 + 2 + 4)


@pytest.mark.parametrize("alignment", [Alignment(), PARENT], ids=str)
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("precision", "threads"),
    [("32-true", 1), ("32-true", 2), ("bf16-mixed", 1), ("bf16-true", 1), ("64-true", 1)],
)
def test_the_engine_may_wrap_the_model_and_threads_go_side_by_side(
    pretraining: PretrainConfig,
    batch_of: BatchOf,
    model_of: ModelOf,
    run: Run,
    alignment: Alignment,
    precision: str,
    threads: int,
) -> None:
    def compute(model: nn.Module, chunk: Chunk) -> Logged:
        loss, values = chunk.compute(model)
        fabric.backward(loss)
        return values

    config = replace(pretraining, alignment=alignment)
    batch, expected = batch_of(config), model_of(config)
    _, logged = run(expected, batch, config)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    model = fabric.setup(own := model_of(config))
    models = [model, *(fabric.setup_module(sharing(own)) for _ in range(threads - 1))]
    found = Counter[str]()
    for group in pretrain_chunks(model, batch, config, (1, 2, 3)):
        for values in compute_group(models, group, compute):
            found.update({name: float(value) for name, value in values.items()})
    gather_gradients(models)
    low = precision.startswith("bf16")
    smooth = {name: value for name, value in logged.items() if not name.startswith("found")}
    assert {name: found[name] for name in smooth} == pytest.approx(smooth, rel=0.05 if low else 1e-4)
    for weight, same in zip(own.parameters(), expected.parameters(), strict=True):
        if weight.requires_grad:
            assert weight.grad is not None
            assert same.grad is not None
            error = (weight.grad.float() - same.grad).norm() / same.grad.norm()
            assert low or error < 1e-3
