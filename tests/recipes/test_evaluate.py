import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mim3d.data.volume import write_nifti
from mim3d.errors import ConfigError, DataError, GeometryError
from mim3d.metrics.evaluation import Evaluation, StructureSummary
from mim3d.recipes.evaluate import evaluate

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
PREDICTED = {"liver": 1, "aorta": 2}
"""What a prediction's values mean."""
TRUE = {"liver": 5, "aorta": 52, "rib": 90}
"""What the truth's values mean."""


def label_map(values: dict[str, int]) -> NDArray[np.int16]:
    labels = np.zeros((8, 9, 10), np.int16)
    labels[1:4, 1:4, 1:4] = values["liver"]
    labels[5:7, 5:7, 5:9] = values["aorta"]
    return labels


def write(path: Path, labels: NDArray[Any], names: dict[str, Any] | None = None) -> Path:
    write_nifti(path, labels, AFFINE)
    if names is not None:
        sidecar = path.with_name(path.name.split(".")[0] + ".json")
        sidecar.write_text(json.dumps({"structures": names}))
    return path


def write_sets(path: Path, **sets: dict[str, Any]) -> Path:
    path.write_text(json.dumps(sets))
    return path


def rows(evaluation: Evaluation) -> dict[str, StructureSummary]:
    return {row.name: row for row in evaluation.structures}


def test_the_truth_may_have_other_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predicted = write(tmp_path / "predicted.nii.gz", label_map(PREDICTED), PREDICTED)
    true = label_map(TRUE)
    true[0, 0, 0] = TRUE["rib"]
    true[7, 7, 7] = 1  # the prediction's value of liver: means nothing here
    truth = write(tmp_path / "truth.nii.gz", true)
    sets = write_sets(tmp_path / "label_sets.json", organs={"structures": TRUE})
    evaluation = evaluate(predicted, truth, truth_labels=sets)
    assert {name: row.dice for name, row in rows(evaluation).items()} == {"liver": 1.0, "aorta": 1.0}
    assert [case.case for case in evaluation.cases] == ["truth"]
    shown = capsys.readouterr().out
    assert "liver" in shown
    assert "1.000" in shown


def test_without_names_of_the_truth_values_are_equal(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii.gz", label_map(PREDICTED), PREDICTED)
    other = label_map(PREDICTED)
    other[1:4, 1:4, 1:4] = 0
    found = rows(evaluate(predicted, write(tmp_path / "truth.nii.gz", other)))
    assert (found["liver"].dice, found["liver"].invented) == (0.0, 1)
    assert found["aorta"].dice == 1.0


def test_a_truth_with_values_of_its_own_needs_names(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii.gz", label_map(PREDICTED), PREDICTED)
    truth = write(tmp_path / "truth.nii.gz", label_map(TRUE))
    with pytest.raises(DataError, match=r"truth.nii.gz: holds values 5, 52 that .*--truth-labels"):
        evaluate(predicted, truth)


def test_without_any_names_values_are_names(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map({"liver": 1, "aorta": 3}))
    truth = write(tmp_path / "truth.nii", label_map({"liver": 1, "aorta": 2}))
    found = rows(evaluate(predicted, truth))
    assert {name: row.dice for name, row in found.items()} == {"1": 1.0, "2": 0.0, "3": 0.0}


def test_no_difference_has_no_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = label_map(PREDICTED)
    fewer = labels.copy()
    fewer[np.nonzero(fewer)[0][0], np.nonzero(fewer)[1][0], np.nonzero(fewer)[2][0]] = 0  # a voxel: 0.001 ml
    evaluate(write(tmp_path / "predicted.nii", fewer, PREDICTED), write(tmp_path / "truth.nii", labels))
    assert "-0.0" not in capsys.readouterr().out


def test_stored_in_another_axis_order_is_the_same_grid(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    flipped = AFFINE.copy()
    flipped[0, 0], flipped[0, 3] = -1.0, 7.0
    write_nifti(tmp_path / "truth.nii", label_map(PREDICTED)[::-1], flipped)
    assert evaluate(predicted, tmp_path / "truth.nii").dice == 1.0


def test_folders_are_matched_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case in ("a", "b", "only_predicted"):
        write(tmp_path / "predicted" / f"{case}.nii.gz", label_map(PREDICTED), PREDICTED)
    for case in ("a", "b", "only_true"):
        write(tmp_path / "truth" / f"{case}.nii.gz", label_map(PREDICTED))
    evaluation = evaluate(tmp_path / "predicted", tmp_path / "truth")
    assert [case.case for case in evaluation.cases] == ["a", "b"]
    assert rows(evaluation)["liver"].cases == 2
    said = capsys.readouterr().err
    assert "predicted: 1 label maps have no partner of the same name and are left out" in said
    assert "truth: 1 label maps have no partner" in said


def test_says_what_the_truth_does_not_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    sets = write_sets(tmp_path / "label_sets.json", organs={"structures": {"liver": 1}})
    assert list(rows(evaluate(predicted, predicted, truth_labels=sets))) == ["liver"]
    assert "not named by the truth, so not scored: aorta" in capsys.readouterr().err


def test_what_was_not_annotated_is_not_scored(tmp_path: Path) -> None:
    predicted, truth = tmp_path / "predicted", tmp_path / "raw" / "labels"
    lines = ["case,image,label,labels,annotated,split"]
    for case, annotated in (("a", "liver"), ("b", "liver;aorta")):
        write(predicted / f"{case}.nii.gz", label_map(PREDICTED), PREDICTED)
        write(truth / f"{case}.nii.gz", label_map(TRUE))
        lines.append(f"{case},labels/{case}.nii.gz,labels/{case}.nii.gz,organs,{annotated},test")
    (tmp_path / "raw" / "cases.csv").write_text("\n".join(lines))
    sets = write_sets(
        tmp_path / "raw" / "label_sets.json", organs={"structures": TRUE}, other={"structures": {"x": 1}}
    )
    for where in (sets, tmp_path / "raw" / "cases.csv", tmp_path / "raw"):
        evaluation = evaluate(predicted, truth, truth_labels=where)
        found = rows(evaluation)
        assert evaluation.split == "test"
        assert (found["liver"].cases, found["liver"].not_annotated) == (2, 0)
        assert (found["aorta"].cases, found["aorta"].not_annotated) == (1, 1)


def test_ignored_voxels_are_not_scored(tmp_path: Path) -> None:
    more, unclear = label_map(PREDICTED), label_map(PREDICTED)
    more[4, 1:4, 1:4], unclear[4, 1:4, 1:4] = 1, 255
    predicted = write(tmp_path / "predicted.nii", more, PREDICTED)
    truth = write(tmp_path / "truth.nii", unclear)
    sets = write_sets(tmp_path / "label_sets.json", organs={"structures": PREDICTED, "ignore": 255})
    assert rows(evaluate(predicted, truth, truth_labels=sets))["liver"].dice == 1.0


def test_structures_can_be_chosen(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    truth = write(tmp_path / "truth.nii", label_map(PREDICTED))
    assert list(rows(evaluate(predicted, truth, structures="aorta"))) == ["aorta"]
    message = "structures: spleen; prediction and truth both name: liver, aorta"
    with pytest.raises(DataError, match=message):
        evaluate(predicted, truth, structures="aorta, spleen")


def test_writes_json_that_the_report_reads(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    out = tmp_path / "run" / "evaluation.json"
    evaluation = evaluate(predicted, predicted, out=out, tolerance=3.0)
    content = json.loads(out.read_text())
    assert content == json.loads(json.dumps(evaluation.to_json()))
    assert content["structures"][0]["tolerance_mm"] == 3.0
    assert [path.name for path in out.parent.iterdir()] == ["evaluation.json"]


def test_refuses_another_shape(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    truth = write(tmp_path / "truth.nii", label_map(PREDICTED)[:, :, 1:])
    message = (
        r"predicted.nii has \(8, 9, 10\) voxels, truth.nii \(8, 9, 9\); both must lie on one grid: resample"
    )
    with pytest.raises(GeometryError, match=message):
        evaluate(predicted, truth)


def test_refuses_another_place(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    moved = AFFINE.copy()
    moved[2, 3] = 1.0
    write_nifti(tmp_path / "truth.nii", label_map(PREDICTED), moved)
    with pytest.raises(
        GeometryError, match=r"predicted.nii lies up to 1.00 mm off truth.nii; both must lie on"
    ):
        evaluate(predicted, tmp_path / "truth.nii")


def test_refuses_a_negative_tolerance(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tolerance must be 0 mm or more, and finite, got -1"):
        evaluate(tmp_path, tmp_path, tolerance="-1")


def test_refuses_sides_that_share_no_name(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    sets = write_sets(tmp_path / "label_sets.json", bones={"structures": {"rib": 1}})
    message = "no structure is named by both sides: the prediction names liver, aorta; the truth names rib"
    with pytest.raises(DataError, match=message):
        evaluate(predicted, predicted, truth_labels=sets)


def test_structures_that_others_are_painted_over(tmp_path: Path) -> None:
    """`both` covers the aorta, which is painted over it; in the truth it has values of its own."""
    painted = write(tmp_path / "predicted.nii", label_map(PREDICTED), {"both": [1, 2], "aorta": 2})
    evaluation = evaluate(painted, write(tmp_path / "same.nii", label_map(PREDICTED)))
    assert {name: row.dice for name, row in rows(evaluation).items()} == {"both": 1.0, "aorta": 1.0}
    assert evaluation.labels == {"both": "values 1, 2", "aorta": "values 2"}
    less = label_map(PREDICTED)
    less[1:4, 1:4, 1:4] = 0
    found = rows(evaluate(painted, write(tmp_path / "less.nii", less)))
    assert (found["both"].dice, found["aorta"].dice) == (2 * 16 / (43 + 16), 1.0)


def test_a_name_that_means_more_in_the_prediction_must_be_told(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), {"liver": [1, 2], "aorta": 2})
    sets = write_sets(tmp_path / "label_sets.json", organs={"structures": PREDICTED})
    message = r"predicted.nii: liver is made of values 1, 2, but of 1 alone in the truth; say what it is made"
    with pytest.raises(DataError, match=message):
        evaluate(predicted, predicted, truth_labels=sets)
    with pytest.raises(DataError, match=message):
        evaluate(predicted, predicted, truth_labels=sets, structures="liver")
    assert list(rows(evaluate(predicted, predicted, truth_labels=sets, structures="aorta"))) == ["aorta"]
    evaluation = evaluate(predicted, predicted, truth_labels=sets, structures="liver=liver+aorta,aorta")
    assert {name: row.dice for name, row in rows(evaluation).items()} == {"liver": 1.0, "aorta": 1.0}
    assert evaluation.labels["liver"] == "values 1, 2"


def test_a_union_may_be_of_what_both_sides_name(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    truth = write(tmp_path / "truth.nii", label_map(TRUE))
    sets = write_sets(tmp_path / "label_sets.json", organs={"structures": TRUE})
    found = evaluate(predicted, truth, truth_labels=sets, structures="both=liver+aorta")
    assert {name: row.dice for name, row in rows(found).items()} == {"both": 1.0}
    assert found.labels == {"both": "values 5, 52"}
    with pytest.raises(DataError, match="structures: all; prediction and truth both name: liver, aorta"):
        evaluate(predicted, truth, truth_labels=sets, structures="all=liver+rib")


def test_a_union_is_annotated_where_all_of_its_parts_are(tmp_path: Path) -> None:
    lines = ["case,image,label,labels,annotated"]
    for case, annotated in (("a", "liver"), ("b", "liver;aorta")):
        write(tmp_path / "predicted" / f"{case}.nii", label_map(PREDICTED), PREDICTED)
        write(tmp_path / "truth" / f"{case}.nii", label_map(PREDICTED))
        lines.append(f"{case},{case}.nii,{case}.nii,organs,{annotated}")
    listing = tmp_path / "truth" / "cases.csv"
    listing.write_text("\n".join(lines))
    write_sets(tmp_path / "truth" / "label_sets.json", organs={"structures": PREDICTED})
    found = evaluate(
        tmp_path / "predicted", listing.parent, truth_labels=listing, structures="both=liver+aorta"
    )
    assert (rows(found)["both"].cases, rows(found)["both"].not_annotated) == (1, 1)


def test_lesions_are_counted_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, more = label_map(PREDICTED), label_map(PREDICTED)
    truth[7, 7, 0], more[7, 0, 0] = 1, 1  # 2 mm^3 each, far from the rest
    predicted = write(tmp_path / "predicted.nii", more, PREDICTED)
    write(tmp_path / "truth.nii", truth)
    found = rows(evaluate(predicted, tmp_path / "truth.nii", lesions="liver"))["liver"].lesions
    assert found is not None
    assert (found.truth, found.found, found.false_positives) == (2, 1, 1)
    shown = capsys.readouterr().out
    assert "1 of 2" in shown
    assert "1.00" in shown
    larger = rows(evaluate(predicted, tmp_path / "truth.nii", lesions="liver", smallest_lesion=3))
    assert larger["liver"].lesions is not None
    assert larger["liver"].lesions.sensitivity == 1.0
    with pytest.raises(ConfigError, match="lesions: no structure tumour is scored; there are liver, aorta"):
        evaluate(predicted, tmp_path / "truth.nii", lesions="tumour")


def test_a_tolerance_may_be_of_one_structure(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    found = rows(evaluate(predicted, predicted, tolerance="2.5,liver=4"))
    assert (found["liver"].tolerance_mm, found["aorta"].tolerance_mm) == (4.0, 2.5)


def test_says_what_was_compared(tmp_path: Path) -> None:
    predicted = write(tmp_path / "predicted.nii", label_map(PREDICTED), PREDICTED)
    other = label_map(PREDICTED)
    other[0, 0, 0] = 1
    evaluation = evaluate(predicted, predicted)
    assert evaluation.grid == "own"
    again, another = (
        evaluate(predicted, write(tmp_path / name, labels)).cases[0].truth
        for name, labels in (("same.nii.gz", label_map(PREDICTED)), ("other.nii", other))
    )
    assert evaluation.cases[0].truth == again != another
