import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.errors import GeometryError
from mim3d.metrics.evaluation import (
    CaseScore,
    Evaluation,
    StructureScore,
    evaluate_case,
    summarise,
    without_ignored,
)
from mim3d.metrics.overlap import dice
from mim3d.metrics.surface import hd95, nsd, surface_distances

SPACING = (1.0, 1.0, 2.5)
STRUCTURES = {"liver": 1, "spleen": 2, "kidney": 3, "aorta": 7, "colon": 9}


def label_maps() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Liver in both, spleen in the truth only, kidney in the prediction only, aorta and colon in neither."""
    predicted, truth = np.zeros((12, 12, 12), np.uint8), np.zeros((12, 12, 12), np.uint8)
    predicted[1:6, 1:6, 1:6], truth[2:6, 1:6, 1:7] = 1, 1
    truth[8:10, 8:10, 8:10] = 2
    predicted[8:10, 1:3, 8:10] = 3
    return predicted, truth


def scores(case: CaseScore) -> dict[str, StructureScore]:
    return {score.name: score for score in case.scores}


def evaluated() -> Evaluation:
    predicted, truth = label_maps()
    cases = [
        evaluate_case(predicted, truth, SPACING, STRUCTURES, case="a", annotated=set(STRUCTURES) - {"colon"}),
        evaluate_case(truth, truth, SPACING, STRUCTURES, case="b"),
    ]
    return summarise(cases, STRUCTURES, split="val")


def test_a_structure_in_both_is_scored_as_without_the_crop() -> None:
    predicted, truth = label_maps()
    liver = scores(evaluate_case(predicted, truth, SPACING, STRUCTURES))["liver"]
    distances = surface_distances(predicted == 1, truth == 1, SPACING)
    assert liver.outcome == "both"
    assert liver.dice == dice(predicted == 1, truth == 1)
    assert liver.hd95_mm == hd95(distances)
    assert liver.nsd == nsd(distances, 2.5)
    assert liver.truth_ml == pytest.approx(4 * 5 * 6 * 2.5 / 1000)
    assert liver.predicted_ml == pytest.approx(125 * 2.5 / 1000)


def test_truth_only_costs_everything() -> None:
    spleen = scores(evaluate_case(*label_maps(), SPACING, STRUCTURES))["spleen"]
    assert (spleen.outcome, spleen.dice, spleen.nsd) == ("truth only", 0.0, 0.0)
    assert spleen.hd95_mm == pytest.approx(math.sqrt(12**2 + 12**2 + 30**2))


def test_prediction_only_is_dice_0_and_a_false_positive_volume() -> None:
    kidney = scores(evaluate_case(*label_maps(), SPACING, STRUCTURES))["kidney"]
    assert (kidney.outcome, kidney.dice, kidney.nsd, kidney.hd95_mm) == ("prediction only", 0.0, None, None)
    assert kidney.predicted_ml == pytest.approx(8 * 2.5 / 1000)


def test_absent_in_both_has_no_score() -> None:
    aorta = scores(evaluate_case(*label_maps(), SPACING, STRUCTURES))["aorta"]
    assert (aorta.outcome, aorta.dice, aorta.nsd, aorta.hd95_mm) == ("neither", None, None, None)


def test_what_is_not_annotated_is_not_scored() -> None:
    case = evaluate_case(*label_maps(), SPACING, STRUCTURES, annotated=("liver", "somewhere else"))
    assert [score.name for score in case.scores] == ["liver"]


def test_the_tolerance_is_per_structure_and_not_below_the_spacing() -> None:
    rows = scores(evaluate_case(*label_maps(), SPACING, STRUCTURES, {"liver": 4.0, "spleen": 1.0}))
    assert [rows[name].tolerance_mm for name in ("liver", "spleen", "kidney")] == [4.0, 2.5, 2.5]
    rows = scores(evaluate_case(*label_maps(), (1.0, 1.0, 1.0), STRUCTURES))
    assert rows["kidney"].tolerance_mm == 2.0


def test_means_rest_on_the_cases_that_count() -> None:
    summary = {row.name: row for row in evaluated().structures}
    first, second = (scores(case) for case in evaluated().cases)
    assert first["liver"].dice is not None
    assert summary["liver"].dice == pytest.approx((first["liver"].dice + 1) / 2)
    assert (summary["spleen"].dice, summary["spleen"].missed, summary["spleen"].cases) == (0.5, 1, 2)
    assert summary["spleen"].hd95_mm == pytest.approx((math.sqrt(12**2 + 12**2 + 30**2)) / 2)
    kidney = summary["kidney"]
    assert (kidney.dice, kidney.hd95_mm, kidney.cases, kidney.truth_cases) == (0.0, None, 1, 0)
    assert (kidney.invented, kidney.absent) == (1, 1)
    assert kidney.false_positive_ml == pytest.approx(0.02)
    assert (summary["aorta"].dice, summary["aorta"].cases, summary["aorta"].absent) == (None, 0, 2)
    assert (summary["colon"].absent, summary["colon"].not_annotated) == (1, 1)
    assert second["liver"].volume_difference_ml == 0


def test_the_mean_dice_leaves_out_what_is_absent_everywhere() -> None:
    evaluation = evaluated()
    liver = evaluation.structures[0].dice
    assert liver is not None
    assert evaluation.dice == pytest.approx((liver + 0.5 + 0.0) / 3)
    assert summarise([], STRUCTURES).dice is None


def test_json_holds_plain_values() -> None:
    text = json.dumps(evaluated().to_json(), allow_nan=False)
    loaded = json.loads(text)
    assert loaded["split"] == "val"
    assert [row["name"] for row in loaded["structures"]] == list(STRUCTURES)
    assert loaded["cases"][1]["scores"][0]["dice"] == 1.0


def test_ignored_voxels_do_not_count() -> None:
    predicted, truth = label_maps()
    truth[8:10, 1:3, 8:10] = 255
    cleaned = without_ignored(predicted, truth, 255)
    assert cleaned.dtype == predicted.dtype
    assert scores(evaluate_case(cleaned, truth, SPACING, STRUCTURES))["kidney"].outcome == "neither"


def test_refuses_two_grids() -> None:
    message = (
        r"case a: predicted \(2, 2, 2\) and truth \(2, 2, 3\) voxels must be the same; evaluate on the grid"
    )
    with pytest.raises(GeometryError, match=message):
        evaluate_case(np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), SPACING, STRUCTURES, case="a")
