"""MiM's parts put together: predictions of hidden tokens, features of all, a place foreseen."""

import pytest
import torch

from mim3d.config import Architecture, Level, Nesting
from mim3d.model.mim import Mim

ARCHITECTURE = Architecture(
    dims=(6, 6, 6, 12), depths=(1, 1, 1, 1), num_heads=2, decoder_dim=18, decoder_depth=1, decoder_heads=3
)
NESTING = Nesting(
    extent=(16, 16, 16),
    crop=(16, 16, 8),
    patch=(8, 8, 4),
    levels=(Level(), Level(masked_ratio=0.5, children=0)),
)
VISIBLE, HIDDEN = torch.tensor([[6, 1, 0], [2, 7, 3]]), torch.tensor([[2, 3, 4, 5, 7], [0, 1, 4, 5, 6]])


def made(*, align: bool) -> Mim:
    torch.manual_seed(0)
    return Mim(NESTING, ARCHITECTURE, align=align)


def test_hidden_tokens_are_predicted_as_the_decoder_would() -> None:
    model, crops = made(align=True), torch.rand(2, 1, 16, 16, 8)
    predicted, features, foreseen = model(crops, VISIBLE, HIDDEN)
    latents = model.encoder(crops, VISIBLE)
    everything = model.decoder(latents, VISIBLE)
    assert predicted.shape == (2, 5, 8 * 8 * 4)
    for row in range(2):
        torch.testing.assert_close(predicted[row], everything[row, HIDDEN[row]])
    torch.testing.assert_close(features, model.decoder.features(latents, VISIBLE))
    assert foreseen.shape == (2, 18)
    assert model.predictor is not None
    torch.testing.assert_close(foreseen, model.predictor(latents.mean(dim=1)))


def test_nothing_is_foreseen_without_alignment() -> None:
    model = made(align=False)
    assert model.predictor is None
    assert model(torch.rand(2, 1, 16, 16, 8), VISIBLE, HIDDEN).foreseen is None


@pytest.mark.parametrize("align", [True, False])
def test_gradients_reach_every_weight(align: bool) -> None:
    model = made(align=align)
    output = model(torch.rand(2, 1, 16, 16, 8), VISIBLE, HIDDEN)
    loss = output.predicted.square().sum()
    if output.foreseen is not None:
        loss = loss + output.foreseen.square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
