"""The authors' release on random weights: same latents, features, predictions and losses to 1e-4."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from mim3d.config import Architecture
from mim3d.errors import CheckpointError
from mim3d.geometry import Triple
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.patches import index_of, patchify, take_tokens
from mim3d.model.released import load_released
from mim3d.objective.reconstruct import patch_mse

GOLDEN = Path(__file__).parent / "released_hybrid_mae_small.safetensors"
PATCH = (16, 16, 16)
ARCHITECTURE = Architecture(
    dims=(6, 12, 24, 48), depths=(1, 1, 1, 1), num_heads=3, decoder_dim=24, decoder_depth=1, decoder_heads=2
)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with safe_open(GOLDEN, "pt") as file:
        sizes = json.loads(file.metadata()["config"])
        assert tuple(sizes["embed_dims"]) == ARCHITECTURE.dims
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping


@pytest.fixture(scope="module")
def released(golden: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, by released names."""
    return {n.removeprefix("model."): t for n, t in golden.items() if n.startswith("model.")}


def built(architecture: Architecture = ARCHITECTURE, grid: Triple = (6, 6, 6)) -> tuple[Encoder, Decoder]:
    return Encoder(PATCH, architecture), Decoder(grid, PATCH, architecture)


@pytest.fixture(scope="module")
def filled(released: dict[str, Tensor]) -> tuple[Encoder, Decoder]:
    encoder, decoder = built()
    load_released(released, encoder, decoder)
    return encoder.requires_grad_(False), decoder.requires_grad_(False)


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_latents_features_and_predictions_are_the_releases(
    golden: dict[str, Tensor], filled: tuple[Encoder, Decoder]
) -> None:
    encoder, decoder = filled
    visible = golden["visible"]
    latents = encoder(golden["input"].float(), visible)
    assert_near(latents, golden["latent"])
    assert_near(decoder.features(latents, visible), golden["decoded"])
    assert_near(decoder(latents, visible)[:, :8], golden["predicted_first8"])


def test_losses_are_the_releases(golden: dict[str, Tensor], filled: tuple[Encoder, Decoder]) -> None:
    encoder, decoder = filled
    crops, visible, hidden = golden["input"].float(), golden["visible"], index_of(golden["masked"])
    predicted = take_tokens(decoder(encoder(crops, visible), visible), hidden)
    patches = take_tokens(patchify(crops, PATCH).flatten(2), hidden)  # (1, M, P)
    assert_near(patch_mse(predicted, patches), golden["loss_normalised"][0])
    assert_near((predicted - patches).square().mean(), golden["loss_raw"][0])


def test_masked_and_visible_are_each_others_rest(golden: dict[str, Tensor]) -> None:
    assert torch.equal(index_of(~golden["masked"])[0], golden["visible"][0].sort().values)


def test_visible_tokens_in_another_order_give_the_same_latents(
    golden: dict[str, Tensor], filled: tuple[Encoder, Decoder]
) -> None:
    order = torch.randperm(86, generator=torch.Generator().manual_seed(0))
    latents = filled[0](golden["input"].float(), golden["visible"][:, order])
    assert_near(latents, golden["latent"][:, order])


def test_other_released_tensors_are_left_out(released: dict[str, Tensor]) -> None:
    encoder, decoder = built()
    load_released(released | {"proj_head.0.weight": torch.zeros(3, 3)}, encoder, decoder)
    assert torch.equal(decoder.mask_token, released["mask_token"][0, 0])


def test_weights_of_another_size_are_refused(released: dict[str, Tensor]) -> None:
    message = (
        r"^released weights do not fit the encoder of \d+ tensors: \d+ are missing, too many or of another "
        r"shape \(encoder.embeds.3.project.weight, encoder.embeds.3.project.bias, \S+, ...\); build it "
        r"with the sizes of the weights$"
    )
    with pytest.raises(CheckpointError, match=message):
        load_released(released, *built(replace(ARCHITECTURE, dims=(6, 12, 24, 96))))


def test_a_missing_tensor_is_refused(released: dict[str, Tensor]) -> None:
    fewer = {name: tensor for name, tensor in released.items() if name != "decoder_norm.bias"}
    message = r"the decoder of 19 tensors: 1 are missing, too many or of another shape \(decoder.norm.bias\);"
    with pytest.raises(CheckpointError, match=message):
        load_released(fewer, *built())


def test_a_deeper_encoder_is_not_cut_short(released: dict[str, Tensor]) -> None:
    more = released | {"blocks4.1.norm1.bias": torch.zeros(48)}
    message = r"the encoder of \d+ tensors: 1 are .* too many .* \(encoder.blocks.1.norm1.bias\);"
    with pytest.raises(CheckpointError, match=message):
        load_released(more, *built())


def test_another_grid_is_refused(released: dict[str, Tensor]) -> None:
    message = (
        r"^pos_embed of the released weights, \(216, 48\), is not the sine-cosine code of \(4, 4, 4\) "
        r"tokens, \(64, 48\); build the decoder for the grid of the weights$"
    )
    with pytest.raises(CheckpointError, match=message):
        load_released(released, *built(grid=(4, 4, 4)))


def test_other_position_codes_are_refused(released: dict[str, Tensor]) -> None:
    other = released | {"decoder_pos_embed": released["decoder_pos_embed"] + 0.01}
    with pytest.raises(CheckpointError, match=r"^decoder_pos_embed of the released weights"):
        load_released(other, *built())
