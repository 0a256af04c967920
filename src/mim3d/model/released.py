"""Weights of the authors' release, in our encoder and decoder.

Released convolutions keep channels first; ours are linear layers on cells of voxels with channels last, so
kernels are permuted and flattened. Position codes are computed here, and compared with the file's.

Shapes: B batch, L tokens of a crop, K visible tokens, P voxels per patch, C channels, X Y Z space.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mim3d.errors import CheckpointError, MimError
from mim3d.geometry import Triple, divide_exactly
from mim3d.model.blocks import sincos_3d
from mim3d.model.decoder import Decoder
from mim3d.model.encoder import Encoder
from mim3d.model.released_file import read_released
from mim3d.model.released_sizes import Sizes, is_code, sizes_of

RENAMED = (
    (r"\.(stages\.\d+\.\d+)\.depthwise\.", lambda m: f".{m[1]}.attn."),
    (r"\.(blocks\.\d+)\.project\.", lambda m: f".{m[1]}.attn.proj."),
    (r"\.(blocks\.\d+)\.qkv\.", lambda m: f".{m[1]}.attn.qkv."),
    (r"^encoder\.embeds\.(\d)\.project\.", lambda m: f"patch_embed{int(m[1]) + 1}.proj."),
    (r"^encoder\.embeds\.(\d)\.norm\.", lambda m: f"patch_embed{int(m[1]) + 1}.norm."),
    (r"^encoder\.stages\.(\d)\.", lambda m: f"blocks{int(m[1]) + 1}."),
    (r"^encoder\.skips\.(\d)\.", lambda m: f"stage{int(m[1]) + 1}_output_decode."),
    (r"^encoder\.linear\.", lambda _: "patch_embed5."),
    (r"^encoder\.blocks\.", lambda _: "blocks4."),
    (r"^encoder\.norm\.", lambda _: "norm."),
    (r"^decoder\.mask_token$", lambda _: "mask_token"),
    (r"^decoder\.predict\.", lambda _: "decoder_pred."),
    (r"^decoder\.(embed|blocks|norm)\.", lambda m: f"decoder_{m[1]}."),
)
"""Our names to released ones."""
OURS = re.compile(
    r"(patch_embed\d+|blocks\d+|stage\d+_output_decode|norm|mask_token|pos_embed"
    r"|decoder_(embed|blocks|norm|pred|pos_embed))(\.|$)"
)
"""Released names that are the encoder's or the decoder's; others are heads of the released alignment."""
SHOWN = 20
"""Wrong tensors named in an error."""


class ReleasedModel(nn.Module):
    """Encoder and decoder with the weights of a file: `encoder(crops, visible)`, `decoder(latents, visible)`.

    Crops are (B, C, X, Y, Z) in RAS+, scaled to [0, 1]; visible (B, K) is a token index in any order.
    """

    def __init__(self, sizes: Sizes, left_out: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes, self.left_out = sizes, dict(left_out)
        self.encoder = Encoder(sizes.patch, sizes.architecture)
        self.decoder = Decoder(sizes.grid, sizes.patch, sizes.architecture)

    def forward(self, crops: Tensor, visible: Tensor) -> Tensor:
        """Predict (B, L, P) voxels from crops (B, C, X, Y, Z) and token index (B, K)."""
        predicted: Tensor = self.decoder(self.encoder(crops, visible), visible)
        return predicted


def import_released(
    path: Path | str, *, num_heads: int | None = None, decoder_heads: int | None = None
) -> ReleasedModel:
    """Encoder and decoder with the weights of a released checkpoint, in evaluation mode and float32.

    Sizes are seen in the tensors. Nothing in the file is executed. Released tensors that are neither the
    encoder's nor the decoder's are left out, and listed in `left_out` with their number of values.

    Args:
        path: Checkpoint (.pth, .pt) with its tensors under `model`, or only the tensors; or .safetensors,
            where only names that begin with `model.` count if there are any.
        num_heads: Attention heads of the encoder; needed if the file does not tell and its sizes are none of
            the release's.
        decoder_heads: Attention heads of the decoder, likewise.

    Raises:
        CheckpointError: If there is no such file, it is damaged, holds what could run code, or its
            tensors are not those of one network.
        ConfigError: If attention heads are unknown, contradict what the file tells, or do not divide.
    """
    file = read_released(Path(path))
    try:
        sizes = sizes_of(file.tensors, file.heads, {"num_heads": num_heads, "decoder_heads": decoder_heads})
        others = {name: tensor.numel() for name, tensor in file.tensors.items() if not OURS.match(name)}
        with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten
            model = ReleasedModel(sizes, others)
        load_released(file.tensors, model.encoder, model.decoder)
    except MimError as error:
        raise type(error)(f"{path}: {error}") from None
    return model.eval()


def load_released(released: Mapping[str, Tensor], encoder: Encoder, decoder: Decoder) -> None:
    """Fill `encoder` and `decoder` with tensors under the released names (`patch_embed1.proj.weight`, ...).

    What is neither the encoder's nor the decoder's (the heads of the released alignment) is left out.

    Raises:
        CheckpointError: If tensors are missing, too many, of another shape, not finite or not our codes.
    """
    own = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    own |= {f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    names = {name: _released_name(name) for name in own}
    kernels = _kernels(encoder)
    shapes = {names[name]: _released_shape(name, tensor, kernels) for name, tensor in own.items()}
    codes = {"pos_embed": sincos_3d(decoder.grid, encoder.dim), "decoder_pos_embed": decoder.position.cpu()}
    shapes |= {name: (1, *code.shape) for name, code in codes.items()}
    wrong = [*_wrong_tensors(released, shapes, codes)]
    if wrong:
        more = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise CheckpointError(
            f"released weights do not fit an encoder and decoder of {len(shapes)} tensors; take the whole "
            f"file that was released, or build the sizes of the weights; wrong are {len(wrong)}:\n  "
            + "\n  ".join([*wrong[:SHOWN], *more])
        )
    for part, module in (("encoder.", encoder), ("decoder.", decoder)):
        filled = {n: _our_layout(released[names[n]], own[n]) for n in own if n.startswith(part)}
        module.load_state_dict({name.removeprefix(part): tensor for name, tensor in filled.items()})


def _released_name(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _kernels(encoder: Encoder) -> dict[str, Triple]:
    """Kernels of the released convolutions between stages, by our names of their weights."""
    kernels, side = {}, encoder.patch
    for stage, stride in enumerate(encoder.strides):
        side = divide_exactly(side, stride, "patch")
        kernels[f"encoder.embeds.{stage}.project.weight"] = stride
        kernels[f"encoder.skips.{stage}.weight"] = side
    return kernels


def _released_shape(name: str, own: Tensor, kernels: Mapping[str, Triple]) -> tuple[int, ...]:
    """The shape that a tensor of ours has in the release."""
    if name == "decoder.mask_token":
        return 1, 1, *own.shape
    pointwise = name.startswith("encoder.stages.") and own.ndim == 2
    kernel = (1, 1, 1) if pointwise else kernels.get(name)
    if kernel is None:
        return tuple(own.shape)
    return own.shape[0], own.shape[1] // math.prod(kernel), *kernel


def _wrong_tensors(
    released: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], codes: Mapping[str, Tensor]
) -> Iterator[str]:
    """What is wrong with which tensor, in words, given the shapes and the position codes (L, C) needed."""
    yield from (f"missing: {name} {shape}" for name, shape in shapes.items() if name not in released)
    for name, tensor in released.items():
        found = tuple(tensor.shape)
        if name not in shapes:
            if OURS.match(name):
                yield f"too many: {name} {found}"
        elif found != shapes[name]:
            yield f"other shape: {name} is {found}, needed {shapes[name]}"
        elif not tensor.is_floating_point() or not tensor.float().isfinite().all():
            yield f"other than finite decimals: {name} {found}, {tensor.dtype}"
        elif name in codes and not is_code(tensor[0], codes[name]):
            yield f"other values: {name} {found} is not the sine-cosine code of its tokens"


def _our_layout(released: Tensor, own: Tensor) -> Tensor:
    """A released tensor in single precision, as ours: (out, in, x, y, z) becomes (out, x * y * z * in)."""
    tensor = released.float()
    if tensor.ndim == 5 and own.ndim == 2:
        return tensor.permute(0, 2, 3, 4, 1).flatten(1)
    return tensor.reshape(own.shape)
