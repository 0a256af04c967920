"""The authors' release on random weights: same latents, features, predictions and losses to 1e-4."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from mim3d.config import PATCH_SIDES, Architecture
from mim3d.errors import CheckpointError, ConfigError
from mim3d.geometry import Triple
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.patches import index_of, patchify, take_tokens
from mim3d.model.released import ReleasedModel, import_released, load_released
from mim3d.objective.reconstruct import patch_mse

GOLDEN = Path(__file__).parent / "released_hybrid_mae_small.safetensors"
PATCH = (16, 16, 16)
ARCHITECTURE = Architecture(
    dims=(6, 12, 24, 48), depths=(1, 1, 1, 1), num_heads=3, decoder_dim=24, decoder_depth=1, decoder_heads=2
)
Release = Callable[[Encoder, Decoder], dict[str, Tensor]]
FINDINGS = re.compile(r"^  (.*)$", re.MULTILINE)


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
def imported() -> ReleasedModel:
    return import_released(GOLDEN).requires_grad_(False)


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def found_wrong(released: dict[str, Tensor], *modules: Encoder | Decoder) -> list[str]:
    """What is said about each wrong tensor."""
    encoder, decoder = modules or built()
    assert isinstance(encoder, Encoder)
    assert isinstance(decoder, Decoder)
    with pytest.raises(CheckpointError) as refused:
        load_released(released, encoder, decoder)
    return FINDINGS.findall(str(refused.value))


def test_latents_features_and_predictions_are_the_releases(
    golden: dict[str, Tensor], imported: ReleasedModel
) -> None:
    visible, crops = golden["visible"], golden["input"].float()
    latents = imported.encoder(crops, visible)
    assert_near(latents, golden["latent"])
    assert_near(imported.decoder.features(latents, visible), golden["decoded"])
    assert_near(imported.decoder(latents, visible)[:, :8], golden["predicted_first8"])
    assert torch.equal(imported(crops, visible), imported.decoder(latents, visible))


def test_losses_are_the_releases(golden: dict[str, Tensor], imported: ReleasedModel) -> None:
    crops, visible, hidden = golden["input"].float(), golden["visible"], index_of(golden["masked"])
    predicted = take_tokens(imported(crops, visible), hidden)
    patches = take_tokens(patchify(crops, PATCH).flatten(2), hidden)  # (1, M, P)
    assert_near(patch_mse(predicted, patches), golden["loss_normalised"][0])
    assert_near((predicted - patches).square().mean(), golden["loss_raw"][0])


def test_masked_and_visible_are_each_others_rest(golden: dict[str, Tensor]) -> None:
    assert torch.equal(index_of(~golden["masked"])[0], golden["visible"][0].sort().values)


def test_visible_tokens_in_another_order_give_the_same(
    golden: dict[str, Tensor], imported: ReleasedModel
) -> None:
    order = torch.randperm(86, generator=torch.Generator().manual_seed(0))
    visible = golden["visible"][:, order]
    latents = imported.encoder(golden["input"].float(), visible)
    assert_near(latents, golden["latent"][:, order])
    assert_near(imported.decoder.features(latents, visible), golden["decoded"])


def test_what_is_imported_is_ready_to_use(released: dict[str, Tensor]) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = import_released(str(GOLDEN))
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.modules())
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert (model.sizes.architecture, model.sizes.patch, model.sizes.grid) == (ARCHITECTURE, PATCH, (6, 6, 6))
    assert str(model.sizes) == (
        "encoder of 6/12/24/48 channels, 1/1/1/1 blocks, 3 heads; decoder of 24 channels, 1 blocks, 2 heads; "
        "crops of 96 x 96 x 96 voxels in patches of 16 x 16 x 16; num_heads told by the file, decoder_heads "
        "told by the file"
    )
    assert torch.equal(model.decoder.mask_token, released["mask_token"][0, 0])
    assert model.left_out == {}


SIDES = st.sampled_from(PATCH_SIDES)
COUNTS = st.integers(1, 3)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Encoder, Decoder, Architecture]:
    """Random sizes with hundreds of channels at most, grids of 2 to 12 tokens."""
    heads, decoder_heads = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 3]))
    architecture = Architecture(
        channels=draw(st.integers(1, 2)),
        dims=(draw(COUNTS), draw(COUNTS), draw(COUNTS), 6 * draw(COUNTS)),
        depths=(draw(COUNTS) - 1, draw(COUNTS) - 1, draw(COUNTS) - 1, draw(COUNTS) - 1),
        num_heads=heads,
        mlp_ratio=4,
        decoder_dim=6 * draw(COUNTS),
        decoder_depth=draw(COUNTS) - 1,
        decoder_heads=decoder_heads,
    )
    patch = draw(st.sampled_from([(2, 2, 2), (4, 2, 1), (2, 4, 4), (1, 1, 8), (16, 4, 2)]))
    grid = draw(st.sampled_from([(2, 2, 2), (1, 2, 3), (3, 2, 1), (2, 1, 1), (3, 2, 2), (1, 1, 5)]))
    torch.manual_seed(draw(st.integers(0, 9)))
    encoder, decoder = Encoder(patch, architecture), Decoder(grid, patch, architecture)
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)  # no bias is zero, no norm is one
    return encoder.eval(), decoder.eval(), architecture


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(network=networks(), data=st.data())
def test_any_network_comes_back(
    network: tuple[Encoder, Decoder, Architecture], data: st.DataObject, release: Release, tmp_path: Path
) -> None:
    encoder, decoder, architecture = network
    torch.save({"model": release(encoder, decoder)}, tmp_path / "released.pth")
    model = import_released(
        tmp_path / "released.pth",
        num_heads=architecture.num_heads,
        decoder_heads=architecture.decoder_heads,
    )
    grid, patch = decoder.grid, encoder.patch
    assert (model.sizes.architecture, model.sizes.grid, model.sizes.patch) == (architecture, grid, patch)
    tokens = grid[0] * grid[1] * grid[2]
    orders = st.permutations(range(tokens))
    kept = data.draw(st.integers(1, tokens))
    visible = torch.tensor([data.draw(orders)[:kept] for _ in range(2)])
    crops = torch.rand(2, architecture.channels, *(g * p for g, p in zip(grid, patch, strict=True)))
    with torch.no_grad():
        latents = encoder(crops, visible)
        assert torch.equal(model.encoder(crops, visible), latents)
        assert torch.equal(model.decoder(latents, visible), decoder(latents, visible))


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(
    released: dict[str, Tensor], precision: torch.dtype, tmp_path: Path
) -> None:
    rounded = {name: tensor.to(precision) for name, tensor in released.items()}
    torch.save(rounded, tmp_path / "released.pt")
    model = import_released(tmp_path / "released.pt", num_heads=3, decoder_heads=2)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.encoder.norm.weight, rounded["norm.weight"].float())


def test_other_released_tensors_are_left_out(released: dict[str, Tensor], tmp_path: Path) -> None:
    others = {"proj_head.0.weight": torch.zeros(3, 3), "decoder_predictor.bias": torch.zeros(2)}
    torch.save({"model": released | others}, tmp_path / "released.pth")
    model = import_released(tmp_path / "released.pth", num_heads=3, decoder_heads=2)
    assert model.left_out == {"proj_head.0.weight": 9, "decoder_predictor.bias": 2}


def test_everything_wrong_is_told_at_once(released: dict[str, Tensor]) -> None:
    wrong = {n: t for n, t in released.items() if n not in ("norm.bias", "blocks2.0.attn.weight")}
    wrong |= {
        "blocks4.1.norm1.bias": torch.zeros(48),
        "decoder_pred.bias": torch.zeros(4000),
        "blocks1.0.conv1.weight": released["blocks1.0.conv1.weight"][..., 0],
        "decoder_pos_embed": released["decoder_pos_embed"] + 0.01,
        "decoder_norm.bias": torch.full((24,), torch.nan),
        "norm.weight": torch.ones(48, dtype=torch.int64),
    }
    assert sorted(found_wrong(wrong)) == [
        "missing: blocks2.0.attn.weight (12, 1, 5, 5, 5)",
        "missing: norm.bias (48,)",
        "other shape: blocks1.0.conv1.weight is (6, 6, 1, 1), needed (6, 6, 1, 1, 1)",
        "other shape: decoder_pred.bias is (4000,), needed (4096,)",
        "other than finite decimals: decoder_norm.bias (24,), torch.float32",
        "other than finite decimals: norm.weight (48,), torch.int64",
        "other values: decoder_pos_embed (1, 216, 24) is not the sine-cosine code of its tokens",
        "too many: blocks4.1.norm1.bias (48,)",
    ]


def test_of_many_wrong_tensors_twenty_are_named(released: dict[str, Tensor]) -> None:
    found = found_wrong(released, *built(replace(ARCHITECTURE, dims=(6, 12, 24, 96))))
    assert len(found) == 21
    assert found[0] == "other shape: blocks4.0.attn.proj.bias is (48,), needed (96,)"
    assert re.fullmatch(r"\.\.\. and \d+ more", found[20])


def test_the_file_is_named_where_its_tensors_are_wrong(released: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "released.pth"
    torch.save({n: t for n, t in released.items() if n != "mask_token"}, file)
    message = (
        rf"^{file}: released weights do not fit an encoder and decoder of 101 tensors; take the whole file "
        r"that was released, or build the sizes of the weights; wrong are 1:\n  "
        r"missing: mask_token \(1, 1, 24\)$"
    )
    with pytest.raises(CheckpointError, match=message):
        import_released(file, num_heads=3, decoder_heads=2)
    with pytest.raises(
        ConfigError, match=f"^{file}: num_heads 5, given, does not divide 48 channels; one of 1,"
    ):
        import_released(file, num_heads=5, decoder_heads=2)


def test_another_grid_is_refused(released: dict[str, Tensor]) -> None:
    assert found_wrong(released, *built(grid=(4, 4, 4))) == [
        "other shape: decoder_pos_embed is (1, 216, 24), needed (1, 64, 24)",
        "other shape: pos_embed is (1, 216, 48), needed (1, 64, 48)",
    ]
