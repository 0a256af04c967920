"""Reconstruction against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mim3d.errors import GeometryError
from mim3d.objective.reconstruct import patch_mse, standardise


@settings(deadline=None)
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


def test_a_flat_patch_has_a_target_of_zero() -> None:
    assert not standardise(torch.full((1, 2, 8), 0.25)).any()
    assert float(patch_mse(torch.full((1, 2, 8), 3.0), torch.full((1, 2, 8), 0.25))) == 9.0


def test_brightness_and_contrast_do_not_matter() -> None:
    patches = torch.rand(2, 3, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(standardise(0.5 * patches + 0.3), standardise(patches), atol=1e-4, rtol=1e-4)


def test_shapes_that_disagree_are_refused() -> None:
    message = r"predicted patches \(1, 2, 8\) and true ones \(1, 3, 8\) must agree"
    with pytest.raises(GeometryError, match=message):
        patch_mse(torch.zeros(1, 2, 8), torch.zeros(1, 3, 8))
