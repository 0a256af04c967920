"""Every loss against numpy; what is not known changes nothing."""

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from mim3d.config import FinetuneConfig, SegmentationLoss
from mim3d.objective.known import known_of
from mim3d.objective.segment import LOSSES, segment_chunks
from mim3d.sampling.batch import LabelledBatch
from mim3d.sampling.labelled import IGNORED

STRUCTURES = {False: ("a", "b", "pair=c+d"), True: ("whole=a+b+c", "pair=b+c", "d")}
"""By whether they overlap."""
NAMES: tuple[SegmentationLoss, ...] = get_args(SegmentationLoss)


@dataclass(frozen=True)
class Drawn:
    """A batch of two crops with random labels, and logits."""

    config: FinetuneConfig
    logits: Tensor
    batch: LabelledBatch


def drawn(seed: int, *, overlapping: bool, ignored: float = 0.3, annotated: bool = True) -> Drawn:
    random = np.random.default_rng(seed)
    config = FinetuneConfig(labels="labels", structures=STRUCTURES[overlapping])
    labels = random.integers(0, 5, (2, 3, 4, 2))
    labels[random.random(labels.shape) < ignored] = IGNORED
    seen = np.ones((2, 3), bool) if annotated else random.random((2, 3)) < 0.6
    for row, known in zip(labels, seen, strict=True):  # as `read_label_ids` has it
        for structure, ids in enumerate(([1], [2], [3, 4]) if not overlapping else ()):
            if not known[structure]:
                row[np.isin(row, ids)] = 0
    batch = LabelledBatch(
        torch.rand(2, 1, 3, 4, 2), torch.from_numpy(labels), torch.from_numpy(np.asarray(seen))
    )
    logits = torch.from_numpy(random.normal(size=(2, config.num_outputs, 3, 4, 2)))
    return Drawn(config, logits.requires_grad_(), batch)


def rows_of(one: Drawn) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Probabilities and truth of every output, and what is known: (crops, voxels, O)."""
    scores = np.moveaxis(one.logits.detach().numpy(), 1, -1).reshape(2, -1, one.config.num_outputs)
    ids, seen = one.batch.labels.numpy().reshape(2, -1), one.batch.annotated.numpy()
    sure = np.repeat((ids != IGNORED)[..., None], scores.shape[-1], axis=-1)
    if one.config.overlapping:
        sets = ((1, 2, 3), (2, 3), (4,))
        truth = np.stack([np.isin(ids, some) for some in sets], axis=-1)
        return 1 / (1 + np.exp(-scores)), truth, sure & seen[:, None, :]
    shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    for crop, known in zip(shares, seen, strict=True):
        crop[:, 0] += crop[:, 1:][:, ~known].sum(axis=1)
        crop[:, 1:][:, ~known] = 0
    truth = np.stack([np.isin(ids, some) for some in ((0,), (1,), (2,), (3, 4))], axis=-1)
    return shares, truth, sure


def reference(one: Drawn) -> tuple[float, float]:
    """The two terms of the loss of a configuration."""
    shares, truth, sure = rows_of(one)
    first = 0 if one.config.overlapping else 1
    p, t = (np.where(sure, rows, 0)[..., first:].reshape(-1, 3) for rows in (shares, truth))  # (voxels, S)
    hits, invented, missed = (p * t).sum(axis=0), (p * (1 - t)).sum(axis=0), ((1 - p) * t).sum(axis=0)
    kind, _, voxels = one.config.loss.rpartition("_")
    if kind == "dice":
        overlap = np.mean(1 - (2 * hits + 1e-5) / (2 * hits + invented + missed + 1e-5))
    elif kind == "tversky":
        overlap = np.mean(1 - (hits + 1e-5) / (hits + 0.3 * invented + 0.7 * missed + 1e-5))
    else:
        squares = np.where(t.sum(axis=0) > 0, t.sum(axis=0).astype(float) ** 2, np.inf)
        weights = 1 / squares
        weights[weights == 0] = weights.max()
        above, below = 2 * (hits * weights).sum(), ((2 * hits + invented + missed) * weights).sum()
        overlap = 1 - (above + 1e-5) / (below + 1e-5)
    chance = np.where(truth, shares, 1 - shares) if one.config.overlapping else np.where(truth, shares, 1.0)
    surprise = -np.log(chance)
    if voxels == "focal":
        surprise *= (1 - chance) ** 2
    count = sure.sum() if one.config.overlapping or voxels == "focal" else sure[..., 0].sum()
    return float(overlap), float((surprise * sure).sum() / max(count, 1))


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("loss", NAMES)
@given(seed=st.integers(0, 999), ignored=st.sampled_from([0.0, 0.3, 0.9, 1.0]), annotated=st.booleans())
def test_terms_are_those_of_what_is_known(
    loss: SegmentationLoss, overlapping: bool, seed: int, ignored: float, annotated: bool
) -> None:
    one = drawn(seed, overlapping=overlapping, ignored=ignored, annotated=annotated)
    one = replace(one, config=replace(one.config, loss=loss))
    known = known_of(one.logits.detach(), one.batch, one.config)
    found = [float(term(known)) for term in LOSSES[loss].values()]
    assert found == pytest.approx(reference(one), abs=1e-6)


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("loss", NAMES)
def test_ignored_voxels_change_nothing(loss: SegmentationLoss, overlapping: bool) -> None:
    one = drawn(1, overlapping=overlapping, annotated=False)

    def total(logits: Tensor) -> Tensor:
        known = known_of(logits, one.batch, one.config)
        return torch.stack([term(known) for term in LOSSES[loss].values()]).sum()

    torch.autograd.backward(total(one.logits))
    ignored = (one.batch.labels == IGNORED)[:, None].expand_as(one.logits)
    assert one.logits.grad is not None
    assert not one.logits.grad[ignored].any()
    other = one.logits.detach().masked_fill(ignored, 9.0)
    assert torch.equal(total(other), total(one.logits.detach()))


@pytest.mark.parametrize("loss", NAMES)
def test_overlapping_structures_that_were_not_annotated_change_nothing(loss: SegmentationLoss) -> None:
    one = drawn(2, overlapping=True)
    batch = replace(one.batch, annotated=torch.tensor([[True, False, True], [False, True, True]]))
    known = known_of(one.logits, batch, one.config)
    torch.autograd.backward(torch.stack([term(known) for term in LOSSES[loss].values()]).sum())
    assert one.logits.grad is not None
    reached = one.logits.grad.flatten(2).any(dim=2)  # (B, S)
    assert reached.tolist() == batch.annotated.tolist()


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_perfect_prediction_costs_nothing(overlapping: bool) -> None:
    one = drawn(2, overlapping=overlapping)
    truth = known_of(one.logits, one.batch, one.config).truth
    known = known_of(truth.double() * 100 - 50, one.batch, one.config)
    for terms in LOSSES.values():
        for term in terms.values():
            assert float(term(known)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("loss", NAMES)
def test_a_batch_is_one_chunk_whose_terms_add_up(loss: SegmentationLoss, overlapping: bool) -> None:
    torch.manual_seed(0)
    one = drawn(3, overlapping=overlapping)
    config, model = replace(one.config, loss=loss), nn.Conv3d(1, one.config.num_outputs, 1)
    ((chunk,),) = segment_chunks(config, model, one.batch)
    assert chunk.last
    total, logged = chunk.compute(model)
    terms = reference(Drawn(config, model(one.batch.crops), one.batch))
    assert [float(value) for value in logged.values()] == pytest.approx(terms, abs=1e-6)
    assert float(total.detach()) == pytest.approx(sum(terms), abs=1e-6)
    assert not any(value.requires_grad for value in logged.values())
    torch.autograd.backward(total)
    assert model.weight.grad is not None


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("loss", NAMES)
def test_a_batch_in_which_all_is_ignored_gives_a_finite_loss(
    loss: SegmentationLoss, overlapping: bool
) -> None:
    one = drawn(4, overlapping=overlapping, ignored=1.0)
    model = nn.Conv3d(1, one.config.num_outputs, 1)
    ((chunk,),) = segment_chunks(replace(one.config, loss=loss), model, one.batch)
    total, _ = chunk.compute(model)
    torch.autograd.backward(total)
    assert total.isfinite()
    assert model.weight.grad is not None
    assert model.weight.grad.isfinite().all()
