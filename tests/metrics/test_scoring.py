import math

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mim3d.errors import GeometryError
from mim3d.metrics.evaluation import CaseScore, StructureScore
from mim3d.metrics.lesions import Lesions
from mim3d.metrics.overlap import dice
from mim3d.metrics.rules import Rules
from mim3d.metrics.scoring import evaluate_case, without_ignored
from mim3d.metrics.surface import hd95, nsd, surface_distances

Maps = tuple[NDArray[np.uint8], NDArray[np.uint8]]
SPACING = (1.0, 1.0, 2.5)
STRUCTURES = {"liver": 1, "spleen": 2, "kidney": 3, "aorta": 7, "colon": 9}


def scores(case: CaseScore) -> dict[str, StructureScore]:
    return {score.name: score for score in case.scores}


def test_a_structure_in_both_is_scored_as_without_the_crop(label_maps: Maps) -> None:
    predicted, truth = label_maps
    liver = scores(evaluate_case(predicted, truth, SPACING, STRUCTURES))["liver"]
    distances = surface_distances(predicted == 1, truth == 1, SPACING)
    assert liver.outcome == "both"
    assert liver.dice == dice(predicted == 1, truth == 1)
    assert liver.hd95_mm == hd95(distances)
    assert liver.nsd == nsd(distances, 2.5)
    assert liver.truth_ml == pytest.approx(4 * 5 * 6 * 2.5 / 1000)
    assert liver.predicted_ml == pytest.approx(125 * 2.5 / 1000)


def test_truth_only_costs_everything(label_maps: Maps) -> None:
    spleen = scores(evaluate_case(*label_maps, SPACING, STRUCTURES))["spleen"]
    assert (spleen.outcome, spleen.dice, spleen.nsd) == ("truth only", 0.0, 0.0)
    assert spleen.hd95_mm == pytest.approx(math.sqrt(12**2 + 12**2 + 30**2))


def test_prediction_only_is_dice_0_and_a_false_positive_volume(label_maps: Maps) -> None:
    kidney = scores(evaluate_case(*label_maps, SPACING, STRUCTURES))["kidney"]
    assert (kidney.outcome, kidney.dice, kidney.nsd, kidney.hd95_mm) == ("prediction only", 0.0, None, None)
    assert kidney.predicted_ml == pytest.approx(8 * 2.5 / 1000)


def test_absent_in_both_has_no_score(label_maps: Maps) -> None:
    aorta = scores(evaluate_case(*label_maps, SPACING, STRUCTURES))["aorta"]
    assert (aorta.outcome, aorta.dice, aorta.nsd, aorta.hd95_mm) == ("neither", None, None, None)


def test_what_is_not_annotated_is_not_scored(label_maps: Maps) -> None:
    case = evaluate_case(*label_maps, SPACING, {"liver": 1})
    assert [score.name for score in case.scores] == ["liver"]


def test_the_tolerance_is_per_structure_and_not_below_the_spacing(label_maps: Maps) -> None:
    rows = scores(
        evaluate_case(*label_maps, SPACING, STRUCTURES, Rules(tolerances={"liver": 4.0, "spleen": 1.0}))
    )
    assert [rows[name].tolerance_mm for name in ("liver", "spleen", "kidney")] == [4.0, 2.5, 2.5]
    rows = scores(evaluate_case(*label_maps, (1.0, 1.0, 1.0), STRUCTURES))
    assert rows["kidney"].tolerance_mm == 2.0


def test_each_side_may_have_values_of_its_own(label_maps: Maps) -> None:
    predicted, truth = label_maps
    other = np.zeros(truth.shape, np.int32)
    other[truth == 1], other[truth == 2] = 500, 7
    structures = {"liver": 1, "spleen": 2}
    found = evaluate_case(predicted, other, SPACING, structures, in_truth={"liver": 500, "spleen": 7})
    assert found == evaluate_case(predicted, truth, SPACING, structures)


def test_a_structure_may_be_several_values(label_maps: Maps) -> None:
    predicted, truth = label_maps
    both = scores(
        evaluate_case(predicted, truth, SPACING, {"organs": (1, 2, 3), "liver": (1,), "bone": (8, 9)})
    )
    alone = scores(evaluate_case(predicted, truth, SPACING, {"liver": 1}))
    joined = evaluate_case((predicted > 0).view(np.uint8), (truth > 0).view(np.uint8), SPACING, {"organs": 1})
    assert both["liver"] == alone["liver"]
    assert both["organs"] == joined.scores[0]
    assert both["bone"].outcome == "neither"


def test_lesions_are_counted_where_asked_for(label_maps: Maps) -> None:
    rows = scores(
        evaluate_case(*label_maps, SPACING, STRUCTURES, Rules(lesions=("liver", "kidney", "colon")))
    )
    assert rows["liver"].lesions == Lesions(truth=1, found=1, false_positives=0)
    assert rows["kidney"].lesions == Lesions(truth=0, found=0, false_positives=1)
    assert rows["colon"].lesions == Lesions(truth=0, found=0, false_positives=0)
    assert rows["spleen"].lesions is None


def test_ignored_voxels_do_not_count(label_maps: Maps) -> None:
    predicted, truth = label_maps
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


def smooth_labels(seed: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Random label map of four values: as smooth shapes, or as noise."""
    random = np.random.default_rng(seed)
    scores = gaussian_filter(random.random((4, *shape)), (0, *[random.choice([0.0, 1.0, 2.0])] * 3))
    labels: NDArray[np.uint8] = scores.argmax(axis=0).astype(np.uint8)
    return labels


# The reference calls scipy by names that are on their way out.
@pytest.mark.filterwarnings("ignore:Please import .* from the .scipy.ndimage. namespace:DeprecationWarning")
@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*[st.integers(2, 14)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 1.25, 3.0, 5.0, 10.0])] * 3),
    tolerance=st.floats(0.0, 12.0),
)
def test_label_maps_score_as_the_independent_implementation_has_it(
    seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float], tolerance: float
) -> None:
    predicted, truth = smooth_labels(seed, shape), smooth_labels(seed + 1, shape)
    rows = scores(evaluate_case(predicted, truth, spacing, {"1": 1, "2": 2}, Rules(tolerance=tolerance)))
    for value in (1, 2):
        row, ours, theirs = rows[str(value)], predicted == value, truth == value
        if row.outcome != "both":
            assert (
                ours.any() + 2 * theirs.any()
                == {"neither": 0, "prediction only": 1, "truth only": 2}[row.outcome]
            )
            continue
        reference = surface_distance.compute_surface_distances(theirs, ours, spacing)
        assert row.dice == pytest.approx(surface_distance.compute_dice_coefficient(theirs, ours), rel=1e-12)
        farthest = surface_distance.compute_robust_hausdorff(reference, 95)
        assert row.hd95_mm == pytest.approx(farthest, rel=1e-12)
        within = max(tolerance, *spacing)
        close = surface_distance.compute_surface_dice_at_tolerance(reference, within)
        assert row.nsd == pytest.approx(close, abs=1e-12)
