import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mim3d.data.resample import sample_linear
from mim3d.geometry import Box, Triple, Vector
from mim3d.inference.restore import Grid, restore
from mim3d.inference.window import Plane

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)


def planes_of(logits: Tensor, axis: int) -> list[Plane]:
    return list(enumerate(logits.unbind(axis + 1)))


def random_logits(classes: int, shape: Triple, seed: int = 0) -> Tensor:
    return torch.randn((classes, *shape), generator=torch.Generator().manual_seed(seed))


@given(shape=SHAPES, axis=st.integers(0, 2), classes=st.integers(2, 5))
def test_on_the_same_grid_it_is_the_argmax(shape: Triple, axis: int, classes: int) -> None:
    logits = random_logits(classes, shape)
    grid = Grid(shape, (0.7, 1.1, 2.5))
    restored = restore(planes_of(logits, axis), axis, grid, grid)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored, logits.argmax(dim=0).numpy())


@settings(deadline=None)
@given(
    shape=SHAPES,
    axis=st.integers(0, 2),
    spacing=st.tuples(*[st.floats(0.4, 4.0)] * 3),
    target=st.tuples(*[st.sampled_from([0.8, 1.5, 2.5])] * 3),
)
def test_logits_are_interpolated_at_the_voxels_of_the_scan(
    shape: Triple, axis: int, spacing: Vector, target: Vector
) -> None:
    x, y, z = (max(1, round(n * s / t)) for n, s, t in zip(shape, spacing, target, strict=True))
    logits = random_logits(3, (x, y, z))
    restored = restore(planes_of(logits, axis), axis, Grid((x, y, z), target), Grid(shape, spacing))
    ratio = [s / t for s, t in zip(spacing, target, strict=True)]
    box = Box((0.0, 0.0, 0.0), (shape[0] * ratio[0], shape[1] * ratio[1], shape[2] * ratio[2]))
    expected = np.stack([sample_linear(one.numpy(), box, shape, 0.0, box.size) for one in logits])
    first, second = np.sort(expected, axis=0)[[-1, -2]]
    clear = first - second > 1e-4  # elsewhere rounding decides
    assert np.array_equal(restored[clear], expected.argmax(axis=0)[clear])


def test_a_structure_keeps_its_place_and_volume() -> None:
    logits = torch.zeros(2, 8, 8, 8)
    logits[1, 2:6, :, 2:6] = 2.0
    logits[0] = 1.0
    restored = restore(
        planes_of(logits, 1), 1, Grid((8, 8, 8), (1.5,) * 3), Grid((24, 12, 4), (0.5, 1.0, 3.0))
    )
    assert restored[6:18, :, 1:3].all()
    assert restored.sum() == 12 * 12 * 2


def test_many_structures_need_16_bits() -> None:
    logits = torch.zeros(300, 2, 2, 2)
    logits[299] = 1.0
    grid = Grid((2, 2, 2), (1.0, 1.0, 1.0))
    restored = restore(planes_of(logits, 0), 0, grid, grid)
    assert restored.dtype == np.uint16
    assert (restored == 299).all()


def test_missing_planes_are_our_fault() -> None:
    grid = Grid((2, 2, 4), (1.0, 1.0, 1.0))
    with pytest.raises(AssertionError, match="the planes must cover the working grid"):
        restore(planes_of(torch.zeros(2, 2, 2, 3), 2), 2, grid, grid)
