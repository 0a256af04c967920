from dataclasses import replace

import pytest
import torch

from mim3d.config import Architecture
from mim3d.model.drop_path import drop_path, drop_rates
from mim3d.model.encoder import Encoder


def test_rates_rise_from_nothing_to_the_most() -> None:
    assert drop_rates(0.2, 5) == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert drop_rates(0.2, 1) == [0.0]
    assert drop_rates(0.0, 3) == [0.0, 0.0, 0.0]


def test_a_crop_keeps_all_of_a_block_or_nothing() -> None:
    torch.manual_seed(0)
    into, out = torch.zeros(200 * 3, 4), torch.ones(200 * 3, 4)
    found = drop_path(out, into, 0.4, crops=200).view(200, -1)
    kept = found[:, 0] > 0
    assert torch.equal(found, (kept / 0.6)[:, None].expand_as(found))
    assert 0.5 < kept.float().mean() < 0.7


def test_nothing_is_drawn_at_a_rate_of_nothing() -> None:
    before = torch.get_rng_state()
    out = torch.ones(2, 1)
    assert drop_path(out, torch.zeros(2, 1), 0.0, crops=2) is out
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def deep(architecture: Architecture) -> Architecture:
    return replace(architecture, depths=(1, 1, 1, 2))


def encoders(architecture: Architecture) -> tuple[Encoder, Encoder]:
    """The same weights, one with blocks left out while it learns."""
    plain, dropping = (Encoder((4, 4, 4), architecture, rate) for rate in (0.0, 0.8))
    dropping.load_state_dict(plain.state_dict())
    return plain, dropping


def test_an_encoder_in_use_is_whole(deep: Architecture) -> None:
    plain, dropping = encoders(deep)
    volume = torch.rand(3, 1, 8, 8, 8)
    for ours, theirs in zip(dropping.eval().features(volume), plain.features(volume), strict=True):
        assert torch.equal(ours, theirs)


def test_an_encoder_that_learns_draws_by_its_seed(deep: Architecture) -> None:
    plain, dropping = encoders(deep)
    volume = torch.rand(1, 1, 8, 8, 8).expand(16, -1, -1, -1, -1)
    torch.manual_seed(1)
    first = dropping.train().features(volume)
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(first, dropping.features(volume), strict=True))
    assert not torch.equal(first[-1], dropping.features(volume)[-1])
    whole = plain.train().features(volume)
    torch.testing.assert_close(first[0], whole[0])  # the first block is never left out
    alike = (first[-1] - first[-1][:1]).flatten(1).abs().amax(dim=1) < 1e-6
    assert 1 <= alike.sum() < 16  # crops differ by what was left out of them alone
