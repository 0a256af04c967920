import numpy as np
import pytest
import torch

from mim3d.inference.decide import decide


def test_the_highest_logit_wins_where_structures_exclude_one_another() -> None:
    logits = torch.tensor([[0.0, 3.0, -1.0, 0.0], [1.0, 2.0, -2.0, 0.0], [0.5, 1.0, -0.5, 0.0]])  # (O, 4)
    found = decide(logits, overlapping=False)
    assert found.tolist() == [1, 0, 2, 0]
    assert found.dtype == np.uint8


def test_later_structures_are_painted_over_earlier_ones_where_they_overlap() -> None:
    logits = torch.tensor([[[-1.0, 2.0], [3.0, 0.0]], [[-1.0, -2.0], [0.1, -5.0]]])  # (S, 2, 2)
    found = decide(logits, overlapping=True)
    assert found.tolist() == [[0, 1], [2, 0]]
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("outputs", "overlapping", "kind"),
    [(256, False, np.uint8), (257, False, np.uint16), (255, True, np.uint8), (256, True, np.uint16)],
)
def test_many_structures_need_two_bytes(outputs: int, overlapping: bool, kind: type) -> None:
    logits = torch.full((outputs, 1), -1.0)
    logits[-1] = 1.0
    found = decide(logits, overlapping)
    assert found.dtype == kind
    assert found.tolist() == [outputs - (not overlapping)]
