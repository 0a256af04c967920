"""Dice and cross-entropy against numpy; ignored voxels change nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mim3d.objective.segment import dice_loss, known_cross_entropy, segment_chunks
from mim3d.sampling.batch import LabelledBatch
from mim3d.sampling.crops import IGNORED

NUM_STRUCTURES = 3


def drawn(seed: int, ignored_share: float) -> tuple[Tensor, Tensor]:
    """Logits (B, 1 + S, X, Y, Z) and labels (B, X, Y, Z), some of them ignored."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(2, 1 + NUM_STRUCTURES, 3, 4, 2))
    labels = random.integers(0, 1 + NUM_STRUCTURES, (2, 3, 4, 2))
    labels[random.random(labels.shape) < ignored_share] = IGNORED
    return torch.from_numpy(logits).requires_grad_(), torch.from_numpy(labels)


def reference(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Dice loss and cross-entropy over all known voxels of the batch."""
    scores, truth = logits.detach().movedim(1, -1).numpy(), labels.numpy()
    scores, truth = scores[truth != IGNORED], truth[truth != IGNORED]  # (voxels, 1 + S), (voxels,)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    dice = []
    for structure in range(1, 1 + NUM_STRUCTURES):
        share, there = shares[:, structure], truth == structure
        overlap = 2 * share[there].sum() + 1e-5
        dice.append(1 - overlap / (share.sum() + there.sum() + 1e-5))
    surprise = [-np.log(row[structure]) for row, structure in zip(shares, truth, strict=True)]
    return float(np.mean(dice)), float(np.mean(surprise)) if surprise else 0.0


@settings(deadline=None)
@given(seed=st.integers(0, 999), ignored_share=st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_dice_and_cross_entropy_of_the_known_voxels(seed: int, ignored_share: float) -> None:
    logits, labels = drawn(seed, ignored_share)
    dice, cross_entropy = reference(logits, labels)
    logits = logits.detach()
    assert float(dice_loss(logits, labels)) == pytest.approx(dice, abs=1e-6)
    assert float(known_cross_entropy(logits, labels)) == pytest.approx(cross_entropy, abs=1e-6)


def test_ignored_voxels_change_nothing() -> None:
    logits, labels = drawn(1, 0.4)
    torch.autograd.backward(dice_loss(logits, labels) + known_cross_entropy(logits, labels))
    ignored = (labels == IGNORED)[:, None].expand_as(logits)
    assert logits.grad is not None
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].all()
    other = logits.detach().masked_fill(ignored, 9.0)
    torch.testing.assert_close(dice_loss(other, labels), dice_loss(logits, labels))
    torch.testing.assert_close(known_cross_entropy(other, labels), known_cross_entropy(logits, labels))


def test_a_perfect_prediction_costs_nothing() -> None:
    _, labels = drawn(2, 0.2)
    logits = torch.nn.functional.one_hot(labels.where(labels != IGNORED, 0)).movedim(-1, 1) * 50.0
    assert float(dice_loss(logits, labels)) == pytest.approx(0, abs=1e-6)
    assert float(known_cross_entropy(logits, labels)) == pytest.approx(0, abs=1e-6)


def test_a_batch_is_one_chunk_whose_terms_add_up() -> None:
    torch.manual_seed(0)
    model = nn.Conv3d(1, 1 + NUM_STRUCTURES, 1)
    crops, (_, labels) = torch.rand(2, 1, 3, 4, 2), drawn(3, 0.2)
    ((chunk,),) = segment_chunks(model, LabelledBatch(crops, labels))
    assert chunk.last
    loss, logged = chunk.compute(model)
    dice, cross_entropy = reference(model(crops), labels)
    assert {name: float(value) for name, value in logged.items()} == pytest.approx(
        {"dice_loss": dice, "cross_entropy": cross_entropy}, abs=1e-6
    )
    assert float(loss.detach()) == pytest.approx(dice + cross_entropy, abs=1e-6)
    assert not any(value.requires_grad for value in logged.values())
    torch.autograd.backward(loss)
    assert model.weight.grad is not None


def test_a_batch_in_which_all_is_ignored_gives_a_finite_loss() -> None:
    model = nn.Conv3d(1, 1 + NUM_STRUCTURES, 1)
    labels = torch.full((1, 2, 2, 2), IGNORED)
    ((chunk,),) = segment_chunks(model, LabelledBatch(torch.rand(1, 1, 2, 2, 2), labels))
    loss, _ = chunk.compute(model)
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert model.weight.grad is not None
    assert model.weight.grad.isfinite().all()
