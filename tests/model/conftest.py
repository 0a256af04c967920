"""Our networks under the names and in the layout of the authors' release, written out plainly."""

from collections.abc import Callable

import pytest
from torch import Tensor

from mim3d.model.blocks import sincos_3d
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder

Release = Callable[[Encoder, Decoder], dict[str, Tensor]]


def as_kernel(weight: Tensor, kernel: tuple[int, int, int]) -> Tensor:
    """(out, x * y * z * in) to (out, in, x, y, z)."""
    return weight.reshape(weight.shape[0], *kernel, -1).permute(0, 4, 1, 2, 3).contiguous()


def transformer_blocks(own: dict[str, Tensor], released: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in own.items():
        if not name.startswith("blocks."):
            continue
        _, number, layer, *rest = name.split(".")
        layer = {"qkv": "attn.qkv", "project": "attn.proj"}.get(layer, layer)
        found[".".join([released, number, layer, *rest])] = tensor
    return found


def stage_tensors(own: dict[str, Tensor], encoder: Encoder, stage: int) -> dict[str, Tensor]:
    """Patch embedding, convolution blocks and skip of a stage from 0; the fourth has only the first."""
    found = {
        f"patch_embed{stage + 1}.norm.{part}": own[f"embeds.{stage}.norm.{part}"]
        for part in ("weight", "bias")
    }
    found[f"patch_embed{stage + 1}.proj.bias"] = own[f"embeds.{stage}.project.bias"]
    weight = own[f"embeds.{stage}.project.weight"]
    found[f"patch_embed{stage + 1}.proj.weight"] = as_kernel(weight, encoder.strides[stage])
    if stage == 3:
        return found
    x, y, z = encoder.patch
    for sx, sy, sz in encoder.strides[: stage + 1]:
        x, y, z = x // sx, y // sy, z // sz
    found[f"stage{stage + 1}_output_decode.weight"] = as_kernel(own[f"skips.{stage}.weight"], (x, y, z))
    found[f"stage{stage + 1}_output_decode.bias"] = own[f"skips.{stage}.bias"]
    for name, tensor in own.items():
        if name.startswith(f"stages.{stage}."):
            rest = name.removeprefix(f"stages.{stage}.").replace("depthwise", "attn")
            found[f"blocks{stage + 1}.{rest}"] = (
                tensor[:, :, None, None, None] if tensor.ndim == 2 else tensor
            )
    return found


def under_released_names(encoder: Encoder, decoder: Decoder) -> dict[str, Tensor]:
    own = dict(encoder.state_dict())
    released: dict[str, Tensor] = {}
    for stage in range(4):
        released |= stage_tensors(own, encoder, stage)
    released |= transformer_blocks(own, "blocks4")
    released |= {f"patch_embed5.{part}": own[f"linear.{part}"] for part in ("weight", "bias")}
    released |= {f"norm.{part}": own[f"norm.{part}"] for part in ("weight", "bias")}
    theirs = dict(decoder.state_dict())
    released |= transformer_blocks(theirs, "decoder_blocks")
    for layer, name in (("embed", "decoder_embed"), ("norm", "decoder_norm"), ("predict", "decoder_pred")):
        released |= {f"{name}.{part}": theirs[f"{layer}.{part}"] for part in ("weight", "bias")}
    released["mask_token"] = theirs["mask_token"][None, None]
    released["pos_embed"] = sincos_3d(decoder.grid, encoder.dim)[None]
    released["decoder_pos_embed"] = sincos_3d(decoder.grid, theirs["mask_token"].shape[0])[None]
    return released


@pytest.fixture(scope="session")
def release() -> Release:
    """Gives the tensors of an encoder and a decoder by released names."""
    return under_released_names
