import pytest
import torch

from mim3d.inference.ensemble import probabilities, together
from mim3d.inference.window import Plane


def planes(seed: int) -> list[Plane]:
    logits = torch.randn((2, 3, 4, 5), generator=torch.Generator().manual_seed(seed))
    return list(enumerate(logits))


@pytest.mark.parametrize("overlapping", [False, True])
def test_what_comes_out_is_the_mean_probability_as_logits(overlapping: bool) -> None:
    found = list(together([iter(planes(0)), iter(planes(1))], overlapping))
    for (place, logits), (_, one), (_, two) in zip(found, planes(0), planes(1), strict=True):
        mean = (probabilities(one, overlapping) + probabilities(two, overlapping)) / 2
        torch.testing.assert_close(probabilities(logits, overlapping), mean)
        assert place in (0, 1)


def test_a_network_alone_keeps_its_logits() -> None:
    for (_, ours), (_, theirs) in zip(together([iter(planes(0))], False), planes(0), strict=True):
        assert ours is theirs or torch.equal(ours, theirs)


def test_networks_that_are_sure_of_opposites_leave_finite_logits() -> None:
    sure = torch.tensor([200.0, -200.0]).reshape(2, 1, 1)
    for overlapping in (False, True):
        ((_, logits),) = together([iter([(0, sure)]), iter([(0, sure)])], overlapping)
        assert torch.isfinite(logits).all()
