import json
from pathlib import Path

import numpy as np
import pytest

from mim3d.data.pairs import find_pairs, predicted_structures, read_label_map, read_truth, sidecar, stem
from mim3d.data.volume import write_nifti
from mim3d.errors import DataError


def write(path: Path, value: float = 1) -> Path:
    write_nifti(path, np.full((2, 2, 2), value, np.float32 if value % 1 else np.int16), np.eye(4))
    return path


def test_names_of_files() -> None:
    assert [stem(Path(name)) for name in ("a.nii.gz", "a.nii", "a.b.mha")] == ["a", "a", "a.b"]
    assert sidecar(Path("x/a.nii.gz")) == Path("x/a.json")


def test_the_label_set_is_the_one_named(tmp_path: Path) -> None:
    labels = write(tmp_path / "a.nii")
    sets = {"organs": {"structures": {"liver": 1}}, "bones": {"structures": {"rib": 1}}}
    (tmp_path / "label_sets.json").write_text(json.dumps(sets))
    (pair,) = find_pairs(labels, labels, read_truth(tmp_path / "label_sets.json:bones"))
    assert pair.truth_values == {"rib": (1,)}
    assert pair.shared == ("rib",)
    message = (
        "label set of a.nii is not named, known are bones, organs; name one at the end, label_sets.json:SET"
    )
    with pytest.raises(DataError, match=message):
        find_pairs(labels, labels, read_truth(tmp_path / "label_sets.json"))


def test_a_listed_label_map_that_is_not_there_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.nii")
    (tmp_path / "label_sets.json").write_text('{"labels": {"structures": {"liver": 1}}}')
    (tmp_path / "cases.csv").write_text("image,label,annotated\na.nii,mistyped.nii,liver\n")
    for where in ("label_sets.json", "cases.csv", "."):
        with pytest.raises(DataError, match=r"mistyped\.nii is listed, and not there; mend its path in"):
            read_truth(tmp_path / where)


def test_a_dataset_json_names_values_too(tmp_path: Path) -> None:
    write(tmp_path / "imagesTr" / "a_0000.nii.gz")
    labels = write(tmp_path / "labelsTr" / "a.nii.gz")
    content = {"labels": {"background": 0, "liver": 1, "ignore": 2}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "CT"}}))
    for where in (tmp_path, tmp_path / "dataset.json"):
        (pair,) = find_pairs(labels, labels, read_truth(where))
        assert (pair.truth_values, pair.ignore, pair.annotated) == ({"liver": (1,)}, 2, None)


def test_a_dataset_json_names_values_without_scans_beside_it(tmp_path: Path) -> None:
    labels = write(tmp_path / "a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    for where in (tmp_path, tmp_path / "dataset.json"):
        (pair,) = find_pairs(labels, labels, read_truth(where))
        assert pair.truth_values == {"liver": (1,)}


def test_refuses_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"nowhere.json: not there; a label_sets.json, dataset.json or cases.csv"
    ):
        read_truth(tmp_path / "nowhere.json")


def test_refuses_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder; a label map or a folder of label"):
        find_pairs(tmp_path / "nowhere", tmp_path)


def test_refuses_a_file_against_a_folder(tmp_path: Path) -> None:
    labels = write(tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"a.nii is a file, .* a folder; two files or two folders"):
        find_pairs(tmp_path, labels)


def test_refuses_folders_without_a_common_name(tmp_path: Path) -> None:
    write(tmp_path / "ours" / "a.nii")
    write(tmp_path / "theirs" / "b.nii")
    with pytest.raises(
        DataError, match=r"ours \(1 label maps\) and .*theirs \(1\) have no file name in common"
    ):
        find_pairs(tmp_path / "ours", tmp_path / "theirs")


def test_refuses_a_name_that_comes_twice(tmp_path: Path) -> None:
    write(tmp_path / "ours" / "a.nii")
    write(tmp_path / "ours" / "a.nii.gz")
    with pytest.raises(DataError, match="ours: a comes twice; give each label map a name of its own"):
        find_pairs(tmp_path / "ours", tmp_path / "ours")


def test_a_structure_may_have_several_values(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"structures": {"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}}')
    found = predicted_structures(tmp_path / "a.nii.gz")
    assert found == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}


@pytest.mark.parametrize("said", ['["liver"]', '{"liver": []}', '{"liver": 0}', '{"liver": [1, 70000]}'])
def test_refuses_a_broken_sidecar(tmp_path: Path, said: str) -> None:
    (tmp_path / "a.json").write_text(f'{{"structures": {said}}}')
    with pytest.raises(
        DataError, match=r'a.json: must hold {"structures": {name: value, or list of values}}'
    ):
        predicted_structures(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("value", [1.5, -1])
def test_refuses_an_image(tmp_path: Path, value: float) -> None:
    with pytest.raises(DataError, match=rf"a.nii: values from {value} to {value}, not all of them 0, 1, 2"):
        read_label_map(write(tmp_path / "a.nii", value))


def test_refuses_names_for_some_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "ours" / f"{name}.nii")
        write(tmp_path / "theirs" / f"{name}.nii")
    sidecar(tmp_path / "ours" / "a.nii").write_text('{"structures": {"liver": 1}}')
    with pytest.raises(DataError, match=r"b\.nii: no b\.json beside it names its structures, as for others"):
        find_pairs(tmp_path / "ours", tmp_path / "theirs")
