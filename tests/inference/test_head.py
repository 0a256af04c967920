from dataclasses import replace

import pytest
import torch

from mim3d.config import FinetuneConfig
from mim3d.downstream.segmenter import Segmenter
from mim3d.inference.head import apart

MANY = tuple(f"structure{number}" for number in range(12))


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.rand((2, 1, 16, 16, 16), generator=torch.Generator().manual_seed(0))


def test_the_last_layer_apart_gives_the_same(finetuning: FinetuneConfig, crops: torch.Tensor) -> None:
    network = Segmenter(replace(finetuning, structures=MANY)).eval()
    with torch.no_grad():
        whole = network(crops)  # (B, 13, X, Y, Z)
        body, head = apart(network)
        assert head is not None
        given = body(crops)  # (B, 4, X, Y, Z)
        assert given.shape == (2, 4, 16, 16, 16)
        torch.testing.assert_close(head(given.movedim(1, -1)).movedim(-1, 1), whole, rtol=1e-4, atol=1e-5)
        assert torch.equal(network(crops), whole)  # is left as it was


def test_a_last_layer_that_makes_less_than_it_is_given_stays(finetuning: FinetuneConfig) -> None:
    network = Segmenter(finetuning)
    assert apart(network) == (network, None)


def test_what_is_no_module_stays_whole() -> None:
    assert apart(torch.sigmoid) == (torch.sigmoid, None)


def test_a_last_layer_that_lies_deeper_stays(crops: torch.Tensor) -> None:
    class Around(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.Conv3d(2, 9, 1))

        @property
        def head(self) -> torch.nn.Module:
            return self.inner[1]

        def forward(self, volume: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.inner(volume)
            return found

    network = Around()
    assert apart(network) == (network, None)
