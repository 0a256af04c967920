from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mim3d.data.phantom_case import Phantom, PhantomOptions, draw_phantom, structures
from mim3d.data.phantom_tissue import plan_case
from mim3d.errors import DataError

COARSE = PhantomOptions(seed=4, shape=(32, 32, 32), spacing=9.0, separate_kidneys=True)
FINE = replace(COARSE, shape=(48, 48, 48), spacing=6.0)


@pytest.fixture(name="patients", scope="module")
def draw_patients() -> list[Phantom]:
    return [draw_phantom(index, FINE) for index in range(4)]


def centre(phantom: Phantom, name: str) -> Any:
    value = structures(separate_kidneys=True)[name]
    voxels = np.argwhere(phantom.labels == value).mean(axis=0)
    return phantom.affine[:3, :3] @ voxels + phantom.affine[:3, 3]


def test_every_structure_is_there(patients: list[Phantom]) -> None:
    for phantom in patients:
        counts = np.bincount(phantom.labels.ravel(), minlength=11)
        assert phantom.hu.dtype == np.int16
        assert phantom.labels.dtype == np.uint8
        assert counts[1:10].min() > 50
        assert (counts[10] > 0) == (phantom.plan.disease != "healthy")


@pytest.mark.parametrize("seed", range(6))
def test_no_organ_vanishes_on_the_coarsest_grid(seed: int) -> None:
    phantom = draw_phantom(seed, replace(COARSE, seed=seed))
    assert np.bincount(phantom.labels.ravel(), minlength=11)[1:10].min() > 15


def test_anatomy_is_where_it_belongs_in_ras(patients: list[Phantom]) -> None:
    for phantom in patients:
        at = {name: centre(phantom, name) for name in structures(separate_kidneys=True) if name != "lesion"}
        assert at["liver"][0] > 20 > -20 > at["spleen"][0]
        assert at["right_kidney"][0] > 0 > at["left_kidney"][0]
        assert at["stomach"][0] < 0
        assert at["lungs"][2] > at["liver"][2] > at["bowel"][2]
        assert at["bowel"][1] > at["aorta"][1] > at["spine"][1]


def test_gas_lies_in_front_of_fluid(patients: list[Phantom]) -> None:
    for phantom in patients:
        stomach = phantom.labels == structures(separate_kidneys=True)["stomach"]
        gas, rest = stomach & (phantom.hu < -700), stomach & (phantom.hu > -200)
        if gas.sum() > 5:
            assert np.argwhere(gas)[:, 1].mean() > np.argwhere(rest)[:, 1].mean()


def test_intensities_are_those_of_ct(patients: list[Phantom]) -> None:
    names = structures(separate_kidneys=True)
    for phantom in patients:
        means = {
            name: phantom.hu[phantom.labels == value].mean() for name, value in names.items() if value < 10
        }
        assert means["lungs"] < -600
        assert 20 < means["liver"] < 150
        assert means["spine"] > 100
        assert phantom.hu.min() >= -1024
        assert phantom.hu[0, -1, 0] < -900


def test_a_case_is_the_same_again_and_differs_from_others(patients: list[Phantom]) -> None:
    again = draw_phantom(2, FINE)
    np.testing.assert_array_equal(again.hu, patients[2].hu)
    np.testing.assert_array_equal(again.labels, patients[2].labels)
    assert (patients[1].labels != patients[2].labels).mean() > 0.02


def test_merged_kidneys_change_labels_only() -> None:
    apart, merged = draw_phantom(1, COARSE), draw_phantom(1, replace(COARSE, separate_kidneys=False))
    np.testing.assert_array_equal(apart.hu, merged.hu)
    names, both = structures(separate_kidneys=True), structures()
    assert list(both) == [
        "lungs", "spine", "liver", "spleen", "kidneys", "aorta", "stomach", "bowel", "lesion",
    ]  # fmt: skip
    kidneys = np.isin(apart.labels, [names["left_kidney"], names["right_kidney"]])
    np.testing.assert_array_equal(merged.labels == both["kidneys"], kidneys)
    for name in ("lungs", "bowel", "lesion"):
        np.testing.assert_array_equal(merged.labels == both[name], apart.labels == names[name])


@pytest.mark.parametrize(("disease", "hosts"), [("liver", [3]), ("lung", [1]), ("kidney", [5, 6])])
def test_the_burden_lies_where_the_disease_says(disease: str, hosts: list[int]) -> None:
    for index in range(8):
        if plan_case(COARSE.seed, index, lesions=True).disease == disease:
            ill, well = draw_phantom(index, COARSE), draw_phantom(index, replace(COARSE, lesions=False))
            assert well.plan.disease == "healthy"
            assert not (well.labels == 10).any()
            changed = np.bincount(well.labels[ill.labels == 10], minlength=11)
            assert changed[hosts].sum() + (changed[0] if disease == "kidney" else 0) > 0.6 * changed.sum()
            np.testing.assert_array_equal(ill.labels[ill.labels != 10], well.labels[ill.labels != 10])


def test_the_affine_puts_the_origin_in_the_middle() -> None:
    phantom = draw_phantom(0, replace(COARSE, shape=(32, 34, 36), spacing=8.0))
    assert phantom.hu.shape == phantom.labels.shape == (32, 34, 36)
    np.testing.assert_allclose(phantom.affine @ [15.5, 16.5, 17.5, 1], [0, 0, 0, 1])
    np.testing.assert_array_equal(np.diag(phantom.affine), [8, 8, 8, 1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"shape": (96, 31, 96)}, r"shape must be at least 32 voxels on every axis, .* got \(96, 31, 96\)"),
        ({"spacing": 0.0}, "spacing must be a positive number of mm, got 0.0"),
        ({"spacing": float("nan")}, "spacing must be a positive number of mm, got nan"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        PhantomOptions(**wrong)
