from collections.abc import Callable
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mim3d.config import Architecture
from mim3d.errors import CheckpointError, ConfigError
from mim3d.geometry import Triple
from mim3d.model.blocks import sincos_3d
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.released_sizes import Sizes, sizes_of

BASE = Architecture()
UNSAID = {"num_heads": None, "decoder_heads": None}
OTHER = Architecture(
    dims=(2, 3, 4, 12), depths=(1, 0, 2, 1), num_heads=2, decoder_dim=18, decoder_depth=1, decoder_heads=3
)
SAID = {"num_heads": 2, "decoder_heads": 3}


def shown(architecture: Architecture) -> dict[str, Tensor]:
    """Tensors that show the widths of an architecture, without memory of their own."""
    dims, decoder_dim = architecture.dims, architecture.decoder_dim
    tensors = {
        f"patch_embed{stage + 1}.proj.weight": torch.zeros(()).expand(dim, dim_in, 2, 2, 2)
        for stage, (dim_in, dim) in enumerate(zip((architecture.channels, *dims), dims, strict=False))
    }
    tensors["decoder_embed.weight"] = torch.zeros(()).expand(decoder_dim, dims[3])
    return tensors | {"pos_embed": sincos_3d((6, 6, 6), dims[3])[None]}


@pytest.fixture
def tensors(release: Callable[[Encoder, Decoder], dict[str, Tensor]]) -> dict[str, Tensor]:
    return release(Encoder((4, 4, 2), OTHER), Decoder((3, 2, 2), (4, 4, 2), OTHER))


@pytest.mark.parametrize(("dims", "heads"), [((48, 96, 192, 384), 12), ((12, 24, 48, 96), 3)])
def test_heads_of_the_release_are_known(dims: tuple[int, int, int, int], heads: int) -> None:
    architecture = Architecture(dims=dims, num_heads=heads)
    sizes = sizes_of(shown(architecture), {}, UNSAID)
    assert (sizes.architecture.num_heads, sizes.architecture.decoder_heads) == (heads, 16)
    assert sizes.heads_from == "num_heads known of the release, decoder_heads known of the release"
    assert (sizes.patch, sizes.grid) == ((16, 16, 16), (6, 6, 6))


def test_what_is_said_wins_over_what_is_known() -> None:
    sizes = sizes_of(shown(BASE), {"decoder_heads": 8}, {"num_heads": 6, "decoder_heads": None})
    assert (sizes.architecture.num_heads, sizes.architecture.decoder_heads) == (6, 8)
    assert sizes.heads_from == "num_heads given, decoder_heads told by the file"


def test_heads_that_nothing_shows_must_be_said(tensors: dict[str, Tensor]) -> None:
    message = (
        r"^no tensor shows num_heads \(of 12 channels\) and decoder_heads \(of 18 channels\), and a wrong "
        r"number of attention heads would run unnoticed; say it, on the command line by --num-heads and "
        r"--decoder-heads$"
    )
    with pytest.raises(ConfigError, match=message):
        sizes_of(tensors, {}, UNSAID)
    with pytest.raises(ConfigError, match=r"^no tensor shows decoder_heads \(of 18 .* by --decoder-heads$"):
        sizes_of(tensors, {"num_heads": 2}, UNSAID)


def test_heads_that_contradict_the_file_are_refused(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(ConfigError, match=r"^num_heads 3 was given, but the file says 2; leave it out$"):
        sizes_of(tensors, SAID, {"num_heads": 3, "decoder_heads": None})
    assert sizes_of(tensors, SAID, SAID).architecture == OTHER


@pytest.mark.parametrize("heads", [5, 0, -2])
def test_heads_that_do_not_divide_are_refused(heads: int, tensors: dict[str, Tensor]) -> None:
    message = rf"^num_heads {heads}, given, does not divide 12 channels; one of 1, 2, 3, 4, 6, 12 does$"
    with pytest.raises(ConfigError, match=message):
        sizes_of(tensors, {}, {"num_heads": heads, "decoder_heads": 3})
    with pytest.raises(ConfigError, match=rf"^decoder_heads {heads}, told by the file, does not divide 18 "):
        sizes_of(tensors, {"num_heads": 2, "decoder_heads": heads}, UNSAID)


def test_one_tensor_more_or_less_changes_no_size(tensors: dict[str, Tensor]) -> None:
    sizes = Sizes(
        architecture=OTHER,
        patch=(4, 4, 2),
        grid=(3, 2, 2),
        heads_from="num_heads given, decoder_heads given",
    )
    assert sizes_of(tensors, {}, SAID) == sizes
    shape_of_patch = {f"patch_embed{stage}.proj.weight" for stage in (1, 2, 3, 4)}
    for name in tensors.keys() - shape_of_patch:
        fewer = {other: tensor for other, tensor in tensors.items() if other != name}
        assert sizes_of(fewer, {}, SAID) == sizes, name
        other_shape = tensors | {name: torch.zeros(*tensors[name].shape[:-1], 7)}
        assert sizes_of(other_shape, {}, SAID) == sizes, name


def test_without_a_kernel_the_patch_is_the_cube_that_is_predicted() -> None:
    tensors = shown(BASE) | {"decoder_pred.bias": torch.zeros(8**3)}
    tensors["patch_embed3.norm.weight"] = tensors.pop("patch_embed3.proj.weight")[:, 0, 0, 0, 0]
    assert sizes_of(tensors, {}, UNSAID).patch == (8, 8, 8)


def test_patches_that_cannot_be_halved_are_refused() -> None:
    tensors = shown(BASE)
    tensors["patch_embed2.proj.weight"] = torch.zeros(()).expand(96, 48, 2, 3, 2)
    with pytest.raises(
        CheckpointError, match=r"^patches of 16 x 24 x 16 voxels, but sides must be 1, 2, 4, 8 or 16$"
    ):
        sizes_of(tensors, {}, UNSAID)


def test_channels_without_position_codes_are_refused() -> None:
    tensors = shown(BASE) | {"decoder_embed.weight": torch.zeros(512, 384)}
    message = r"^decoder of 512 channels, but position codes need a multiple of 6$"
    with pytest.raises(CheckpointError, match=message):
        sizes_of(tensors, {}, UNSAID)


@pytest.mark.parametrize("name", ["patch_embed1.proj.weight", "decoder_embed.weight", "pos_embed"])
def test_another_network_is_refused(name: str) -> None:
    others = {other: tensor for other, tensor in shown(BASE).items() if other != name}
    message = (
        rf"^not the release's hybrid backbone with its decoder: no {name} of its shape; name a checkpoint of "
        r"its pre-training$"
    )
    with pytest.raises(CheckpointError, match=message):
        sizes_of(others, {}, UNSAID)
    with pytest.raises(CheckpointError, match=message):
        sizes_of(others | {name: torch.zeros(())}, {}, UNSAID)


SIDES = st.integers(1, 5)


@given(grid=st.tuples(SIDES, SIDES, SIDES), damaged=st.sampled_from(["pos_embed", "decoder_pos_embed"]))
def test_the_grid_is_seen_in_either_code(grid: Triple, damaged: str) -> None:
    codes = {"pos_embed": sincos_3d(grid, 384)[None], "decoder_pos_embed": sincos_3d(grid, 576)[None]}
    codes[damaged] = torch.zeros(1, prod(grid), 6)
    assert sizes_of(shown(BASE) | codes, {}, UNSAID).grid == grid


def test_without_a_code_that_is_ours_the_grid_is_nearest_to_a_cube() -> None:
    assert sizes_of(shown(BASE) | {"pos_embed": torch.zeros(1, 64, 384)}, {}, UNSAID).grid == (4, 4, 4)
