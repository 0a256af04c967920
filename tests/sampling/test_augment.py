import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.sampling import augment as module
from mim3d.sampling.augment import FLIP_PROBABILITY, NOISE, SCALE, SHIFT, augment, mirror_axes


def crop_with_its_own_labels(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Labels 0, 1, 2 where intensities are 0, 0.5 and 1, so that one tells the other."""
    labels = np.random.default_rng(seed).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    return (labels / 2).astype(np.float32)[None], labels


def test_the_same_numbers_give_the_same_crop() -> None:
    crop, labels = crop_with_its_own_labels()
    first, second = (augment(crop, labels, np.random.default_rng(3), (0, 1, 2)) for _ in range(2))
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()
    other = augment(crop, labels, np.random.default_rng(4), (0, 1, 2))
    assert other[0].tobytes() != first[0].tobytes()


def test_labels_are_mirrored_with_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCALE", "SHIFT", "NOISE"):
        monkeypatch.setattr(module, name, 0.0)
    crop, labels = crop_with_its_own_labels()
    mirrored = 0
    for seed in range(50):
        image, ids = augment(crop, labels, np.random.default_rng(seed), (0, 1, 2))
        assert np.array_equal(image[0] * 2, ids)
        mirrored += not np.array_equal(ids, labels)
    assert 5 < mirrored < 25  # 1 - 0.9^3 = 27 %


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_only_the_axes_given_are_mirrored(axis: int) -> None:
    crop, labels = crop_with_its_own_labels()
    seen = {augment(crop, labels, np.random.default_rng(s), (axis,))[1].tobytes() for s in range(60)}
    assert seen == {labels.tobytes(), np.ascontiguousarray(np.flip(labels, axis)).tobytes()}


def test_how_often_an_axis_is_mirrored() -> None:
    crop, labels = crop_with_its_own_labels()
    turned = [
        not np.array_equal(augment(crop, labels, np.random.default_rng(s), (1,))[1], labels)
        for s in range(1000)
    ]
    assert np.mean(turned) == pytest.approx(FLIP_PROBABILITY, abs=0.04)


def test_intensities_change_within_their_limits() -> None:
    crop, labels = np.full((1, 8, 8, 8), 0.5, np.float32), np.zeros((8, 8, 8), np.uint8)
    for seed in range(30):
        image, _ = augment(crop, labels, np.random.default_rng(seed), ())
        assert image.dtype == np.float32
        assert abs(float(image.mean()) - 0.5) <= 0.5 * SCALE + SHIFT + NOISE / 10
        assert float(image.std()) <= 1.2 * NOISE


def test_what_comes_out_is_contiguous_and_does_not_change_what_went_in() -> None:
    crop, labels = crop_with_its_own_labels()
    before = crop.copy(), labels.copy()
    for seed in range(10):
        image, ids = augment(crop, labels, np.random.default_rng(seed), (0, 1, 2))
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
        ((), (0, 1, 2)),
    ],
)
def test_sided_structures_are_not_swapped(structures: tuple[str, ...], axes: tuple[int, ...]) -> None:
    assert mirror_axes(structures) == axes
