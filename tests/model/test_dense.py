"""The method computed densely, in plain lines of its own, against the encoder and the loss of a whole region.

Channels first, every voxel of every stage, hidden ones multiplied by zero before each depthwise convolution,
one backward pass through everything. Of the project only the weights are used here, by their names.

Shapes: B crops, L tokens of a crop, K visible tokens, C channels, P voxels per patch, X Y Z space.
"""

import math
from dataclasses import replace
from itertools import chain, product

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.config import Alignment, Architecture, PretrainConfig
from mim3d.data.store import Store
from mim3d.geometry import Triple
from mim3d.model.encoder import Encoder
from mim3d.model.mim import Mim
from mim3d.objective.pretrain import pretrain_chunks
from mim3d.sampling.batch import LevelBatch, RegionBatch
from mim3d.sampling.crops import select_cases
from mim3d.sampling.loader import region_batches

Weights = dict[str, Tensor]

ARCHITECTURE = Architecture(dims=(12, 14, 16, 18), depths=(1, 2, 1, 2), num_heads=2, mlp_ratio=2)
"""Normalising 4 channels loses two more digits in float32, on either side."""
GRIDS = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
PATCHES = st.sampled_from([(16, 16, 16), (8, 8, 8), (16, 16, 4), (8, 4, 2), (2, 1, 16)])


def part(weights: Weights, name: str) -> Weights:
    """The weights below a name."""
    return {key.removeprefix(f"{name}."): w for key, w in weights.items() if key.startswith(f"{name}.")}


def numbered(weights: Weights, name: str) -> list[Weights]:
    """The weights of name.0, name.1, ..."""
    count = 1 + max((int(key.split(".")[0]) for key in part(weights, name)), default=-1)
    return [part(weights, f"{name}.{number}") for number in range(count)]


def per_channel(values: Tensor, maps: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (maps.ndim - 2))


def linear(maps: Tensor, layer: Weights) -> Tensor:
    """(B, C, ...) to (B, C', ...)."""
    mixed = torch.einsum("oi,bi...->bo...", layer["weight"], maps)
    return mixed + per_channel(layer["bias"], mixed)


def normed(maps: Tensor, layer: Weights, eps: float) -> Tensor:
    centred = maps - maps.mean(dim=1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=1, keepdim=True) + eps).sqrt()
    return scaled * per_channel(layer["weight"], maps) + per_channel(layer["bias"], maps)


def gelu(maps: Tensor) -> Tensor:
    return maps * 0.5 * (1 + torch.erf(maps / math.sqrt(2)))


def mlp(maps: Tensor, layers: Weights) -> Tensor:
    return linear(gelu(linear(maps, part(layers, "fc1"))), part(layers, "fc2"))


def strided(maps: Tensor, layer: Weights, side: Triple) -> Tensor:
    """A convolution whose kernel and stride are `side`."""
    kernel = layer["weight"].reshape(-1, *side, maps.shape[1]).movedim(-1, 1)
    return F.conv3d(maps, kernel, layer["bias"], side)


def convolution_block(maps: Tensor, block: Weights, shown: Tensor) -> Tensor:
    """(B, C, X, Y, Z) to the same; shown (B, 1, X, Y, Z) is 1 where visible, 0 where hidden."""
    mixed = shown * linear(normed(maps, part(block, "norm1"), 1e-5), part(block, "conv1"))
    depthwise = part(block, "depthwise")
    mixed = F.conv3d(mixed, depthwise["weight"], depthwise["bias"], padding=2, groups=maps.shape[1])
    maps = maps + linear(mixed, part(block, "conv2"))
    return maps + mlp(normed(maps, part(block, "norm2"), 1e-5), part(block, "mlp"))


def transformer_block(tokens: Tensor, block: Weights, num_heads: int) -> Tensor:
    """(B, C, L) to the same."""
    qkv = linear(normed(tokens, part(block, "norm1"), 1e-6), part(block, "qkv"))
    query, key, value = qkv.reshape(len(qkv), 3, num_heads, -1, qkv.shape[2]).unbind(
        1
    )  # (B, heads, C / heads, L)
    scores = torch.einsum("bhcq,bhck->bhqk", query, key) / math.sqrt(query.shape[2])
    mixed = torch.einsum("bhqk,bhck->bhcq", scores.softmax(dim=-1), value).flatten(1, 2)
    tokens = tokens + linear(mixed, part(block, "project"))
    return tokens + mlp(normed(tokens, part(block, "norm2"), 1e-6), part(block, "mlp"))


def codes(grid: Triple, dim: int) -> Tensor:
    """Position codes (C, L), in float32 as the project keeps them."""
    rows = []
    for place in product(*map(range, grid)):
        row: list[float] = []
        for axis in place:
            angles = [axis / 10000 ** (number / (dim // 6)) for number in range(dim // 6)]
            row += [*map(math.sin, angles), *map(math.cos, angles)]
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float32).T


def chosen(index: Tensor, num_tokens: int, like: Tensor) -> Tensor:
    """(B, K) as (B, L, K), 1 where the k-th chosen token is token l."""
    return F.one_hot(index, num_tokens).transpose(1, 2).to(like.dtype)


def encode(encoder: Weights, crops: Tensor, visible: Tensor, patch: Triple, num_heads: int) -> Tensor:
    """Latents (B, C, K) of crops (B, C, X, Y, Z) seen at tokens (B, K)."""
    x, y, z = (size // side for size, side in zip(crops.shape[2:], patch, strict=True))
    kept = chosen(visible, x * y * z, crops)  # (B, L, K)
    shown = kept.sum(dim=2).reshape(-1, 1, x, y, z)
    maps, skipped = crops, []
    for stage, embed in enumerate(numbered(encoder, "embeds")):
        sx, sy, sz = (2 if side >= 2 ** (4 - stage) else 1 for side in patch)
        maps = gelu(normed(strided(maps, part(embed, "project"), (sx, sy, sz)), part(embed, "norm"), 1e-5))
        if stage == 3:
            break
        for block in numbered(encoder, f"stages.{stage}"):
            maps = convolution_block(maps, block, F.interpolate(shown, size=maps.shape[2:]))
        side = (maps.shape[2] // x, maps.shape[3] // y, maps.shape[4] // z)
        skipped.append(strided(maps, part(encoder, f"skips.{stage}"), side).flatten(2) @ kept)
    tokens = linear(maps.flatten(2), part(encoder, "linear"))  # (B, C, L)
    tokens = (tokens + codes((x, y, z), tokens.shape[1]).to(tokens.dtype)) @ kept  # (B, C, K)
    for block in numbered(encoder, "blocks"):
        tokens = transformer_block(tokens, block, num_heads)
    return normed(tokens + sum(skipped), part(encoder, "norm"), 1e-6)


def decode(decoder: Weights, latents: Tensor, visible: Tensor, grid: Triple, num_heads: int) -> Tensor:
    """Features (B, D, L) of all tokens, of latents (B, C, K) at tokens (B, K)."""
    kept = chosen(visible, math.prod(grid), latents)  # (B, L, K)
    hidden = 1 - kept.sum(dim=2, keepdim=True)  # (B, L, 1)
    tokens = linear(latents, part(decoder, "embed")) @ kept.transpose(1, 2)  # (B, D, L)
    tokens = tokens + (hidden * decoder["mask_token"]).transpose(1, 2)
    tokens = tokens + codes(grid, tokens.shape[1]).to(tokens.dtype)
    for block in numbered(decoder, "blocks"):
        tokens = transformer_block(tokens, block, num_heads)
    return normed(tokens, part(decoder, "norm"), 1e-6)


def reconstruction(predicted: Tensor, level: LevelBatch, patch: Triple) -> Tensor:
    """Squared error of predicted (B, P, L) hidden patches against the true ones, standardised."""
    x, y, z = patch
    cubes = level.crops[:, 0].unfold(1, x, x).unfold(2, y, y).unfold(3, z, z)  # (B, gx, gy, gz, x, y, z)
    patches = cubes.flatten(4).flatten(1, 3).transpose(1, 2)  # (B, P, L)
    target = (patches - patches.mean(dim=1, keepdim=True)) / (patches.var(dim=1, keepdim=True) + 1e-6).sqrt()
    errors = (predicted - target).square().mean(dim=1)  # (B, L)
    return (errors * level.masked).sum() / level.masked.sum()


def alignment(predictor: Weights, latents: Tensor, places: Tensor, level: LevelBatch) -> Tensor:
    """Cross-entropy of each child (B, C, K) finding its own cell among its parent's places (N, D, cells)."""
    first, norm, _, last = numbered(predictor, "layers")
    foreseen = linear(gelu(normed(linear(latents.mean(dim=2), first), norm, 1e-5)), last)  # (B, D)
    cosines = F.cosine_similarity(foreseen[:, :, None], places[level.parent], dim=1)  # (B, cells)
    return F.cross_entropy(cosines / Alignment().temperature, level.cell)


def region_loss(weights: Weights, batch: RegionBatch, config: PretrainConfig) -> Tensor:
    """The whole loss of a batch with the default objective."""
    nesting, sizes = config.nesting, config.architecture
    loss, places = torch.zeros(()), torch.empty(0)
    for number, level in enumerate(batch.levels):
        visible = torch.stack([torch.nonzero(~row)[:, 0] for row in level.masked])
        latents = encode(part(weights, "encoder"), level.crops, visible, nesting.patch, sizes.num_heads)
        decoder = part(weights, "decoder")
        features = decode(decoder, latents, visible, nesting.grid, sizes.decoder_heads)
        loss = loss + reconstruction(linear(features, part(decoder, "predict")), level, nesting.patch)
        if number:
            loss = loss + 0.1 * alignment(part(weights, "predictor"), latents, places, level)
        cell = nesting.levels[number].cell
        pooled = F.avg_pool3d(features.detach().reshape(*features.shape[:2], *nesting.grid), cell)
        places = pooled.flatten(2)  # (B, D, cells)
    return loss


def assert_same_gradients(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    """Relative to each tensor's largest entry; biases of keys have gradients of rounding errors alone."""
    least = 1e-2 * max(float(gradient.abs().max()) for gradient in expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= tolerance * max(float(theirs.abs().max()), least)


def roughened(model: nn.Module) -> Weights:
    """The weights of a model, of which none is left trivial."""
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return dict(model.named_parameters())


@settings(deadline=None, max_examples=25)
@given(
    grid=GRIDS,
    patch=PATCHES,
    batch=st.integers(1, 2),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    data=st.data(),
)
def test_latents_and_gradients_are_those_of_the_dense_encoder(
    grid: Triple, patch: Triple, batch: int, channels: int, dtype: torch.dtype, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    count = math.prod(grid)
    kept = data.draw(st.integers(1, count))
    visible = torch.tensor([data.draw(st.permutations(range(count)))[:kept] for _ in range(batch)])
    encoder = Encoder(patch, replace(ARCHITECTURE, channels=channels)).to(dtype)
    weights = roughened(encoder)
    size = [g * p for g, p in zip(grid, patch, strict=True)]
    crops = torch.rand(batch, channels, *size, dtype=dtype, requires_grad=True)
    inputs = [crops, *weights.values()]

    expected = encode(weights, crops, visible, patch, ARCHITECTURE.num_heads).transpose(1, 2)  # (B, K, C)
    signal = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * signal).sum(), inputs)
    found = encoder(crops, visible)
    ours = torch.autograd.grad((found * signal).sum(), inputs)

    tolerance = 1e-4 if dtype is torch.float32 else 1e-9
    assert found.dtype is dtype
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()
    assert_same_gradients(list(ours), list(gradients), tolerance)


def test_loss_and_gradients_of_a_region_are_those_of_the_dense_method(
    store: Store, pretraining: PretrainConfig
) -> None:
    torch.manual_seed(0)
    nesting = replace(pretraining.nesting, crop=(16, 8, 8), patch=(4, 2, 2))
    config = replace(pretraining, nesting=nesting)
    read = next(region_batches(store, select_cases(store, "train"), config, 0, 0, 1))
    batch = replace(read, levels=tuple(replace(one, crops=one.crops.double()) for one in read.levels))
    model = Mim(nesting, config.architecture, config.alignment).double()
    weights = roughened(model)

    expected = region_loss(weights, batch, config)
    gradients = torch.autograd.grad(expected, list(weights.values()))
    total = 0.0
    for chunk in chain.from_iterable(pretrain_chunks(model, batch, config, (1, 3, 5))):
        loss, _ = chunk.compute(model)
        torch.autograd.backward(loss)
        total += float(loss.detach())

    assert abs(total - float(expected.detach())) <= 1e-6 * total  # places are kept in float32
    ours = [weight.grad for weight in weights.values() if weight.grad is not None]
    assert_same_gradients(ours, list(gradients), 1e-6)
