from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mim3d.config import Augmentation, FinetuneConfig
from mim3d.data.store import Store
from mim3d.geometry import Box, Triple
from mim3d.sampling import labelled as module
from mim3d.sampling.affine import Matrix, draw_matrix, enlarged, look_up
from mim3d.sampling.crops import select_cases
from mim3d.sampling.labelled import read_labelled
from mim3d.sampling.loader import labelled_batches

QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""A quarter of a turn about Z."""
SIDES = st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9))


@given(seed=st.integers(0, 99), spacing=st.sampled_from([(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (3.0, 1.0, 2.0)]))
def test_distances_in_mm_change_by_the_zoom_alone(seed: int, spacing: tuple[float, float, float]) -> None:
    settings = Augmentation(max_angle=30, max_zoom=0.25)
    matrix = draw_matrix(np.random.default_rng(seed), settings, spacing)
    in_mm = np.diag(spacing) @ matrix @ np.diag(1 / np.asarray(spacing))
    scale = np.cbrt(np.linalg.det(in_mm))
    assert 1 / 1.25 <= scale <= 1 / 0.75
    np.testing.assert_allclose(in_mm @ in_mm.T, scale**2 * np.eye(3), atol=1e-12)
    assert (np.degrees(np.arccos(np.clip(np.diag(in_mm / scale), -1, 1))) <= 60).all()


def test_nothing_is_turned_where_nothing_may_be() -> None:
    still = Augmentation(max_angle=0, max_zoom=0)
    np.testing.assert_array_equal(draw_matrix(np.random.default_rng(0), still, (1.0, 2.0, 3.0)), np.eye(3))


@given(seed=st.integers(0, 99), crop=SIDES)
def test_all_that_is_looked_up_lies_within_the_larger_box(seed: int, crop: Triple) -> None:
    settings = Augmentation(max_angle=180, max_zoom=0.5)
    matrix = draw_matrix(np.random.default_rng(seed), settings, (1.0, 1.5, 2.5))
    box = Box((3.0, -4.0, 5.0), (float(crop[0]), float(crop[1]), float(crop[2])))
    larger = enlarged(box, matrix)
    for a, b, c, d in zip(box.start, box.size, larger.start, larger.size, strict=True):
        assert a + b / 2 == c + d / 2
        assert c == round(c)
        assert d == round(d)
    corners = np.array(np.meshgrid(*([-1, 1],) * 3)).reshape(3, 8) * (np.reshape(crop, (3, 1)) - 1) / 2
    places = (np.reshape(larger.size, (3, 1)) - 1) / 2 + matrix @ corners
    assert (places >= 0).all()
    assert (places <= np.reshape(larger.size, (3, 1)) - 1).all()


@pytest.mark.parametrize("linear", [True, False])
def test_a_quarter_turn_moves_voxels_as_they_are(linear: bool) -> None:
    volume = np.random.default_rng(0).integers(0, 200, (7, 7, 5)).astype(np.float32 if linear else np.uint8)
    found = look_up(volume, QUARTER, (5, 5, 3), linear=linear)
    assert found.dtype == volume.dtype
    np.testing.assert_allclose(found, np.rot90(volume, -1)[1:6, 1:6, 1:4], atol=1e-4)


def test_a_ramp_stays_a_ramp() -> None:
    matrix = draw_matrix(np.random.default_rng(3), Augmentation(max_angle=20), (1.0, 1.0, 2.0))
    slope = np.array([0.3, -0.2, 0.5])
    volume = np.einsum("a,axyz->xyz", slope, np.indices((21, 21, 21)) - 10.0)
    found = look_up(volume, matrix, (7, 5, 3), linear=True)
    offsets = np.indices((7, 5, 3)) - np.reshape([3, 2, 1], (3, 1, 1, 1))
    np.testing.assert_allclose(found, np.einsum("a,ab,bxyz->xyz", slope, matrix, offsets), atol=1e-9)


@pytest.fixture
def turning(finetuning: FinetuneConfig) -> FinetuneConfig:
    augmentation = Augmentation(flip=0, affine=1, contrast=0, shift=0, noise=0)
    return replace(finetuning, augmentation=augmentation, crop=(16, 16, 8), aimed=1.0)


def test_a_crop_that_is_turned_by_nothing_is_the_crop(
    store: Store, turning: FinetuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = select_cases(store, "train")
    plain = replace(turning, augmentation=replace(turning.augmentation, affine=0))
    monkeypatch.setattr(module, "draw_matrix", lambda *_: np.eye(3))
    for number in range(4):
        found, expected = (read_labelled(store, cases, config, number) for config in (turning, plain))
        np.testing.assert_allclose(found.crop, expected.crop, atol=1e-6)
        assert np.array_equal(found.labels, expected.labels)


def test_image_and_labels_are_turned_alike(
    store: Store, turning: FinetuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = select_cases(store, "train")
    plain = replace(turning, augmentation=replace(turning.augmentation, affine=0))
    quarter: Matrix = QUARTER
    monkeypatch.setattr(module, "draw_matrix", lambda *_: quarter)
    found, expected = (read_labelled(store, cases, config, 1) for config in (turning, plain))
    np.testing.assert_allclose(found.crop[0], np.rot90(expected.crop[0], -1), atol=1e-6)
    assert np.array_equal(found.labels, np.rot90(expected.labels, -1))
    assert found.labels.any()


def test_crops_are_the_same_in_every_process(store: Store, turning: FinetuneConfig) -> None:
    config = replace(turning, augmentation=Augmentation(affine=0.5, rotate=0.5))
    apart = replace(config, runtime=replace(config.runtime, num_workers=1))
    cases = select_cases(store, "train")
    here, there = (labelled_batches(store, cases, one, 0, 0, 1) for one in (config, apart))
    for one, other in islice(zip(here, there, strict=True), 4):
        assert torch.equal(one.crops, other.crops)
        assert torch.equal(one.labels, other.labels)
