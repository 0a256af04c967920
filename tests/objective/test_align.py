"""Alignment against an independent softmax and cosine, and where its gradient goes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mim3d.config import Alignment
from mim3d.geometry import Triple, tokens_of_cell
from mim3d.objective.align import align, pool_cells

SIDES = st.tuples(*[st.integers(1, 3)] * 3)
LOSSES = [Alignment(loss="info_nce", temperature=0.2), Alignment(loss="cosine")]
CELL = torch.tensor([3, 0, 7, 3, 5])


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """What five children foresee (B, D), and the places in their parents (B, cells, D)."""
    random = torch.Generator().manual_seed(0)
    foreseen = torch.randn(5, 6, generator=random, dtype=dtype, requires_grad=True)
    return foreseen, torch.randn(5, 8, 6, generator=random, dtype=dtype, requires_grad=True)


def cosines(foreseen: Tensor, places: Tensor, row: int) -> list[float]:
    """Cosine of one child with every place in its parent."""
    child = foreseen[row].detach().numpy()
    return [
        float(child @ p / np.linalg.norm(child) / np.linalg.norm(p)) for p in places[row].detach().numpy()
    ]


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_info_nce_is_the_log_share_of_the_right_place(temperature: float) -> None:
    foreseen, places = drawn()
    found = align(foreseen, places, CELL, Alignment(loss="info_nce", temperature=temperature)).detach()
    for row, cell in enumerate(CELL.tolist()):
        weights = [math.exp(cosine / temperature) for cosine in cosines(foreseen, places, row)]
        assert float(found[row]) == pytest.approx(-math.log(weights[cell] / sum(weights)))


def test_cosine_is_two_less_twice_the_cosine() -> None:
    foreseen, places = drawn()
    found = align(foreseen, places, CELL, Alignment(loss="cosine"))
    expected = [2 - 2 * cosines(foreseen, places, row)[cell] for row, cell in enumerate(CELL.tolist())]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("alignment", LOSSES, ids=lambda alignment: alignment.loss)
def test_the_gradient_reaches_the_child_and_not_the_parent(alignment: Alignment) -> None:
    foreseen, places = drawn()
    torch.autograd.backward(align(foreseen, places, CELL, alignment).sum())
    assert foreseen.grad is not None
    assert foreseen.grad.abs().sum(dim=1).all()
    assert places.grad is None


@pytest.mark.parametrize("alignment", LOSSES, ids=lambda alignment: alignment.loss)
def test_another_parent_or_another_cell_is_another_value(alignment: Alignment) -> None:
    foreseen, places = drawn()
    value = align(foreseen, places, CELL, alignment)
    assert not torch.isclose(align(foreseen, places.roll(1, dims=0), CELL, alignment), value).any()
    assert not torch.isclose(align(foreseen, places, (CELL + 1) % 8, alignment), value).any()


def test_the_right_place_foreseen_costs_nothing() -> None:
    _, places = drawn()
    right = 3 * places[torch.arange(5), CELL]
    assert align(right, places, CELL, Alignment(loss="cosine")).tolist() == pytest.approx([0] * 5, abs=1e-9)
    sharp = Alignment(loss="info_nce", temperature=0.01)
    assert align(right, places, CELL, sharp).tolist() == pytest.approx([0] * 5, abs=1e-3)


@settings(deadline=None)
@given(cells=SIDES, cell=SIDES, batch=st.integers(1, 2), seed=st.integers(0, 9))
def test_pooling_is_the_mean_of_a_cells_tokens(cells: Triple, cell: Triple, batch: int, seed: int) -> None:
    count = math.prod(cells) * math.prod(cell)
    features = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed))
    pooled = pool_cells(features, cells, cell)
    assert pooled.shape == (batch, math.prod(cells), 3)
    for index in range(math.prod(cells)):
        expected = features[:, list(tokens_of_cell(index, cells, cell))].mean(dim=1)
        torch.testing.assert_close(pooled[:, index], expected)
