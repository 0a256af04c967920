"""A learnt code of the level, in encoder and decoder."""

from dataclasses import replace

import pytest
import torch

from mim3d.config import Architecture, Optimisation
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.level_code import LevelCode
from mim3d.train.optim import build_optimizer

ARCHITECTURE = Architecture(
    dims=(6, 6, 6, 12), depths=(1, 1, 1, 1), num_heads=2, decoder_dim=18, decoder_depth=1, decoder_heads=3
)
TOLD = replace(ARCHITECTURE, embedded_levels=3)
CROPS = torch.rand(2, 1, 16, 16, 8, generator=torch.Generator().manual_seed(0))
VISIBLE = torch.tensor([[6, 1, 0], [2, 7, 3]])


def test_each_level_has_its_code_and_none_has_their_mean() -> None:
    code = LevelCode(3, 4)
    assert code.codes is not None
    rows = code.codes.detach().reshape(3, 4)
    tokens = torch.rand(2, 5, 4)
    for level in range(3):
        assert torch.equal(code(tokens, level), tokens + rows[level])
    torch.testing.assert_close(code(tokens, None), tokens + (rows[0] + rows[1] + rows[2]) / 3)


def test_no_levels_no_code() -> None:
    tokens = torch.rand(2, 5, 4)
    code = LevelCode(0, 4)
    assert not list(code.parameters())
    assert code(tokens, 2) is tokens


def test_codes_begin_small_and_do_not_decay() -> None:
    torch.manual_seed(0)
    code = LevelCode(4, 1000)
    (codes,) = code.parameters()
    assert float(codes.detach().std()) == pytest.approx(0.02, rel=0.05)
    decaying, exempt = build_optimizer(code, Optimisation()).param_groups
    assert decaying["params"] == []
    assert exempt["params"][0] is codes


def test_every_code_takes_part_in_every_gradient() -> None:
    code = LevelCode(3, 4)
    code(torch.rand(2, 5, 4), 1).sum().backward()
    (codes,) = code.parameters()
    assert codes.grad is not None
    assert codes.grad.reshape(3, 4).sum(dim=1).tolist() == [0, 40, 0]


def test_the_encoder_tells_levels_apart_by_the_code_alone() -> None:
    torch.manual_seed(0)
    plain = Encoder((8, 8, 4), ARCHITECTURE)
    torch.manual_seed(0)
    told = Encoder((8, 8, 4), TOLD)
    latents = [told(CROPS, VISIBLE, level) for level in (0, 1, 2, None)]
    assert not any(torch.allclose(latents[i], latents[j]) for i in range(4) for j in range(i))
    (codes,) = told.level_code.parameters()
    codes.data.zero_()
    assert torch.equal(told(CROPS, VISIBLE, 1), plain(CROPS, VISIBLE, 1))


def test_a_whole_volume_gets_the_mean_of_the_codes() -> None:
    torch.manual_seed(0)
    told = Encoder((8, 8, 4), TOLD)
    everything = torch.arange(8).expand(2, -1)
    for level in (None, 1):
        whole = told.features(CROPS, level)[-1]
        torch.testing.assert_close(whole.flatten(2).transpose(1, 2), told(CROPS, everything, level))


def test_the_decoder_tells_levels_apart() -> None:
    torch.manual_seed(0)
    plain, latents = Decoder((2, 2, 2), (8, 8, 4), ARCHITECTURE), torch.rand(2, 3, 12)
    torch.manual_seed(0)
    told = Decoder((2, 2, 2), (8, 8, 4), TOLD)
    features = [told.features(latents, VISIBLE, level) for level in (0, 1, 2, None)]
    assert not any(torch.allclose(features[i], features[j]) for i in range(4) for j in range(i))
    torch.testing.assert_close(told(latents, VISIBLE, 2), told.predict(features[2]))
    (codes,) = told.level_code.parameters()
    codes.data.zero_()
    assert torch.equal(told(latents, VISIBLE, 1), plain(latents, VISIBLE))
