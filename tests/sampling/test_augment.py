from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.config import Augmentation
from mim3d.geometry import Triple, Vector
from mim3d.sampling.augment import Symmetry, augment, happens, symmetry_of

NOTHING = Augmentation(flip=0, contrast=0, shift=0, noise=0)
ALL = Symmetry((0, 1, 2), ((0, 1), (0, 2), (1, 2)))


def crop_with_its_own_labels(
    shape: Triple = (4, 5, 6), seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Labels 0, 1, 2 where intensities are 0, 0.5 and 1, so that one tells the other."""
    labels = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    return (labels / 2).astype(np.float32)[None], labels


def test_the_same_numbers_give_the_same_crop() -> None:
    crop, labels = crop_with_its_own_labels((5, 5, 5))
    busy = replace(Augmentation(), rotate=0.5)
    first, second = (augment(crop, labels, np.random.default_rng(3), busy, ALL) for _ in range(2))
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()
    other = augment(crop, labels, np.random.default_rng(4), busy, ALL)
    assert other[0].tobytes() != first[0].tobytes()


def test_what_is_switched_off_draws_nothing_and_changes_nothing() -> None:
    crop, labels = crop_with_its_own_labels()
    random = np.random.default_rng(3)
    image, ids = augment(crop, labels, random, NOTHING, Symmetry())
    assert np.array_equal(image, crop)
    assert np.array_equal(ids, labels)
    assert random.random() == np.random.default_rng(3).random()


def test_what_is_certain_draws_nothing() -> None:
    random = np.random.default_rng(3)
    assert happens(random, 1.0)
    assert not happens(random, 0.0)
    assert random.random() == np.random.default_rng(3).random()
    assert 350 < sum(happens(random, 0.4) for _ in range(1000)) < 450


def test_labels_are_mirrored_and_turned_with_the_image() -> None:
    crop, labels = crop_with_its_own_labels((5, 5, 5))
    settings = replace(NOTHING, flip=0.1, rotate=0.3)
    changed = 0
    for seed in range(100):
        image, ids = augment(crop, labels, np.random.default_rng(seed), settings, ALL)
        assert np.array_equal(image[0] * 2, ids)
        changed += not np.array_equal(ids, labels)
    assert 60 < changed < 90  # 1 - 0.9^3 * 0.7^3 = 75 %


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_only_the_axes_given_are_mirrored(axis: int) -> None:
    crop, labels = crop_with_its_own_labels()
    settings = replace(NOTHING, flip=0.5)
    seen = {
        augment(crop, labels, np.random.default_rng(s), settings, Symmetry((axis,)))[1].tobytes()
        for s in range(60)
    }
    assert seen == {labels.tobytes(), np.ascontiguousarray(np.flip(labels, axis)).tobytes()}


@pytest.mark.parametrize("plane", [(0, 1), (0, 2), (1, 2)])
def test_crops_are_turned_by_right_angles_in_the_planes_given(plane: tuple[int, int]) -> None:
    crop, labels = crop_with_its_own_labels((3, 3, 3))
    settings = replace(NOTHING, rotate=0.75)
    seen = {
        augment(crop, labels, np.random.default_rng(s), settings, Symmetry((), (plane,)))[1].tobytes()
        for s in range(60)
    }
    assert seen == {np.ascontiguousarray(np.rot90(labels, times, plane)).tobytes() for times in range(4)}


def test_how_often_an_axis_is_mirrored() -> None:
    crop, labels = crop_with_its_own_labels()
    turned = [
        not np.array_equal(
            augment(crop, labels, np.random.default_rng(s), replace(NOTHING, flip=0.2), Symmetry((1,)))[1],
            labels,
        )
        for s in range(1000)
    ]
    assert np.mean(turned) == pytest.approx(0.2, abs=0.04)


def test_intensities_change_within_their_limits() -> None:
    crop, labels = np.full((1, 8, 8, 8), 0.5, np.float32), np.zeros((8, 8, 8), np.uint8)
    settings = Augmentation(max_contrast=0.3, max_shift=0.05, max_noise=0.04)
    means, deviations = [], []
    for seed in range(60):
        image, _ = augment(crop, labels, np.random.default_rng(seed), settings, Symmetry(()))
        assert image.dtype == np.float32
        means.append(abs(float(image.mean()) - 0.5))
        deviations.append(float(image.std()))
    assert 0.04 < max(means) <= 0.05 + 0.04 / 10
    assert 0.03 < max(deviations) <= 1.2 * 0.04
    bright, _ = augment(
        crop + 0.5, labels, np.random.default_rng(1), replace(settings, noise=0), Symmetry(())
    )
    assert 1 - 0.5 * 0.3 - 0.05 <= bright.min() == bright.max() <= 1 + 0.5 * 0.3 + 0.05


def test_what_comes_out_is_contiguous_and_does_not_change_what_went_in() -> None:
    crop, labels = crop_with_its_own_labels((5, 5, 5))
    before = crop.copy(), labels.copy()
    for seed in range(10):
        image, ids = augment(crop, labels, np.random.default_rng(seed), Augmentation(rotate=0.5), ALL)
        assert image.flags.c_contiguous
        assert ids.flags.c_contiguous
    assert np.array_equal(crop, before[0])
    assert np.array_equal(labels, before[1])


@pytest.mark.parametrize(
    ("structures", "axes"),
    [
        (("liver", "spleen"), (0, 1, 2)),
        (("liver", "kidney_left"), (1, 2)),
        (("Right lung",), (1, 2)),
        (("kidneys=kidney_left+kidney_right",), (0, 1, 2)),
        (("kidneys=kidney_left+kidney_right", "kidney_left"), (1, 2)),
        (("one=kidney_left",), (1, 2)),
        ((), (0, 1, 2)),
    ],
)
def test_sided_structures_are_not_swapped(structures: tuple[str, ...], axes: tuple[int, ...]) -> None:
    found = symmetry_of(structures, (8, 8, 8), (1.0, 1.0, 1.0))
    assert found.axes == axes
    assert found.planes == tuple((a, b) for a in axes for b in axes if a < b)


@pytest.mark.parametrize(
    ("crop", "spacing", "planes"),
    [
        ((8, 8, 4), (1.0, 1.0, 1.0), ((0, 1),)),
        ((8, 4, 8), (1.0, 1.0, 1.0), ((0, 2),)),
        ((8, 8, 8), (0.8, 0.8, 2.5), ((0, 1),)),
        ((8, 8, 8), (1.0, 1.005, 1.0), ((0, 1), (0, 2), (1, 2))),
        ((8, 4, 2), (1.0, 1.0, 1.0), ()),
    ],
)
def test_crops_are_turned_only_in_square_planes(
    crop: Triple, spacing: Vector, planes: tuple[tuple[int, int], ...]
) -> None:
    assert symmetry_of(("liver",), crop, spacing).planes == planes
