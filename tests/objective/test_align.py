"""Alignment against an independent softmax and cosine, and where its gradient goes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mim3d.config import Alignment
from mim3d.objective.align import align

LOSSES = [Alignment(loss="info_nce", temperature=0.2), Alignment(loss="cosine")]
OWN = torch.tensor([3, 0, 7, 3, 5])


def drawn(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Five queries (Q, D), eight keys (N, D), and who may look at what (Q, N)."""
    random = torch.Generator().manual_seed(seed)
    queries = torch.randn(5, 6, generator=random, requires_grad=True)
    keys = torch.randn(8, 6, generator=random, requires_grad=True)
    allowed = torch.rand(5, 8, generator=random) < 0.5
    return queries, keys, allowed.scatter(1, OWN[:, None], True)


def cosines(queries: Tensor, keys: Tensor) -> list[list[float]]:
    """Of every query with every key."""
    ours, theirs = queries.detach().numpy(), keys.detach().numpy()
    return [[float(q @ k / np.linalg.norm(q) / np.linalg.norm(k)) for k in theirs] for q in ours]


@given(temperature=st.floats(0.05, 2.0), seed=st.integers(0, 99))
def test_info_nce_is_the_log_share_of_the_own_key_among_those_allowed(temperature: float, seed: int) -> None:
    queries, keys, allowed = drawn(seed)
    loss, found = align(queries, keys, OWN, allowed, Alignment(temperature=temperature))
    for row, cosine in enumerate(cosines(queries, keys)):
        weights = {i: math.exp(cosine[i] / temperature) for i in range(8) if allowed[row, i]}
        own = int(OWN[row])
        assert float(loss[row].detach()) == pytest.approx(
            -math.log(weights[own] / sum(weights.values())), abs=1e-5
        )
        assert bool(found[row]) == (weights[own] == max(weights.values()))


def test_cosine_is_two_less_twice_the_cosine_whatever_the_others_are() -> None:
    queries, keys, allowed = drawn()
    loss, found = align(queries, keys, OWN, allowed, Alignment(loss="cosine"))
    expected = [2 - 2 * row[own] for row, own in zip(cosines(queries, keys), OWN.tolist(), strict=True)]
    assert loss.tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(found, align(queries, keys, OWN, allowed, Alignment()).found)


@pytest.mark.parametrize("alignment", LOSSES, ids=lambda alignment: alignment.loss)
def test_the_gradient_reaches_the_queries_and_not_the_keys(alignment: Alignment) -> None:
    queries, keys, allowed = drawn()
    torch.autograd.backward(align(queries, keys, OWN, torch.ones_like(allowed), alignment).loss.sum())
    assert queries.grad is not None
    assert queries.grad.abs().sum(dim=1).all()
    assert keys.grad is None


@pytest.mark.parametrize("alignment", LOSSES, ids=lambda alignment: alignment.loss)
def test_another_key_is_another_value(alignment: Alignment) -> None:
    queries, keys, _ = drawn()
    all_of_them = torch.ones(5, 8, dtype=torch.bool)
    value = align(queries, keys, OWN, all_of_them, alignment).loss
    assert not torch.isclose(align(queries, keys, (OWN + 1) % 8, all_of_them, alignment).loss, value).any()


def test_the_own_key_foreseen_costs_nothing_and_is_found() -> None:
    _, keys, _ = drawn()
    all_of_them = torch.ones(5, 8, dtype=torch.bool)
    loss, found = align(3 * keys[OWN], keys, OWN, all_of_them, Alignment(loss="cosine"))
    assert loss.tolist() == pytest.approx([0] * 5, abs=1e-6)
    assert found.all()
    sharp = align(3 * keys[OWN], keys, OWN, all_of_them, Alignment(temperature=0.01))
    assert sharp.loss.tolist() == pytest.approx([0] * 5, abs=1e-3)


def test_a_single_candidate_costs_nothing() -> None:
    queries, keys, _ = drawn()
    only = torch.zeros(5, 8, dtype=torch.bool).scatter(1, OWN[:, None], True)
    assert align(queries, keys, OWN, only, Alignment()).loss.tolist() == [0.0] * 5


def test_similarity_is_in_single_precision_whatever_comes_in() -> None:
    queries, keys, allowed = (x.detach() for x in drawn())
    low, other = queries.bfloat16(), keys.bfloat16()
    loss = align(low, other, OWN, allowed, Alignment()).loss
    assert loss.dtype == torch.float32
    assert torch.equal(loss, align(low.float(), other.float(), OWN, allowed, Alignment()).loss)
