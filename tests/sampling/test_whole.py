"""What a classifier sees of a case: the whole volume, or a box about its body, made to fit."""

from dataclasses import replace

import numpy as np
import pytest

from mim3d.config import Augmentation, ClassifyConfig, Window
from mim3d.data.store import Store
from mim3d.geometry import Box
from mim3d.sampling.classified import classified_cases, with_classes
from mim3d.sampling.volumes import classified_batches
from mim3d.sampling.whole import read_classified, read_whole, seen_box


@pytest.fixture
def config(store: Store, classifying: ClassifyConfig) -> ClassifyConfig:
    return with_classes(store, replace(classifying, target="phase"))


def test_the_whole_volume_fills_the_crop(store: Store, config: ClassifyConfig) -> None:
    case = store.catalog.cases[0]
    x, y, z = map(float, case.shape)
    expected = store.read(case.case, Box((0.0, 0.0, 0.0), (x, y, z)), config.crop)
    seen = read_whole(store, case, config)
    assert seen.shape == (1, *config.crop)
    np.testing.assert_allclose(seen, np.clip((expected + 1000) / 2000, 0, 1), atol=1e-6)


def test_a_box_about_the_body() -> None:
    body = np.array([[10, 20, 30], [13, 20, 30]], np.int32)
    box = seen_box((40, 40, 40), (2.0, 1.0, 0.5), (20.0, 20.0, 20.0), body)
    assert box == Box((7.0, 10.5, 10.5), (10.0, 20.0, 40.0))
    assert seen_box((40, 40, 40), (2.0, 1.0, 0.5), (20.0, 20.0, 20.0), body[:0]).start == (15.0, 10.0, 0.0)
    assert seen_box((4, 5, 6), (1.0, 1.0, 1.0), None, body) == Box((0.0, 0.0, 0.0), (4.0, 5.0, 6.0))


def test_a_small_box_is_seen_from_nearer(store: Store, config: ClassifyConfig) -> None:
    case = store.catalog.cases[0]
    middle = store.foreground(case.case, None)[0].mean(axis=0) + 0.5
    near = read_whole(store, case, replace(config, extent=(160.0, 160.0, 160.0)))
    start = middle - 8
    expected = store.read(case.case, Box((start[0], start[1], start[2]), (16.0, 16.0, 16.0)), config.crop)
    np.testing.assert_allclose(near, np.clip((expected + 1000) / 2000, 0, 1), atol=1e-6)


def test_min_max_reaches_from_air_to_the_brightest_of_the_body(store: Store, config: ClassifyConfig) -> None:
    case = store.catalog.cases[0]
    seen = read_whole(store, case, replace(config, intensity="min_max"))
    window = Window(low=-1024.0, high=case.statistics["maximum"])
    np.testing.assert_array_equal(seen, read_whole(store, case, replace(config, window=window)))


def test_a_sample_hangs_on_its_number_alone(store: Store, config: ClassifyConfig) -> None:
    cases = classified_cases(store, config, "train")
    first, again = (read_classified(store, cases, config, 5) for _ in range(2))
    assert first.crop.tobytes() == again.crop.tobytes()
    assert first.case == again.case
    other = read_classified(store, cases, replace(config, seed=1), 5)
    assert other.crop.tobytes() != first.crop.tobytes()


def test_batches_hold_volumes_and_their_classes(store: Store, config: ClassifyConfig) -> None:
    cases = classified_cases(store, config, "train")
    first, second, third = classified_batches(
        store, cases, replace(config, augmentation=Augmentation()), 3, 0, 1
    )
    assert first.crops.shape == (2, 1, *config.crop)
    known = {case.case: case.targets for case in cases}
    for batch in (first, second, third):
        for name, row in zip(batch.cases, batch.truth.tolist(), strict=True):
            assert f'"phase": "{config.classes[row.index(1.0)]}"' in known[name]
            assert sum(row) == 1.0


def test_a_volume_is_turned_about_its_middle_in_mm(store: Store, config: ClassifyConfig) -> None:
    still = Augmentation(flip=0, contrast=0, shift=0, noise=0)
    config = replace(config, crop=(32, 32, 16), augmentation=still)
    cases = classified_cases(store, config, "train")
    plain = read_classified(store, cases, config, 0)
    never = replace(still, affine=1.0, max_angle=0.0, max_zoom=0.0)
    same = read_classified(store, cases, replace(config, augmentation=never), 0)
    np.testing.assert_allclose(same.crop, plain.crop, atol=1e-5)
    turning = replace(still, affine=1.0, max_angle=10.0, max_zoom=0.1)
    turned = read_classified(store, cases, replace(config, augmentation=turning), 0)
    assert same.case == turned.case
    assert not np.allclose(turned.crop, plain.crop, atol=0.05)
    assert np.corrcoef(turned.crop.ravel(), plain.crop.ravel())[0, 1] > 0.6
    without_zoom = replace(turning, max_zoom=0.0)
    turned = read_classified(store, cases, replace(config, augmentation=without_zoom), 0)
    assert abs(float(turned.crop.mean()) - float(plain.crop.mean())) < 0.01


def test_a_mirrored_volume_keeps_its_voxels(store: Store, config: ClassifyConfig) -> None:
    flipping = Augmentation(flip=1.0, contrast=0, shift=0, noise=0)
    cases = classified_cases(store, config, "train")
    plain, mirrored = (
        read_classified(store, cases, replace(config, augmentation=replace(flipping, flip=chance)), 0).crop
        for chance in (0.0, 1.0)
    )
    np.testing.assert_array_equal(mirrored, plain[:, ::-1, ::-1, ::-1])
