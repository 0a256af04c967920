"""Descriptions in JSON: nnU-Net, the Medical Decathlon, lists with folds."""

import json
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.datasets import Source, discover
from mim3d.data.labels import LabelSet
from mim3d.errors import DataError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def describe(folder: Path, **content: Any) -> None:
    (folder / "dataset.json").write_text(json.dumps(content))


def told(source: Source, folder: Path) -> tuple[str | None, str, str | None, str | None]:
    label = source.label.relative_to(folder).as_posix() if source.label else None
    return source.case, source.image.relative_to(folder).as_posix(), label, source.split


def test_nnunet_folders(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz")
    touch(tmp_path, "imagesTs/c_0000.nii.gz", "labelsTs/c.nii.gz", "imagesTr/._a_0000.nii.gz")
    labels = {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
    describe(tmp_path, channel_names={"0": "CT"}, labels=labels, file_ending=".nii.gz", numTraining=2)
    data = discover(tmp_path)
    assert [told(source, tmp_path) for source in data.sources] == [
        ("a", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", None),
        ("b", "imagesTr/b_0000.nii.gz", None, None),
        ("c", "imagesTs/c_0000.nii.gz", "labelsTs/c.nii.gz", "test"),
    ]
    assert data.label_sets == {"labels": LabelSet("labels", {"liver": 1, "spleen": 2}, ignore=3)}
    assert {source.labels for source in data.sources} == {"labels"}
    assert discover(tmp_path / "dataset.json") == data


def test_nnunet_of_another_file_ending(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.mha", "labelsTr/a.mha", "imagesTr/b_0000.nii.gz")
    describe(tmp_path, channel_names={"0": "CT"}, labels={"background": 0}, file_ending=".mha")
    data = discover(tmp_path)
    assert [told(source, tmp_path)[:3] for source in data.sources] == [
        ("a", "imagesTr/a_0000.mha", "labelsTr/a.mha")
    ]
    assert data.label_sets == {}


def test_decathlon_folders(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/liver_1.nii.gz", "labelsTr/liver_1.nii.gz", "imagesTs/liver_2.nii.gz")
    training = [{"image": "./imagesTr/liver_1.nii.gz", "label": "./labelsTr/liver_1.nii.gz"}]
    labels = {"0": "background", "1": "liver", "2": "cancer"}
    describe(
        tmp_path, modality={"0": "CT"}, labels=labels, training=training, test=["./imagesTs/liver_2.nii.gz"]
    )
    data = discover(tmp_path)
    assert [told(source, tmp_path) for source in data.sources] == [
        ("liver_1", "imagesTr/liver_1.nii.gz", "labelsTr/liver_1.nii.gz", None),
        ("liver_2", "imagesTs/liver_2.nii.gz", None, "test"),
    ]
    assert data.label_sets["labels"].structures == {"liver": 1, "cancer": 2}


def test_nnunet_1_lists_names_without_their_channel(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a.b_0000.nii.gz", "labelsTr/a.b.nii.gz")
    training = [{"image": "./imagesTr/a.b.nii.gz", "label": "./labelsTr/a.b.nii.gz"}]
    describe(tmp_path, modality={"0": "CT"}, labels={"0": "background"}, training=training, test=[])
    assert told(discover(tmp_path).sources[0], tmp_path)[:2] == ("a.b", "imagesTr/a.b_0000.nii.gz")


def listed(folder: Path, content: dict[str, Any], name: str = "dataset_0.json") -> Path:
    """A list under another name than dataset.json, as MONAI's and VoCo's are."""
    for part in ("training", "validation", "test"):
        for entry in content.get(part, []):
            touch(folder, *(entry[key] for key in ("image", "label") if key in entry))
    (folder / name).write_text(json.dumps(content))
    return folder / name


def pairs(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"image": f"imagesTr/img{n:04}.nii.gz", "label": f"labelsTr/label{n:04}.nii.gz", **more}
        for n in numbers
    ]


def test_a_list_of_training_and_validation_is_taken_as_given(tmp_path: Path) -> None:
    content = {
        "training": pairs(1, 2),
        "validation": pairs(35),
        "test": [{"image": "imagesTs/img0061.nii.gz"}],
    }
    path = listed(tmp_path, {**content, "labels": {"0": "background", "1": "spleen"}, "numTraining": 80})
    data = discover(path)
    assert [(source.case, source.split) for source in data.sources] == [
        ("img0001", "train"),
        ("img0002", "train"),
        ("img0035", "val"),
        ("img0061", "test"),
    ]
    assert data.sources[2].label == tmp_path / "labelsTr/label0035.nii.gz"
    assert data.label_sets["labels"].structures == {"spleen": 1}


@pytest.mark.parametrize(("asked", "held_out"), [("", "img0001"), (":0", "img0001"), (":2", "img0003")])
def test_a_fold_of_a_list_is_held_out(tmp_path: Path, asked: str, held_out: str) -> None:
    training = [entry for fold in range(3) for entry in pairs(fold + 1, fold=fold)]
    content = {"training": training, "labels": {"1": "lesion"}, "modality": "CT"}
    path = listed(tmp_path, content, "folds.json")
    splits = {source.case: source.split for source in discover(path.with_name(path.name + asked)).sources}
    assert [case for case, split in splits.items() if split == "val"] == [held_out]
    assert list(splits.values()).count("train") == 2
    folds = {source.case: source.fold for source in discover(path.with_name(path.name + asked)).sources}
    assert folds == {"img0001": 0, "img0002": 1, "img0003": 2}


def test_a_fold_that_is_not_in_the_list(tmp_path: Path) -> None:
    path = listed(tmp_path, {"training": pairs(1, fold=0)}, "folds.json")
    with pytest.raises(DataError, match=r"^folds\.json: fold 3 is asked, it has 0; ask for one that it has"):
        discover(path.with_name("folds.json:3"))
    touch(tmp_path / "loose", "a.nii")
    with pytest.raises(DataError, match=r"loose: fold 1 is asked, but without a dataset\.json there are no"):
        discover(tmp_path / "loose:1")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    path = listed(tmp_path, {"training": [{"image": "./s0001/ct.nii.gz"}, {"image": "./s0002/ct.nii.gz"}]})
    assert [source.case for source in discover(path).sources] == ["s0001_ct", "s0002_ct"]


@pytest.mark.parametrize(("asked", "held_out"), [("", "a"), (":1", "b")])
def test_folds_of_nnunet(tmp_path: Path, asked: str, held_out: str) -> None:
    folder = tmp_path / "Dataset001"
    touch(folder, "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "imagesTs/c_0000.nii.gz")
    describe(folder, channel_names={"0": "CT"}, labels={"background": 0, "liver": 1}, file_ending=".nii.gz")
    folds = [{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    splits = {source.case: source.split for source in discover(tmp_path / f"Dataset001{asked}").sources}
    assert splits == {"a": "train", "b": "train", "c": "test", held_out: "val"}
    known = {source.case: source.fold for source in discover(tmp_path / f"Dataset001{asked}").sources}
    assert known == {"a": 0, "b": 1, "c": None}
    folds[1]["val"].append("a")
    (folder / "splits_final.json").write_text(json.dumps(folds))  # no folds: a is held out twice
    again = discover(tmp_path / f"Dataset001{asked}").sources
    assert {source.fold for source in again} == {None}


def test_folds_of_nnunet_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz")
    describe(tmp_path, channel_names={"0": "CT"}, labels={"background": 0}, file_ending=".nii.gz")
    with pytest.raises(
        DataError, match=r"^dataset\.json: fold 0 is asked, splits_final\.json beside it has 0 f"
    ):
        discover(tmp_path.with_name(tmp_path.name + ":0"))
    (tmp_path / "splits_final.json").write_text('[{"train": ["a"]}]')
    with pytest.raises(DataError, match=r'^splits_final\.json: not a list of \{"train": \[names\], "val"'):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"channel_names": ["CT"]},
            r'channel_names \(or modality\) is \["CT"\]; \{"0": "CT", \.\.\.\} is needed',
        ),
        ({"channel_names": {"0": "CT"}}, "no scan is listed, and none lies in imagesTr or imagesTs"),
        (
            {"training": [{"image": "imagesTr/gone.nii.gz"}]},
            r"lists gone\.nii\.gz, but there is no such file",
        ),
        (
            {"training": ["a.nii"], "labels": {"whole": [1, 2]}},
            r"labels \{.*\} must give each name one value",
        ),
        ({"training": [{"label": "a.nii"}]}, r'lists \{"label": "a\.nii"\}; \{"image": "path", "label"'),
        (
            {"training": ["a.nii"], "validation": [{"image": "./a.nii"}]},
            r"lists a\.nii under training and validation; a scan is in one split: take it off one",
        ),
        (
            {"training": [{"image": "a.nii", "fold": "1"}]},
            r"lists \{.*\}; .* with a number `fold`: mend the list",
        ),
        ({"training": [3]}, r'lists 3; \{"image": "path", "label": "path"\} or a path is needed'),
    ],
)
def test_broken_descriptions(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    touch(tmp_path, "a.nii")
    describe(tmp_path, **content)
    with pytest.raises(DataError, match=rf"^dataset\.json: {message}"):
        discover(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "not readable as JSON"), ("[]", "holds a list")])
def test_descriptions_that_are_no_object(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=rf"^dataset\.json: {message}"):
        discover(tmp_path)
