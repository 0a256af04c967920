"""MiM's parts put together: predictions of hidden tokens, features of all, what is foreseen."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mim3d.config import Alignment, Architecture, Level, Nesting
from mim3d.geometry import tokens_of_cell
from mim3d.model.mim import Mim

ARCHITECTURE = Architecture(
    dims=(6, 6, 6, 12), depths=(1, 1, 1, 1), num_heads=2, decoder_dim=18, decoder_depth=1, decoder_heads=3
)
NESTING = Nesting(
    extent=(16, 16, 16),
    crop=(16, 16, 8),
    patch=(8, 8, 4),
    levels=(Level(cell=(1, 2, 1), masked_ratio=0.5, children=2), Level(masked_ratio=0.5, children=0)),
)
VISIBLE, HIDDEN = torch.tensor([[6, 1, 0], [2, 7, 3]]), torch.tensor([[2, 3, 4, 5, 7], [0, 1, 4, 5, 6]])
CELLS = torch.tensor([[3, 0], [1, 2]])
CROPS = torch.rand(2, 1, 16, 16, 8, generator=torch.Generator().manual_seed(0))
EVERYTHING = torch.arange(8).expand(2, -1)
PARENT = Alignment(predicts="parent", features="encoder")


def made(alignment: Alignment | None = None, channels: int = 1, embedded_levels: int = 0) -> Mim:
    torch.manual_seed(0)
    architecture = replace(ARCHITECTURE, channels=channels, embedded_levels=embedded_levels)
    return Mim(NESTING, architecture, alignment)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_hidden_tokens_are_predicted_as_the_decoder_would(channels: int) -> None:
    model, crops = made(Alignment(), channels), torch.rand(2, channels, 16, 16, 8)
    predicted, features, foreseen = model(crops, VISIBLE, HIDDEN)
    latents = model.encoder(crops, VISIBLE)
    everything = model.decoder(latents, VISIBLE)
    assert predicted.shape == (2, 5, 8 * 8 * 4 * channels)
    for row in range(2):
        torch.testing.assert_close(predicted[row], everything[row, HIDDEN[row]])
    torch.testing.assert_close(features, model.decoder.features(latents, VISIBLE))
    assert foreseen.shape == (2, 18)
    assert model.predictor is not None
    torch.testing.assert_close(foreseen, model.predictor(latents.mean(dim=1)))


@pytest.mark.parametrize("alignment", [None, Alignment(weight=0), Alignment(weight=0, momentum=0.9)])
def test_nothing_is_foreseen_without_alignment(alignment: Alignment | None) -> None:
    model = made(alignment)
    assert {name for name, _ in model.named_children()} == {"encoder", "decoder"}
    assert model(CROPS, VISIBLE, HIDDEN).foreseen is None


def test_one_level_has_nothing_to_foresee() -> None:
    nesting = replace(NESTING, levels=(Level(masked_ratio=0.5, children=0),))
    model = Mim(nesting, ARCHITECTURE, Alignment(momentum=0.9))
    assert {name for name, _ in model.named_children()} == {"encoder", "decoder"}


@pytest.mark.parametrize(
    ("alignment", "dim_in", "dim"),
    [
        (Alignment(), 12, 18),
        (Alignment(features="encoder"), 12, 12),
        (Alignment(predicts="parent"), 18, 18),
        (PARENT, 18, 12),
    ],
)
def test_the_predictor_leads_from_what_is_known_to_what_is_foreseen(
    alignment: Alignment, dim_in: int, dim: int
) -> None:
    model = made(alignment)
    assert model.predictor is not None
    assert model.predictor(torch.rand(3, dim_in)).shape == (3, dim)


def test_a_parent_foresees_the_children_of_its_cells() -> None:
    model = made(PARENT)
    assert model.predictor is not None
    _, features, foreseen = model(CROPS, VISIBLE, HIDDEN, 0, CELLS)
    assert foreseen.shape == (2, 2, 12)
    for row in range(2):
        for place, cell in enumerate(CELLS[row].tolist()):
            tokens = list(tokens_of_cell(cell, (2, 1, 2), (1, 2, 1)))
            torch.testing.assert_close(
                foreseen[row, place], model.predictor(features[row, tokens].mean(dim=0))
            )


def test_a_parent_without_children_foresees_nothing() -> None:
    model = made(PARENT)
    assert model(CROPS, VISIBLE, HIDDEN, 1).foreseen is None
    foreseen = model(CROPS, VISIBLE, HIDDEN, 1, CELLS[:, :0]).foreseen
    assert foreseen.shape == (2, 0, 12)
    foreseen.sum().backward()
    assert model.predictor is not None
    assert all(p.grad is not None and not p.grad.any() for p in model.predictor.parameters())


def to_foresee(model: Mim, level: int = 0, visible: Tensor = VISIBLE) -> Tensor:
    output = model(CROPS, visible, None, level)
    assert output.predicted.shape[1] == 0
    assert output.foreseen is None
    assert not output.features.requires_grad
    features: Tensor = output.features
    return features


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_what_is_to_be_foreseen(momentum: float) -> None:
    decoded = made(Alignment(momentum=momentum), embedded_levels=2)
    latents = decoded.encoder(CROPS, VISIBLE, 1)
    torch.testing.assert_close(to_foresee(decoded, 1), decoded.decoder.features(latents, VISIBLE, 1))
    encoded = made(Alignment(features="encoder", momentum=momentum), embedded_levels=2)
    torch.testing.assert_close(to_foresee(encoded, 1), encoded.encoder(CROPS, EVERYTHING, 1))
    assert not torch.allclose(to_foresee(encoded, 0), to_foresee(encoded, 1))


@pytest.mark.parametrize("features", ["decoder", "encoder"])
def test_the_teacher_gives_what_is_to_be_foreseen(features: str) -> None:
    model = made(Alignment(features=features, momentum=0.5))  # type: ignore[arg-type]
    before = to_foresee(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.5)
    assert torch.equal(to_foresee(model), before)
    model.follow()
    assert not torch.allclose(to_foresee(model), before)


def test_to_follow_without_a_teacher_changes_nothing() -> None:
    model = made(Alignment())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.follow()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_where_nothing_is_visible_places_alone_are_told() -> None:
    model, nothing = made(Alignment()), VISIBLE[:, :0]
    features = to_foresee(model, visible=nothing)
    assert features.shape == (2, 8, 18)
    assert torch.equal(features[0], features[1])
    tokens = model.decoder.mask_token + model.decoder.position
    for block in model.decoder.blocks:
        tokens = block(tokens[None])[0]
    torch.testing.assert_close(features[0], model.decoder.norm(tokens))


@pytest.mark.parametrize(
    "alignment",
    [None, Alignment(), Alignment(features="encoder"), PARENT, Alignment(predicts="parent", momentum=0.9)],
)
def test_gradients_reach_every_weight_that_is_trained(alignment: Alignment | None) -> None:
    model = made(alignment, embedded_levels=2)
    output = model(CROPS, VISIBLE, HIDDEN, 0, CELLS)
    loss = output.predicted.square().sum()
    if output.foreseen is not None:
        loss = loss + output.foreseen.square().sum()
    loss.backward()
    trained = [p for name, p in model.named_parameters() if not name.startswith("teacher.")]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    assert model.teacher is None or all(p.grad is None for p in model.teacher.parameters())
