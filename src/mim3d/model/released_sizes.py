"""Sizes of a network of the authors' release, seen in the shapes of its tensors.

Where several tensors show a size, most of them decide, so that a wrong one is told as the wrong one.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from mim3d.config import PATCH_SIDES, Architecture
from mim3d.errors import CheckpointError, ConfigError
from mim3d.geometry import Triple
from mim3d.model.blocks import sincos_3d
from mim3d.model.released_file import HEADS

KNOWN_DIMS = {(48, 96, 192, 384): 12, (12, 24, 48, 96): 3}
"""Attention heads of the release's encoders, base and tiny, by their channels."""
KNOWN_DECODERS = {576: 16}
"""Attention heads of the release's decoder, by its channels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What it takes to build the network."""

    architecture: Architecture
    patch: Triple
    """Voxels of a token."""
    grid: Triple
    """Tokens of the crops that it learnt from."""
    heads_from: str
    """Where the numbers of attention heads, which no tensor shows, come from, in words."""

    def __str__(self) -> str:
        one = self.architecture
        crop = " x ".join(str(tokens * side) for tokens, side in zip(self.grid, self.patch, strict=True))
        dims, depths = ("/".join(map(str, sizes)) for sizes in (one.dims, one.depths))
        return (
            f"encoder of {dims} channels, {depths} blocks, {one.num_heads} heads; decoder of "
            f"{one.decoder_dim} channels, {one.decoder_depth} blocks, {one.decoder_heads} heads; crops of "
            f"{crop} voxels in patches of {' x '.join(map(str, self.patch))}; {self.heads_from}"
        )


def sizes_of(
    tensors: Mapping[str, Tensor], told: Mapping[str, int], given: Mapping[str, int | None]
) -> Sizes:
    """The sizes of the network that these tensors are of.

    Args:
        tensors: By released name.
        told: Attention heads that the file tells, by the names in `HEADS`.
        given: Attention heads that the caller says, None where he leaves it to the file.

    Raises:
        CheckpointError: If tensors that show the sizes are missing, or the sizes cannot be ours.
        ConfigError: If attention heads are neither given, nor told, nor known; contradict; or do not divide.
    """
    dims = (_channels(tensors, 1), _channels(tensors, 2), _channels(tensors, 3), _channels(tensors, 4))
    decoder_dim = _vote(
        tensors,
        ("decoder_embed.weight", 0),
        ("decoder_norm.weight", 0),
        ("mask_token", 2),
        ("decoder_pred.weight", 1),
    )
    for name, dim in (("encoder", dims[3]), ("decoder", decoder_dim)):
        if dim < 1 or dim % 6:
            raise CheckpointError(f"{name} of {dim} channels, but position codes need a multiple of 6")
    known = {HEADS[0]: KNOWN_DIMS.get(dims), HEADS[1]: KNOWN_DECODERS.get(decoder_dim)}
    heads, heads_from = _heads(dict(zip(HEADS, (dims[3], decoder_dim), strict=True)), known, told, given)
    channels = _vote(tensors, ("patch_embed1.proj.weight", 1))
    depths = [_depth(tensors, f"blocks{stage}") for stage in (1, 2, 3, 4)]
    architecture = Architecture(
        channels=channels,
        dims=dims,
        depths=(depths[0], depths[1], depths[2], depths[3]),
        num_heads=heads["num_heads"],
        mlp_ratio=_mlp_ratio(tensors),
        decoder_dim=decoder_dim,
        decoder_depth=_depth(tensors, "decoder_blocks"),
        decoder_heads=heads["decoder_heads"],
    )
    patch = _patch(tensors, channels)
    return Sizes(architecture=architecture, patch=patch, grid=_grid(tensors), heads_from=heads_from)


def is_code(found: Tensor, code: Tensor) -> bool:
    """Whether `found` (L, C), of any precision, is the position code (L, C)."""
    tolerance = max(1e-4, torch.finfo(found.dtype).eps) if found.is_floating_point() else 0.0
    return found.shape == code.shape and torch.allclose(found.float(), code, rtol=0, atol=tolerance)


def _vote(tensors: Mapping[str, Tensor], *places: tuple[str, int]) -> int:
    """The size that most of these tensors have along the axis named with each."""
    shapes = [(tensors[name].shape, axis) for name, axis in places if name in tensors]
    found = Counter(shape[axis] for shape, axis in shapes if len(shape) > axis)
    if not found:
        raise CheckpointError(
            f"not the release's hybrid backbone with its decoder: no {places[0][0]} of its shape; name a "
            "checkpoint of its pre-training"
        )
    return found.most_common(1)[0][0]


def _channels(tensors: Mapping[str, Tensor], stage: int) -> int:
    """Channels of a stage, from 1."""
    places = [(f"patch_embed{stage}.proj.weight", 0), (f"patch_embed{stage}.norm.weight", 0)]
    if stage < 4:
        places += [(f"patch_embed{stage + 1}.proj.weight", 1), (f"stage{stage}_output_decode.weight", 1)]
    else:
        places += [("norm.weight", 0), ("patch_embed5.weight", 0), ("decoder_embed.weight", 1)]
    return _vote(tensors, *places)


def _depth(tensors: Mapping[str, Tensor], blocks: str) -> int:
    found = (re.match(rf"{blocks}\.(\d+)\.", name) for name in tensors)
    return len({match[1] for match in found if match})


def _mlp_ratio(tensors: Mapping[str, Tensor]) -> int:
    shapes = [tensor.shape for name, tensor in tensors.items() if name.endswith(".mlp.fc1.weight")]
    ratios = Counter(shape[0] // shape[1] for shape in shapes if len(shape) > 1 and shape[1])
    return max(ratios.most_common(1)[0][0], 1) if ratios else Architecture().mlp_ratio


def _patch(tensors: Mapping[str, Tensor], channels: int) -> Triple:
    """Voxels of a patch: kernels of the four patch embeddings multiplied, else the cube that is predicted."""
    names = [f"patch_embed{stage}.proj.weight" for stage in (1, 2, 3, 4)]
    kernels = [tensors[name].shape[2:] for name in names if name in tensors and tensors[name].ndim == 5]
    if len(kernels) == len(names):
        x, y, z = (math.prod(sides) for sides in zip(*kernels, strict=True))
    else:
        voxels = _vote(tensors, ("decoder_pred.weight", 0), ("decoder_pred.bias", 0)) // max(channels, 1)
        x = y = z = round(voxels ** (1 / 3))
    if any(side not in PATCH_SIDES for side in (x, y, z)):
        raise CheckpointError(f"patches of {x} x {y} x {z} voxels, but sides must be 1, 2, 4, 8 or 16")
    return x, y, z


def _grid(tensors: Mapping[str, Tensor]) -> Triple:
    """Tokens per axis: those whose position codes the file holds, else what is nearest to a cube."""
    names = ("pos_embed", "decoder_pos_embed")
    candidates = _factorisations(_vote(tensors, *((name, 1) for name in names)))
    for codes in (tensors[name][0] for name in names if name in tensors and tensors[name].ndim == 3):
        for grid in candidates:
            if codes.shape[1] % 6 == 0 and is_code(codes, sincos_3d(grid, codes.shape[1])):
                return grid
    return candidates[0]


def _factorisations(count: int) -> list[Triple]:
    """All triples with this product, those most like a cube first."""
    sides = [side for side in range(1, count + 1) if count % side == 0] or [1]
    triples = [(x, y, count // (x * y)) for x, y in product(sides, sides) if count % (x * y) == 0]
    return sorted(triples, key=lambda triple: max(triple) - min(triple))


def _heads(
    dims: Mapping[str, int],
    known: Mapping[str, int | None],
    told: Mapping[str, int],
    given: Mapping[str, int | None],
) -> tuple[dict[str, int], str]:
    """Attention heads by the names in `HEADS`, and where they come from."""
    ranked = {"given": given, "told by the file": told, "known of the release": known}
    heads: dict[str, int] = {}
    sources: list[str] = []
    for name, dim in dims.items():
        found = [(source, value) for source, of in ranked.items() if (value := of.get(name)) is not None]
        if not found:
            continue
        source, count = found[0]
        if told.get(name, count) != count:
            raise ConfigError(f"{name} {count} was given, but the file says {told[name]}; leave it out")
        if count < 1 or dim % count:
            divisors = ", ".join(str(n) for n in range(1, dim + 1) if dim % n == 0)
            raise ConfigError(
                f"{name} {count}, {source}, does not divide {dim} channels; one of {divisors} does"
            )
        heads[name] = count
        sources.append(f"{name} {source}")
    if missing := [f"{name} (of {dims[name]} channels)" for name in HEADS if name not in heads]:
        flags = " and ".join(f"--{name.split(' ')[0].replace('_', '-')}" for name in missing)
        raise ConfigError(
            f"no tensor shows {' and '.join(missing)}, and a wrong number of attention heads would run "
            f"unnoticed; say it, on the command line by {flags}"
        )
    return heads, ", ".join(sources)
