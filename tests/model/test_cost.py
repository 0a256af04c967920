"""Counted operations and kept memory, against what PyTorch counts and what autograd keeps."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mim3d.config import Architecture, Level, Nesting, Optimisation, PretrainConfig, Runtime
from mim3d.model.cost import Plan, crop_cost, flops_of_region, plan_step
from mim3d.model.linear import AVAILABLE
from mim3d.model.mim import Mim
from mim3d.model.patches import index_of

LEVELS = (Level(cell=(2, 2, 2), masked_ratio=0.5, children=2), Level(masked_ratio=0.75, children=0))
NESTING = Nesting(extent=(64, 64, 32), crop=(64, 64, 32), levels=LEVELS)
ARCHITECTURE = Architecture(
    dims=(12, 24, 48, 96), depths=(2, 1, 2, 3), num_heads=3, decoder_dim=48, decoder_depth=2, decoder_heads=2
)
THIN = replace(NESTING, patch=(16, 16, 4), crop=(64, 64, 8))


def crop_and_masks(nesting: Nesting, level: int, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    tokens = nesting.grid[0] * nesting.grid[1] * nesting.grid[2]
    cell = nesting.levels[level].cell
    masked = torch.zeros(1, tokens, dtype=torch.bool)
    masked[:, : nesting.num_hidden_cells(level) * cell[0] * cell[1] * cell[2]] = True
    return torch.rand(1, channels, *nesting.crop), index_of(~masked), index_of(masked)


def product_of(rows: tuple[int, ...], weight: tuple[int, int], *_: object, **__: object) -> int:
    """Operations of a linear layer by the library whose products PyTorch's counter does not know."""
    return 2 * math.prod(rows) * weight[0]


PRODUCTS = {torch.ops.mkldnn._linear_pointwise: product_of} if AVAILABLE else {}


@pytest.mark.parametrize("nesting", [NESTING, THIN])
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_those_that_pytorch_counts(nesting: Nesting, level: int, channels: int) -> None:
    architecture = replace(ARCHITECTURE, channels=channels)
    model = Mim(nesting, architecture)
    crops, visible, hidden = crop_and_masks(nesting, level, channels)
    attention_as_products = sdpa_kernel(SDPBackend.MATH)  # the only kind that PyTorch counts on every device
    counter = FlopCounterMode(display=False, custom_mapping=PRODUCTS)
    with counter, attention_as_products, torch.no_grad():
        model(crops, visible, hidden, level)
    assert crop_cost(nesting, architecture, level).flops == counter.get_total_flops()


@pytest.mark.parametrize("nesting", [NESTING, THIN])
@pytest.mark.parametrize("level", [0, 1])
def test_memory_is_what_autograd_keeps(nesting: Nesting, level: int) -> None:
    model = Mim(nesting, ARCHITECTURE)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    crops, visible, hidden = crop_and_masks(nesting, level, 1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        predicted = model(crops, visible, hidden, level).predicted
        loss = (predicted - torch.rand_like(predicted)).square().mean()
    assert crop_cost(nesting, ARCHITECTURE, level).bytes_kept == pytest.approx(sum(kept.values()), rel=0.1)
    assert loss.requires_grad  # the graph, and so what it keeps, lived until here


def test_a_region_is_its_crops_forward_and_twice_that_backward() -> None:
    config = PretrainConfig(nesting=NESTING, architecture=ARCHITECTURE)
    outer, inner = (crop_cost(NESTING, ARCHITECTURE, level).flops for level in (0, 1))
    assert flops_of_region(config) == 3 * (outer + 2 * inner)


EACH = [crop_cost(NESTING, ARCHITECTURE, level).bytes_kept / 1e9 for level in (0, 1)]


def planned(gb: float, batch_size: int, num_weights: int = 0, threads: int = 1) -> Plan:
    config = PretrainConfig(
        nesting=NESTING,
        architecture=ARCHITECTURE,
        runtime=Runtime(memory_gb=gb),
        optimisation=Optimisation(batch_size=batch_size),
    )
    return plan_step(config, num_weights, threads)


@pytest.mark.parametrize("gb", [1e-6, *(max(EACH) * n for n in (1.01, 3.01, 7.5, 1000))])
def test_as_many_crops_go_at_once_as_the_budget_holds_in_even_parts(gb: float) -> None:
    plan = planned(gb, batch_size=5)
    assert plan.threads == 1
    for count, size, one in zip((5, 10), plan.at_once, EACH, strict=True):
        holds = max(1, int(gb / one))
        assert size <= holds
        assert -(-count // size) == -(-count // holds)  # no more parts than are needed


def test_threads_compute_side_by_side_where_the_budget_holds_their_gradients() -> None:
    gradients = 2 * 4 * 1e6 / 1e9  # GB of the two threads beside the first
    enough = gradients + 3 * max(EACH)
    assert planned(0.99 * enough, 6, 1_000_000, threads=3).threads == 1
    assert planned(1.01 * enough, 6, 1_000_000, threads=3).at_once == (1, 1)
    assert planned(1.01 * enough, 6, 1_000_000, threads=3).threads == 3
    assert planned(1e-6, 6, 1_000_000, threads=3).gb_for_threads == pytest.approx(enough)
    assert planned(1000, 6, 1_000_000, threads=3).at_once == (2, 4)  # a part for each thread
    assert planned(1000, 1, 1_000_000, threads=3).at_once == (1, 1)
