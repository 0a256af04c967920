"""The parts of the backbone against formulas written down another way."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mim3d.geometry import Triple
from mim3d.model.blocks import Block, Mlp, init_weights, sincos_3d
from mim3d.model.patch_embed import PatchEmbed

SIDES = st.tuples(*[st.integers(1, 4)] * 3)


@settings(deadline=None)
@given(grid=SIDES, sixth=st.integers(1, 8))
def test_position_codes_are_sines_and_cosines_of_each_axis(grid: Triple, sixth: int) -> None:
    found = sincos_3d(grid, 6 * sixth).numpy()
    assert found.dtype == np.float32
    for row, place in zip(found, np.ndindex(grid), strict=True):
        for axis, at in enumerate(place):
            for i in range(sixth):
                angle = at / 10000 ** (i / sixth)
                first = axis * 2 * sixth + i
                assert row[first] == pytest.approx(math.sin(angle), abs=1e-6)
                assert row[first + sixth] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("stride", [(2, 2, 2), (2, 2, 1), (1, 2, 1), (1, 1, 1)])
def test_patch_embedding_is_a_strided_convolution(stride: Triple) -> None:
    torch.manual_seed(0)
    embed = PatchEmbed(stride, 3, 5).double()
    cubes = torch.randn(2, 4, 2, 6, 3, dtype=torch.float64)  # (N, x, y, z, C)
    kernel = embed.project.weight.reshape(5, *stride, 3).permute(0, 4, 1, 2, 3)
    out = F.conv3d(cubes.movedim(-1, 1), kernel, embed.project.bias, stride).movedim(1, -1)
    centred = out - out.mean(dim=-1, keepdim=True)
    normed = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    gelu = 0.5 * normed * (1 + torch.erf(normed / math.sqrt(2)))
    torch.testing.assert_close(embed(cubes), gelu)


def test_a_transformer_block_is_torchs_own() -> None:
    torch.manual_seed(0)
    block = Block(12, 3, 4).double()
    theirs = nn.TransformerEncoderLayer(
        12, 3, 48, 0.0, nn.functional.gelu, 1e-6, batch_first=True, norm_first=True, dtype=torch.float64
    )
    names = {
        "qkv.weight": "self_attn.in_proj_weight",
        "qkv.bias": "self_attn.in_proj_bias",
        "project": "self_attn.out_proj",
        "mlp.fc1": "linear1",
        "mlp.fc2": "linear2",
    }
    renamed = {}
    for name, tensor in block.state_dict().items():
        for ours, other in names.items():
            name = name.replace(ours, other)  # noqa: PLW2901
        renamed[name] = tensor + 0.01 * torch.randn_like(tensor)
    theirs.load_state_dict(renamed)
    block.load_state_dict(dict(zip(block.state_dict(), renamed.values(), strict=True)))
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(block(tokens), theirs(tokens))


def test_an_mlp_widens_by_its_ratio() -> None:
    mlp = Mlp(6, 3)
    assert (mlp.fc1.out_features, mlp.fc2.in_features) == (18, 18)
    assert mlp(torch.zeros(2, 5, 6)).shape == (2, 5, 6)


def test_linear_layers_begin_xavier_uniform() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 60).apply(init_weights)
    bound = math.sqrt(6 / (40 + 60))
    assert bound * 0.95 < layer.weight.abs().max() <= bound
    assert not layer.bias.any()
