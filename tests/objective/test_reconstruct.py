"""Reconstruction against numpy, option by option."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mim3d.config import Level, Nesting, Target
from mim3d.errors import GeometryError
from mim3d.geometry import Triple
from mim3d.model.patches import index_of, patchify, unpatchify
from mim3d.objective.interpolate import hidden_blocks, push_pull
from mim3d.objective.reconstruct import (
    Part,
    errors,
    hidden_patches,
    low_passed,
    patch_mse,
    scale_of,
    which_count,
)

TARGETS = [
    Target(),
    Target(kind="raw"),
    Target(variance_floor=1e-2),
    Target(low_pass=2),
    Target(kind="raw", low_pass=8),
    Target(low_pass=4, variance_floor=1e-4),
]
NESTING = Nesting(extent=(16, 16, 24), crop=(16, 16, 24), patch=(8, 8, 8), levels=(Level(children=0),))


def part_of(channels: int = 1, seed: int = 0) -> Part:
    """Two crops of 2 x 2 x 3 patches of 8^3 voxels, the second patch flat; seven are hidden in each."""
    random = torch.Generator().manual_seed(seed)
    crops = torch.rand(2, channels, 16, 16, 24, generator=random)
    crops[:, :, :8, :8, 8:16] = 0.25
    masked = torch.stack([torch.arange(12) < 7, torch.arange(12) > 4])  # the flat patch in the first only
    hidden = index_of(masked)
    return Part(crops, masked, hidden, torch.ones_like(hidden, dtype=torch.bool))


def nesting_with(target: Target) -> Nesting:
    return replace(NESTING, levels=(Level(children=0, target=target),))


def wanted(voxels: np.ndarray, target: Target) -> np.ndarray:
    """Target (8, 8, 8) of one channel of one patch, in double precision."""
    voxels, side = voxels.astype(np.float64), target.low_pass
    for place in np.ndindex(*(8 // side,) * 3):
        cube = tuple(slice(i * side, (i + 1) * side) for i in place)
        voxels[cube] = voxels[cube].mean()
    if target.kind == "raw":
        return voxels
    return np.asarray((voxels - voxels.mean()) / np.sqrt(voxels.var(ddof=1) + target.variance_floor))


def test_the_parts_of_this_test() -> None:
    part = part_of()
    assert part.masked.sum(dim=1).tolist() == [7, 7]
    assert (hidden_patches(part.crops, part.hidden, (8, 8, 8), Target()).var(dim=2) == 0).sum() == 1


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 9), st.integers(0, 99))
def test_squared_error_of_standardised_patches(batch: int, hidden: int, voxels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    predicted, patches = random.normal(size=(2, batch, hidden, voxels))
    expected = []
    for guess, patch in zip(predicted.reshape(-1, voxels), patches.reshape(-1, voxels), strict=True):
        scaled = (patch - np.mean(patch)) / np.sqrt(np.var(patch, ddof=1) + 1e-6)
        expected.append(np.mean((guess - scaled) ** 2))
    found = patch_mse(torch.from_numpy(predicted), torch.from_numpy(patches))
    assert found.shape == ()
    assert float(found) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_target_channel_by_channel(target: Target, channels: int) -> None:
    part = part_of(channels)
    predicted = torch.randn(2, 7, 512 * channels, generator=torch.Generator().manual_seed(1))
    guesses = predicted.reshape(2, 7, 8, 8, 8, channels).numpy()
    cubes = patchify(part.crops, (8, 8, 8)).numpy()
    expected = [
        np.mean((guesses[row, place, ..., channel] - wanted(cubes[row, token, ..., channel], target)) ** 2)
        for row in range(2)
        for place, token in enumerate(part.hidden[row].tolist())
        for channel in range(channels)
    ]
    found = errors(predicted, part, nesting_with(target), 0)
    assert float(found.predicted) == pytest.approx(np.mean(expected), rel=1e-5)


def expected_obvious(part: Part, target: Target) -> tuple[float, float]:
    """Errors of means and of interpolation, voxel by voxel."""
    of_mean, of_filled = [], []
    cubes = patchify(part.crops, (8, 8, 8))
    blocks = F.avg_pool3d(part.crops, 4)  # 2^3 blocks of 4^3 voxels a patch
    shown = (~part.masked).float()[:, :, None, None, None, None].expand(-1, -1, 2, 2, 2, 1)
    filled = push_pull(blocks, unpatchify(shown, (2, 2, 3)))
    fine = patchify(filled.repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4), (8, 8, 8))
    for row, place in np.ndindex(*part.hidden.shape):
        if not part.counted[row, place]:
            of_mean += [0.0] * cubes.shape[-1]
            of_filled += [0.0] * cubes.shape[-1]
            continue
        token = int(part.hidden[row, place])
        for channel in range(cubes.shape[-1]):
            voxels = cubes[row, token, ..., channel].numpy()
            guess = wanted(fine[row, token, ..., channel].numpy(), replace(target, kind="raw"))
            smooth = wanted(voxels, replace(target, kind="raw"))
            scale = 1.0
            if target.kind == "normalised":
                guess = guess - guess.mean() + smooth.mean()
                scale = smooth.var(ddof=1) + target.variance_floor
            of_mean.append(np.mean((smooth - smooth.mean()) ** 2) / scale)
            # What varies within a block is beyond an interpolation between blocks, low-passed or not.
            error = np.mean((smooth - guess) ** 2) / scale
            of_filled.append(min(error, of_mean[-1]) if target.kind == "normalised" else error)
    return float(np.mean(of_mean)), float(np.mean(of_filled))


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_obvious_is_scored_in_the_space_of_the_target(target: Target, channels: int) -> None:
    part = replace(
        part_of(channels), counted=torch.rand(2, 7, generator=torch.Generator().manual_seed(3)) < 0.7
    )
    found = errors(torch.zeros(2, 7, 512 * channels), part, nesting_with(target), 0)
    of_mean, of_filled = expected_obvious(part, target)
    assert float(found.mean) == pytest.approx(of_mean, rel=1e-4)
    assert float(found.interpolated) == pytest.approx(of_filled, rel=1e-4)


def test_what_is_smooth_is_interpolated_and_noise_is_not() -> None:
    side = torch.arange(24) / 24
    slope = (side[:, None, None] + 0.5 * side[:, None] + side).expand(1, 1, 24, 24, 24)
    masked = torch.arange(27)[None] == 13  # the middle one
    hidden, target = index_of(masked), Target()
    noise = torch.rand(1, 1, 24, 24, 24, generator=torch.Generator().manual_seed(0))
    levels = replace(nesting_with(target), crop=(24, 24, 24))
    smooth, grainy = (
        errors(torch.zeros(1, 1, 512), Part(crop.contiguous(), masked, hidden, hidden > 0), levels, 0)
        for crop in (slope, noise)
    )
    assert float(smooth.interpolated) < 0.5 * float(smooth.mean)
    assert float(grainy.interpolated) == float(grainy.mean)  # nothing is closer


def test_flat_patches_leave_interpolation_no_error_to_take_away() -> None:
    crop = torch.zeros(1, 1, 24, 24, 24)
    crop[..., 16:] = torch.rand(24, 24, 8, generator=torch.Generator().manual_seed(0))  # beside padding
    masked = torch.zeros(1, 27, dtype=torch.bool)
    masked[:, [4, 13, 14]] = True  # two flat patches, one of noise
    hidden, target = index_of(masked), Target()
    nesting = replace(nesting_with(target), crop=(24, 24, 24))
    found = errors(torch.zeros(1, 3, 512), Part(crop, masked, hidden, hidden > 0), nesting, 0)
    assert float(found.mean) == pytest.approx(1 / 3, rel=0.01)
    assert float(found.interpolated) <= float(found.mean)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_patches_that_do_not_count_have_no_say(target: Target) -> None:
    part = part_of()
    counted = torch.arange(14).reshape(2, 7) % 3 > 0
    predicted = torch.randn(2, 7, 512, generator=torch.Generator().manual_seed(1))
    found = errors(predicted, replace(part, counted=counted), nesting_with(target), 0)
    disturbed = torch.where(counted[..., None], predicted, torch.randn(2, 7, 512))
    assert torch.equal(
        errors(disturbed, replace(part, counted=counted), nesting_with(target), 0).predicted, found.predicted
    )
    patches = hidden_patches(part.crops, part.hidden, (8, 8, 8), target)
    kept = patch_mse(
        predicted[counted][None], patches[counted][None], scale_of(patches[counted][None], target)
    )
    assert float(found.predicted) == pytest.approx(float(kept) * float(counted.float().mean()), rel=1e-5)


def counted_of(part: Part, padded: Tensor, target: Target) -> list[list[bool]]:
    found: list[list[bool]] = which_count(part, padded, (8, 8, 8), target).tolist()
    return found


def test_padded_patches_are_left_out_where_that_is_asked() -> None:
    part, padded = part_of(), torch.rand(2, 12, generator=torch.Generator().manual_seed(0)) < 0.5
    assert counted_of(part, padded, Target()) == [[True] * 7] * 2
    expected = [[not padded[row, token] for token in part.hidden[row]] for row in range(2)]
    assert counted_of(part, padded, Target(padded=False)) == expected


def test_flat_patches_are_left_out_where_that_is_asked() -> None:
    part, nowhere = part_of(2), torch.zeros(2, 12, dtype=torch.bool)
    part.crops[1, 0, :8, 8:, :8] = 0.5  # token 3, flat in one channel of two
    part.crops[1, :, 8:, :8, :8] *= 0.1  # token 6, of low contrast
    expected = [
        [token != 1 for token in part.hidden[0].tolist()],
        [token != 6 for token in part.hidden[1].tolist()],
    ]
    assert counted_of(part, nowhere, Target(least_variance=1e-2)) == expected
    everything = torch.ones(2, 12, dtype=torch.bool)
    assert counted_of(part, everything, Target(least_variance=1e-2, padded=False)) == [[False] * 7] * 2


def test_fine_grain_does_not_count_as_variance_once_it_is_averaged_away() -> None:
    part, nowhere = part_of(), torch.zeros(2, 12, dtype=torch.bool)
    assert sum(map(sum, counted_of(part, nowhere, Target(least_variance=0.05)))) == 13
    assert sum(map(sum, counted_of(part, nowhere, Target(least_variance=0.05, low_pass=4)))) == 0


@given(st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(0, 9))
def test_low_pass_is_average_pooling_and_back(side: int, channels: int, seed: int) -> None:
    cubes = torch.rand(2, 3, 4, 8, 4, channels, generator=torch.Generator().manual_seed(seed))
    pooled = F.avg_pool3d(cubes.flatten(0, 1).movedim(-1, 1), side)
    back = F.interpolate(pooled, scale_factor=side).movedim(1, -1).reshape(cubes.shape)
    torch.testing.assert_close(low_passed(cubes, side), back)


def test_a_flat_patch_has_a_target_of_zero() -> None:
    assert float(patch_mse(torch.zeros(1, 2, 8), torch.full((1, 2, 8), 0.25))) == 0.0
    assert float(patch_mse(torch.full((1, 2, 8), 3.0), torch.full((1, 2, 8), 0.25))) == 9.0


def test_brightness_and_contrast_do_not_matter_unless_the_target_is_raw() -> None:
    patches = torch.rand(2, 3, 64, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predicted, other = torch.randn(2, 3, 64, dtype=torch.float64), 0.5 * patches + 0.3
    torch.testing.assert_close(
        patch_mse(predicted, other), patch_mse(predicted, patches), atol=1e-4, rtol=1e-4
    )
    raw = [float(patch_mse(predicted, one, scale_of(one, Target(kind="raw")))) for one in (patches, other)]
    assert raw[0] == pytest.approx(float((predicted - patches[..., 0]).square().mean()))
    assert raw[0] != pytest.approx(raw[1])


@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 4, 2)])
def test_hidden_patches_are_in_the_order_of_tokens(patch: Triple) -> None:
    crops = torch.rand(2, 2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    cubes = patchify(crops, patch)
    hidden = torch.tensor([[1, 0], [0, 1]])
    found = hidden_patches(crops, hidden, patch, Target())
    for row, place in np.ndindex(2, 2):
        assert torch.equal(found[row, place], cubes[row, hidden[row, place]].flatten(0, 2))


def test_the_blocks_of_the_yardstick_know_nothing_of_what_is_hidden() -> None:
    part = part_of()
    cubes = patchify(part.crops, (8, 8, 8))
    shown = torch.where(part.masked[:, :, None, None, None, None], torch.rand(cubes.shape), cubes)
    other = unpatchify(shown, (2, 2, 3))
    filled = [hidden_blocks(one, part.masked, part.hidden, (8, 8, 8))[1] for one in (part.crops, other)]
    torch.testing.assert_close(filled[0], filled[1])


def test_shapes_that_disagree_are_refused() -> None:
    message = r"predicted patches \(1, 2, 8\) and true ones \(1, 3, 8\) must agree"
    with pytest.raises(GeometryError, match=message):
        patch_mse(torch.zeros(1, 2, 8), torch.zeros(1, 3, 8))
