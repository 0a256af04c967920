"""The decoder: what hidden tokens begin as, and what it does not depend on."""

import pytest
import torch

from mim3d.config import Architecture
from mim3d.model.blocks import sincos_3d
from mim3d.model.decoder import Decoder
from mim3d.model.patches import take_tokens

GRID, PATCH = (2, 3, 2), (4, 4, 2)
VISIBLE = torch.tensor([[7, 0, 3], [1, 11, 4]])


def made(depth: int) -> Decoder:
    torch.manual_seed(0)
    architecture = Architecture(
        dims=(6, 6, 6, 12), num_heads=2, decoder_dim=18, decoder_depth=depth, decoder_heads=3, channels=2
    )
    return Decoder(GRID, PATCH, architecture)


def test_hidden_tokens_begin_as_the_mask_token_at_their_place() -> None:
    decoder = made(depth=0)
    latents = torch.randn(2, 3, 12)
    features = decoder.features(latents, VISIBLE)
    assert features.shape == (2, 12, 18)
    position = sincos_3d(GRID, 18)
    for row in range(2):
        for token in range(12):
            begun: torch.Tensor = decoder.mask_token
            if token in VISIBLE[row]:
                begun = decoder.embed(latents[row, VISIBLE[row].tolist().index(token)])
            begun = begun + position[token]
            normed = (begun - begun.mean()) / (begun.var(correction=0) + 1e-6).sqrt()
            torch.testing.assert_close(features[row, token], normed)


def test_the_order_of_latents_does_not_matter() -> None:
    decoder = made(depth=2)
    latents, order = torch.randn(2, 3, 12), torch.tensor([2, 0, 1])
    expected = decoder(latents, VISIBLE)
    torch.testing.assert_close(decoder(latents[:, order], VISIBLE[:, order]), expected)
    assert not torch.allclose(decoder(latents[:, order], VISIBLE), expected)


def test_every_voxel_of_every_token_is_predicted() -> None:
    decoder = made(depth=1)
    latents = torch.randn(2, 3, 12)
    predicted = decoder(latents, VISIBLE)
    assert predicted.shape == (2, 12, 4 * 4 * 2 * 2)
    assert torch.equal(predicted, decoder.predict(decoder.features(latents, VISIBLE)))


def test_gradients_reach_latents_and_all_weights() -> None:
    decoder = made(depth=1)
    latents = torch.randn(2, 3, 12, requires_grad=True)
    decoder(latents, VISIBLE).square().sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum(dim=-1).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())


def test_position_codes_are_no_weights() -> None:
    assert "position" not in made(depth=0).state_dict()


def test_base_has_as_many_parameters_as_the_paper() -> None:
    with torch.device("meta"):
        decoder = Decoder((6, 6, 6), (16, 16, 16), Architecture())
    assert round(sum(p.numel() for p in decoder.parameters()) / 1e6, 2) == 34.50


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_tokens_that_are_wanted_alone_are_those_of_all(depth: int) -> None:
    decoder, latents = made(depth), torch.randn(2, 3, 12)
    wanted = torch.tensor([[5, 0], [2, 11]])
    every = decoder.features(latents, VISIBLE)
    torch.testing.assert_close(decoder.features(latents, VISIBLE, wanted=wanted), take_tokens(every, wanted))
