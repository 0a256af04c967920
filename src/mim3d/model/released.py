"""Weights of the authors' release, read into our encoder and decoder by name.

Released convolutions keep channels first; ours are linear layers on cells of voxels with channels last, so
kernels are permuted and flattened. Position codes are computed here, and compared with the file's.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mim3d.errors import CheckpointError
from mim3d.model.blocks import sincos_3d
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder

RENAMED = (
    (r"^patch_embed(\d)\.proj\.", lambda m: f"encoder.embeds.{int(m[1]) - 1}.project."),
    (r"^patch_embed(\d)\.norm\.", lambda m: f"encoder.embeds.{int(m[1]) - 1}.norm."),
    (r"^patch_embed5\.", lambda _: "encoder.linear."),
    (r"^blocks4\.(\d+)\.", lambda m: f"encoder.blocks.{m[1]}."),
    (r"^blocks([123])\.(\d+)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.{m[2]}."),
    (r"^stage(\d)_output_decode\.", lambda m: f"encoder.skips.{int(m[1]) - 1}."),
    (r"^norm\.", lambda _: "encoder.norm."),
    (r"^decoder_(embed|norm)\.", lambda m: f"decoder.{m[1]}."),
    (r"^decoder_pred\.", lambda _: "decoder.predict."),
    (r"^decoder_blocks\.", lambda _: "decoder.blocks."),
    (r"^mask_token$", lambda _: "decoder.mask_token"),
    (r"(?<=\.)attn\.(qkv)\.", lambda m: f"{m[1]}."),
    (r"(?<=\.)attn\.proj\.", lambda _: "project."),
    (r"(?<=\.)attn\.(?=weight|bias)", lambda _: "depthwise."),
)


def load_released(released: Mapping[str, Tensor], encoder: Encoder, decoder: Decoder) -> None:
    """Fill `encoder` and `decoder` with tensors under the released names (`patch_embed1.proj.weight`, ...).

    What is neither the encoder's nor the decoder's (the heads of the released alignment) is left out.

    Raises:
        CheckpointError: If a tensor is missing, too many or of another shape, or position codes disagree.
    """
    named = {_our_name(name): _our_layout(name, tensor) for name, tensor in released.items()}
    for part, module in (("encoder", encoder), ("decoder", decoder)):
        own = {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
        wrong = [n for n, t in own.items() if n not in named or _shape(named[n], t) != t.shape]
        wrong += [n for n in named if n.startswith(f"{part}.") and n not in own]
        if wrong:
            raise CheckpointError(
                f"released weights do not fit the {part} of {len(own)} tensors: {len(wrong)} are missing, "
                f"too many or of another shape ({', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}); "
                "build it with the sizes of the weights"
            )
        module.load_state_dict(
            {n.removeprefix(f"{part}."): named[n].reshape(t.shape) for n, t in own.items()}
        )
    _check_positions(released, encoder, decoder)


def _our_name(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _our_layout(name: str, tensor: Tensor) -> Tensor:
    if tensor.ndim == 5 and ".attn." not in name:
        return tensor.permute(0, 2, 3, 4, 1).flatten(1)  # (out, x * y * z * in)
    return tensor


def _shape(released: Tensor, own: Tensor) -> torch.Size:
    return own.shape if released.ndim == 3 and released.numel() == own.numel() else released.shape


def _check_positions(released: Mapping[str, Tensor], encoder: Encoder, decoder: Decoder) -> None:
    for name, dim in (("pos_embed", encoder.dim), ("decoder_pos_embed", decoder.position.shape[1])):
        ours = sincos_3d(decoder.grid, dim)
        if name not in released:
            continue
        theirs = released[name][0].float()  # (L, C)
        if theirs.shape != ours.shape or not torch.allclose(theirs, ours, atol=1e-4):
            raise CheckpointError(
                f"{name} of the released weights, {tuple(theirs.shape)}, is not the sine-cosine code of "
                f"{decoder.grid} tokens, {tuple(ours.shape)}; build the decoder for the grid of the weights"
            )
