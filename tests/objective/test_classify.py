"""The loss of classified volumes against its plain definition."""

import math

import pytest
import torch
from torch import Tensor, nn

from mim3d.objective.classify import class_loss, class_probabilities, classify_chunks
from mim3d.sampling.volumes import ClassifiedBatch

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
WEIGHTS = torch.tensor([0.5, 2.0, 3.0])


def test_one_class_a_volume() -> None:
    truth = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    shares = LOGITS.exp() / LOGITS.exp().sum(dim=1, keepdim=True)
    expected = torch.stack([-2.0 * shares[0, 1].log(), -0.5 * shares[1, 0].log()])
    torch.testing.assert_close(class_loss(LOGITS, truth, WEIGHTS, multi_label=False), expected)
    torch.testing.assert_close(class_probabilities(LOGITS, multi_label=False), shares)


def test_any_number_of_classes_a_volume() -> None:
    truth = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    odds = 1 / (1 + (-LOGITS).exp())
    each = -(truth * WEIGHTS * odds.log() + (1 - truth) * (1 - odds).log())
    torch.testing.assert_close(class_loss(LOGITS, truth, WEIGHTS, multi_label=True), each.mean(dim=1))
    torch.testing.assert_close(class_probabilities(LOGITS, multi_label=True), odds)


class Shown(nn.Module):
    """A volume's only voxels are its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, volume: Tensor) -> Tensor:
        return self.scale * volume.flatten(1)


@pytest.mark.parametrize("multi_label", [False, True])
def test_chunks_add_up_to_the_batch(multi_label: bool) -> None:
    truth = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    batch = ClassifiedBatch(LOGITS[:, None, None, None], truth, ("a", "b"))
    (group,) = classify_chunks(WEIGHTS, multi_label, Shown(), batch)
    assert [chunk.last for chunk in group] == [False, True]
    found = [chunk.compute(Shown()) for chunk in group]
    expected = class_loss(LOGITS, truth, WEIGHTS, multi_label=multi_label).mean()
    torch.testing.assert_close(sum(loss for loss, _ in found), expected)
    right = sum(float(logged["accuracy"]) for _, logged in found)
    decided = ((LOGITS > 0) == (truth > 0)).float().mean()
    assert right == pytest.approx(float(decided) if multi_label else 0.5)


def test_all_alike_is_the_entropy_of_chance() -> None:
    truth = torch.eye(3)
    loss = class_loss(torch.zeros(3, 3), truth, torch.ones(3), multi_label=False)
    torch.testing.assert_close(loss, torch.full((3,), math.log(3)))
