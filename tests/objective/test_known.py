"""What is ignored, or was not annotated, is left out of all that losses are taken of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mim3d.config import FinetuneConfig
from mim3d.objective.known import UNKNOWN, known_of
from mim3d.sampling.batch import LabelledBatch
from mim3d.sampling.labelled import IGNORED

EXCLUSIVE = ("a", "pair=b+c")
OVERLAPPING = ("whole=a+b", "b", "c")


def config_of(structures: tuple[str, ...]) -> FinetuneConfig:
    return FinetuneConfig(labels="labels", structures=structures)


def batch_of(labels: Tensor, annotated: list[list[bool]]) -> LabelledBatch:
    return LabelledBatch(labels[:, None].float(), labels, torch.tensor(annotated))


def test_each_voxel_has_one_output_where_structures_exclude_one_another() -> None:
    labels = torch.tensor([0, 1, 2, 3, IGNORED]).reshape(1, 5, 1, 1)
    logits = torch.randn(1, 3, 5, 1, 1)
    known = known_of(logits, batch_of(labels, [[True, True]]), config_of(EXCLUSIVE))
    assert not known.overlapping
    torch.testing.assert_close(known.logits, logits.log_softmax(dim=1))
    assert known.ids is not None
    assert known.ids.flatten().tolist() == [0, 1, 2, 2, UNKNOWN]
    assert known.truth[0, :, :, 0, 0].int().tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 1, 0]]
    assert known.known.flatten().tolist() == [True, True, True, True, False]
    torch.testing.assert_close(known.shares[:, :, :4], logits.softmax(dim=1)[:, 1:, :4])
    assert not known.shares[:, :, 4].any()
    assert torch.equal(known.structures, known.truth[:, 1:])


def test_each_structure_is_its_own_output_where_they_overlap() -> None:
    labels = torch.tensor([0, 1, 2, 3, IGNORED]).reshape(1, 5, 1, 1)
    logits = torch.randn(1, 3, 5, 1, 1)
    known = known_of(logits, batch_of(labels, [[True, True, False]]), config_of(OVERLAPPING))
    assert known.overlapping
    assert known.truth[0, :, :, 0, 0].int().tolist() == [[0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert known.known[0, :, :, 0, 0].int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    torch.testing.assert_close(known.shares[:, :2, :4], logits.sigmoid()[:, :2, :4])
    assert not known.shares[:, 2].any()
    assert not known.shares[:, :, 4].any()
    assert torch.equal(known.structures, known.truth)


def test_structures_that_nobody_looked_for_count_as_background_or_themselves() -> None:
    """What is labelled as nothing is held against the sum of both; what is labelled, against its own."""
    labels = torch.tensor([[0, 1], [0, 1]]).reshape(2, 2, 1, 1)
    logits = torch.randn(2, 3, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    known = known_of(logits, batch_of(labels, [[True, True], [True, False]]), config_of(EXCLUSIVE))
    shares, merged = logits.softmax(dim=1), known.logits.softmax(dim=1)
    torch.testing.assert_close(merged[0], shares[0])
    torch.testing.assert_close(merged[1, 0], shares[1, 0] + shares[1, 2])
    torch.testing.assert_close(merged[1, 1], shares[1, 1])
    assert not merged[1, 2].any()
    (gradient,) = torch.autograd.grad(-merged[1, 0, 0, 0, 0].log(), logits)
    likelier = gradient[1, :, 0, 0, 0] < 0  # what the step makes likelier
    assert likelier.tolist() == [True, False, True]


@pytest.mark.parametrize("structures", [EXCLUSIVE, OVERLAPPING])
def test_a_whole_batch_may_be_unknown(structures: tuple[str, ...]) -> None:
    config = replace(config_of(structures))
    labels = torch.full((1, 2, 2, 2), IGNORED)
    logits = torch.randn(1, config.num_outputs, 2, 2, 2)
    known = known_of(logits, batch_of(labels, [[True] * len(structures)]), config)
    assert not known.known.any()
    assert not known.truth.any()
    assert np.isfinite(known.shares.numpy()).all()
