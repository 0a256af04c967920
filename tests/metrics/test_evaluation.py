import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.errors import ConfigError
from mim3d.metrics.evaluation import CaseScore, Evaluation, StructureScore, summarise
from mim3d.metrics.lesions import Lesions
from mim3d.metrics.rules import Rules
from mim3d.metrics.scoring import evaluate_case

Maps = tuple[NDArray[np.uint8], NDArray[np.uint8]]
SPACING = (1.0, 1.0, 2.5)
STRUCTURES = {"liver": 1, "spleen": 2, "kidney": 3, "aorta": 7, "colon": 9}


def scores(case: CaseScore) -> dict[str, StructureScore]:
    return {score.name: score for score in case.scores}


@pytest.fixture
def evaluation(label_maps: Maps) -> Evaluation:
    """Case a, in which the colon was not annotated, and b, which is right in everything."""
    predicted, truth = label_maps
    rules, without_colon = Rules(lesions=("kidney",)), {n: v for n, v in STRUCTURES.items() if n != "colon"}
    cases = [
        evaluate_case(predicted, truth, SPACING, without_colon, rules, case="a"),
        evaluate_case(truth, truth, SPACING, STRUCTURES, rules, case="b"),
    ]
    return summarise(cases, STRUCTURES, split="val", grid="own", labels={"liver": "values 1"})


def test_means_rest_on_the_cases_that_count(evaluation: Evaluation) -> None:
    summary = {row.name: row for row in evaluation.structures}
    first, second = (scores(case) for case in evaluation.cases)
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


def test_the_mean_dice_leaves_out_what_is_absent_everywhere(evaluation: Evaluation) -> None:
    liver = evaluation.structures[0].dice
    assert liver is not None
    assert evaluation.dice == pytest.approx((liver + 0.5 + 0.0) / 3)
    assert summarise([], STRUCTURES).dice is None


def test_json_holds_plain_values(evaluation: Evaluation) -> None:
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    loaded = json.loads(text)
    assert loaded["split"] == "val"
    assert [row["name"] for row in loaded["structures"]] == list(STRUCTURES)
    assert loaded["cases"][1]["scores"][0]["dice"] == 1.0
    assert Evaluation.from_json({**loaded, "step": 100}, "validation.json") == evaluation


def test_json_of_another_form_is_refused(evaluation: Evaluation) -> None:
    with pytest.raises(ConfigError, match=r"validation\.json lacks cases, split; add it"):
        Evaluation.from_json({"structures": []}, "validation.json")
    broken = evaluation.to_json() | {"cases": [{"case": 3, "scores": []}]}
    with pytest.raises(ConfigError, match=r"validation\.json: cases: case must be of type str, got 3"):
        Evaluation.from_json(json.loads(json.dumps(broken)), "validation.json")


def test_lesions_are_summed_over_the_cases_in_which_they_were_annotated() -> None:
    counts = [Lesions(truth=3, found=1, false_positives=2), Lesions(truth=1, found=1, false_positives=0)]
    row = StructureScore(
        name="tumour",
        outcome="both",
        dice=0.5,
        hd95_mm=1.0,
        nsd=0.5,
        tolerance_mm=2.0,
        truth_ml=1.0,
        predicted_ml=1.0,
    )
    cases = [CaseScore(case=str(n), scores=(replace(row, lesions=one),)) for n, one in enumerate(counts)]
    found = summarise([*cases, CaseScore(case="2", scores=())], ["tumour"]).structures[0].lesions
    assert found is not None
    assert (found.truth, found.found, found.false_positives, found.cases) == (4, 2, 2, 2)
    assert (found.sensitivity, found.false_positives_per_case) == (0.5, 1.0)


def test_lesions_that_nobody_has_have_no_sensitivity(evaluation: Evaluation) -> None:
    summary = {row.name: row.lesions for row in evaluation.structures}
    assert summary["kidney"] is not None
    assert summary["kidney"].sensitivity is None
    assert summary["kidney"].false_positives_per_case == 0.5
    assert summary["liver"] is None


def test_several_seeds_do_not_make_more_cases(evaluation: Evaluation) -> None:
    rows = [replace(case, seed=seed) for seed in (0, 1) for case in evaluation.cases]
    pooled = {row.name: row for row in summarise(rows, STRUCTURES).structures}
    once = {row.name: row for row in evaluation.structures}
    assert pooled["liver"].dice == once["liver"].dice
    assert [pooled["liver"].cases, pooled["liver"].truth_cases] == [2, 2]
    assert (pooled["spleen"].missed, pooled["kidney"].invented, pooled["colon"].not_annotated) == (2, 2, 2)


def test_a_case_stands_for_its_patient_where_that_is_not_known() -> None:
    assert CaseScore(case="a", scores=()).unit == "a"
    assert CaseScore(case="a", scores=(), patient="p").unit == "p"
