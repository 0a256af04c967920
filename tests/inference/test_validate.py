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
from mim3d.sampling.crops import IGNORED, select_cases

WHOLE = Box((0, 0, 0), (32, 29, 26))


def above_half(crops: Tensor) -> Tensor:
    """Structure 1 where intensities exceed 0.5, structure 2 nowhere."""
    return torch.cat([torch.full_like(crops, 0.5), crops, torch.zeros_like(crops)], dim=1)


@pytest.fixture
def case(store: Store) -> Case:
    return select_cases(store, "val")[0]


def segmented(case: Case, predicted: list[int], truth: list[int]) -> Segmented:
    """Label maps of one row of voxels."""

    def row(values: list[int]) -> NDArray[np.uint8]:
        return np.array(values, dtype=np.uint8).reshape(-1, 1, 1)

    return Segmented(replace(case, shape=(len(truth), 1, 1)), row(predicted), row(truth))


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
