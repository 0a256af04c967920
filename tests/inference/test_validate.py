from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mim3d.config import FinetuneConfig, Window
from mim3d.data.catalog import Case
from mim3d.data.labels import LabelSet
from mim3d.data.store import Store
from mim3d.geometry import Box
from mim3d.inference.validate import Segmented, evaluate_all, mean_dice, read_image, segment_case
from mim3d.sampling.crops import select_cases
from mim3d.sampling.labelled import IGNORED

WHOLE = Box((0, 0, 0), (32, 29, 26))


def above_half(crops: Tensor) -> Tensor:
    """Structure 1 where intensities exceed 0.5, structure 2 nowhere."""
    return torch.cat([torch.full_like(crops, 0.5), crops, torch.zeros_like(crops)], dim=1)


@pytest.fixture
def case(store: Store) -> Case:
    return select_cases(store, "val")[0]


def segmented(
    case: Case, predicted: list[int], truth: list[int], annotated: tuple[str, ...] = ("liver", "lungs")
) -> Segmented:
    """Label maps of one row of voxels."""

    def row(values: list[int]) -> NDArray[np.uint8]:
        return np.array(values, dtype=np.uint8).reshape(-1, 1, 1)

    shape = (len(truth), 1, 1)
    return Segmented(replace(case, shape=shape), row(predicted), row(truth), annotated)


def test_a_case_is_predicted_window_by_window_on_its_own_grid(
    store: Store, case: Case, finetuning: FinetuneConfig
) -> None:
    found = segment_case(above_half, store, case, finetuning, "cpu")
    image = read_image(store, case, finetuning)
    assert found.case is case
    assert image.shape == found.predicted.shape == found.truth.shape == (32, 29, 26)
    assert np.array_equal(found.predicted, image > 0.5)
    assert 0 < found.predicted.mean() < 1


def test_the_image_is_windowed(store: Store, case: Case, finetuning: FinetuneConfig) -> None:
    narrow = replace(finetuning, window=Window(low=-100, high=300))
    hu = store.read(case.case, WHOLE, (32, 29, 26))[0]
    np.testing.assert_allclose(read_image(store, case, narrow), np.clip((hu + 100) / 400, 0, 1), atol=1e-6)


def test_the_truth_is_of_the_structures_asked_for(
    store: Store, case: Case, finetuning: FinetuneConfig
) -> None:
    found = segment_case(above_half, store, case, finetuning, "cpu")
    stored = store.read_labels(case.case, "labels", WHOLE, (32, 29, 26))
    values = store.label_sets["labels"].structures
    assert np.array_equal(found.truth == 1, stored == values["liver"])
    assert np.array_equal(found.truth == 2, stored == values["lungs"])


def test_nothing_is_predicted_where_the_truth_is_unknown(
    store: Store, case: Case, finetuning: FinetuneConfig
) -> None:
    structures = dict(store.label_sets["labels"].structures)
    marked = replace(
        store, label_sets={"labels": LabelSet("labels", structures, ignore=structures.pop("bowel"))}
    )
    everywhere = segment_case(above_half, store, case, finetuning, "cpu").predicted
    found = segment_case(above_half, marked, case, finetuning, "cpu")
    unknown = found.truth == IGNORED
    assert everywhere[unknown].any()
    assert not found.predicted[unknown].any()
    assert np.array_equal(found.predicted[~unknown], everywhere[~unknown])


def test_the_mean_is_over_structures_and_then_over_the_cases_that_hold_them(
    case: Case, finetuning: FinetuneConfig
) -> None:
    found = [
        segmented(case, [1, 1, 0, 0], [1, 0, 0, 0]),  # structure 1: 2/3, structure 2: in neither
        segmented(case, [0, 2, 2, 2], [1, 2, 2, 0]),  # structure 1: 0, structure 2: 4/5
    ]
    assert mean_dice(found, finetuning) == pytest.approx((1 / 3 + 4 / 5) / 2)
    assert evaluate_all(found, finetuning, "val").dice == pytest.approx(mean_dice(found, finetuning))
    assert mean_dice([segmented(case, [0, 0], [0, 0])], finetuning) == 0
    assert mean_dice([], finetuning) == 0


def test_an_evaluation_names_structures_split_and_cases(case: Case, finetuning: FinetuneConfig) -> None:
    evaluation = evaluate_all([segmented(case, [0, 2, 2, 0], [1, 2, 2, 0])], finetuning, "val")
    assert evaluation.split == "val"
    assert [row.name for row in evaluation.structures] == ["liver", "lungs"]
    assert [row.dice for row in evaluation.structures] == [0.0, 1.0]
    assert [one.case for one in evaluation.cases] == ["phantom_0000"]


ORGANS = ("organs=liver+spleen", "liver")
"""Structures that overlap: values 1 and 2, 1 where there is spleen alone."""


def test_overlapping_structures_are_found_each_for_itself(
    store: Store, case: Case, finetuning: FinetuneConfig
) -> None:
    config = replace(finetuning, structures=ORGANS)

    def two(crops: Tensor) -> Tensor:
        return torch.cat([crops - 0.4, crops - 0.5], dim=1)

    found = segment_case(two, store, case, config, "cpu")
    image = read_image(store, case, config)
    assert np.array_equal(found.predicted, np.where(image > 0.5, 2, np.where(image > 0.4, 1, 0)))
    stored = store.read_labels(case.case, "labels", WHOLE, (32, 29, 26))
    liver, spleen = store.label_sets["labels"].values(("liver", "spleen"))
    assert np.array_equal(found.truth, np.where(stored == liver, 2, np.where(stored == spleen, 1, 0)))
    assert found.annotated == ("organs", "liver")
    masks = {name: (predicted, truth) for name, predicted, truth in found.structures(config)}
    assert np.array_equal(masks["organs"][0], image > 0.4)
    assert np.array_equal(masks["organs"][1], np.isin(stored, (liver, spleen)))
    assert np.array_equal(masks["liver"][1], stored == liver)


def test_overlapping_structures_are_scored_with_all_that_they_hold(
    case: Case, finetuning: FinetuneConfig
) -> None:
    config = replace(finetuning, structures=ORGANS)
    one = segmented(case, [2, 1, 1, 0], [2, 2, 0, 0], ("organs", "liver"))
    assert one.dices(config) == pytest.approx({"organs": 4 / 5, "liver": 2 / 3})
    evaluation = evaluate_all([one], config, "val")
    assert [row.dice for row in evaluation.structures] == pytest.approx([4 / 5, 2 / 3])
    assert evaluation.dice == pytest.approx(mean_dice([one], config))
    assert [score.name for score in evaluation.cases[0].scores] == ["organs", "liver"]


@pytest.mark.parametrize("structures", [("liver", "lungs"), ORGANS])
def test_structures_that_were_not_annotated_are_not_scored(
    case: Case, finetuning: FinetuneConfig, structures: tuple[str, ...]
) -> None:
    config = replace(finetuning, structures=structures)
    found = [segmented(case, [1, 2, 0, 0], [0, 2, 0, 0], (structures[1],))]
    assert mean_dice(found, config) == 1
    evaluation = evaluate_all(found, config, "val")
    assert [row.not_annotated for row in evaluation.structures] == [1, 0]
    assert [row.dice for row in evaluation.structures] == [None, 1.0]
