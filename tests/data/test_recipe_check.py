"""What a folder gives for a recipe: cases, labels, splits; and what is said where it is not whole."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.recipe import Recipe, load_recipe
from mim3d.data.recipe_check import named_recipe, read_recipe
from mim3d.data.sources import Source
from mim3d.errors import ConfigError, DataError


def told(sources: tuple[Source, ...], folder: Path) -> dict[str, tuple[str, str | None]]:
    return {
        str(source.case): (
            source.image.relative_to(folder).as_posix(),
            source.label.relative_to(folder).as_posix() if source.label else None,
        )
        for source in sources
    }


def splits_of(sources: tuple[Source, ...]) -> Counter[tuple[str | None, bool]]:
    return Counter((source.split, source.label is not None) for source in sources)


def test_btcv(archive: Callable[[str], Path]) -> None:
    raw = archive("btcv")
    data, differing = read_recipe(load_recipe("btcv"), raw)
    assert differing == ("Training/img/img{case}.nii.gz: 18 scans, 30 expected",)
    assert told(data.sources, raw)["btcv_img0021"] == (
        "RawData/Training/img/img0021.nii.gz",
        "RawData/Training/label/label0021.nii.gz",
    )
    assert data.label_sets["btcv"].structures["left_adrenal_gland"] == 13
    assert splits_of(data.sources) == {("train", True): 9, ("val", True): 3, ("test", True): 6}
    few, _ = read_recipe(load_recipe("btcv"), raw, "few-3")
    assert splits_of(few.sources) == {
        ("train", True): 3,
        ("train", False): 6,
        ("val", True): 3,
        ("test", True): 6,
    }
    assert {source.case for source in data.sources if source.split == "test"} == {
        f"btcv_img{n:04}" for n in range(35, 41)
    }


def test_btcv_as_lists_want_it(tmp_path: Path) -> None:
    for n in (*range(1, 6), 35):
        for file in (f"imagesTr/img{n:04}.nii.gz", f"labelsTr/label{n:04}.nii.gz"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("x")
    data, _ = read_recipe(load_recipe("btcv"), tmp_path)
    assert splits_of(data.sources) == {("train", True): 4, ("val", True): 1, ("test", True): 1}


def test_amos_without_mr_and_with_its_validation_set_as_the_test(archive: Callable[[str], Path]) -> None:
    data, _ = read_recipe(load_recipe("amos22"), archive("amos22"))
    assert splits_of(data.sources) == {("train", True): 4, ("val", True): 2, ("test", True): 1}
    assert [source.case for source in data.sources if source.split == "test"] == ["amos22_amos_0008"]
    numbers = [int(str(source.case)[-4:]) for source in data.sources]
    assert sorted(numbers) == [1, 4, 5, 6, 8, 9, 410]


def test_covid_scans_of_one_patient_stay_together(archive: Callable[[str], Path]) -> None:
    recipe, raw = load_recipe("covid-19-20"), archive("covid-19-20")
    data, _ = read_recipe(recipe, raw)
    twice = [source for source in data.sources if "0053" in str(source.case)]
    assert [source.patient for source in twice] == ["volume-covid19-A-0053"] * 2
    assert len({source.split for source in twice}) == 1


def test_the_same_patients_have_one_name_in_both_covid_sets(archive: Callable[[str], Path]) -> None:
    pretraining, _ = read_recipe(load_recipe("tcia-covid19"), archive("tcia-covid19"))
    assert [source.patient for source in pretraining.sources] == [
        "volume-covid19-A-0000",
        "volume-covid19-A-0047",
    ]
    assert splits_of(pretraining.sources) == {(None, False): 2}


def test_totalsegmentator_as_its_table_states(archive: Callable[[str], Path]) -> None:
    data, _ = read_recipe(load_recipe("totalsegmentator"), archive("totalsegmentator"))
    assert {source.case: source.split for source in data.sources} == {
        "totalsegmentator_s0000": "train",
        "totalsegmentator_s0001": "test",
        "totalsegmentator_s0004": "val",
    }
    assert {source.annotated for source in data.sources} == {("aorta", "costal_cartilages")}


def test_totalsegmentator_of_another_version(archive: Callable[[str], Path]) -> None:
    raw = archive("totalsegmentator-v1")
    with pytest.raises(
        DataError, match="holds face, heart_atrium_left, which the recipe does not name: this is"
    ):
        read_recipe(load_recipe("totalsegmentator"), raw)
    (raw / "Totalsegmentator_dataset" / "meta.csv").unlink()
    with pytest.raises(DataError, match=r"meta\.csv: not there; it states the split of each case"):
        read_recipe(load_recipe("totalsegmentator-v1"), raw)


def test_a_table_without_its_columns(archive: Callable[[str], Path]) -> None:
    raw = archive("totalsegmentator")
    (raw / "Totalsegmentator_dataset_v201" / "meta.csv").write_text("image_id;age\ns0000;3\n")
    with pytest.raises(DataError, match=r"^meta\.csv: columns image_id and split are needed; get it again"):
        read_recipe(load_recipe("totalsegmentator"), raw)


def test_uids_name_no_case(archive: Callable[[str], Path]) -> None:
    data, _ = read_recipe(load_recipe("luna16"), archive("luna16"))
    assert [source.case for source in data.sources] == [None, None]


def test_dicom_series_of_lidc(tmp_path: Path, write_series: Callable[..., Any]) -> None:
    raw = tmp_path / "manifest-1600709154662"
    patient = raw / "LIDC-IDRI" / "LIDC-IDRI-0001"
    write_series(patient / "01-01-2000-NA-NA-30178" / "3000566.000000-NA-03192")
    write_series(patient / "01-01-2000-NA-NA-35511" / "3000923.000000-NA-62357", series="4.5.6")
    outlines = patient / "01-01-2000-NA-NA-35511" / "1.000000-NA-00001"
    outlines.mkdir()
    (outlines / "069.xml").write_text("x")
    (raw / "metadata.csv").write_text("x")
    recipe = load_recipe("lidc-idri")
    for where in (tmp_path, raw, raw / "LIDC-IDRI"):
        data, differing = read_recipe(recipe, where)
        assert differing == ("LIDC-IDRI-{patient}/*/*: 1 patients, 1010 expected",)
        assert [(source.case, source.patient, source.split) for source in data.sources] == [
            (None, "Doe^Jane", None)
        ] * 2


@pytest.mark.parametrize(
    ("name", "folder", "differing"),
    [
        (
            "hnscc",
            "HNSCC/HNSCC-01-0001/12-01-1998-NA-PETCT HEAD  NECK CA-92442/2.000000-CT Atten Cor-25068",
            0,
        ),
        ("tcia-covid19", "CT Images in COVID-19/volume-covid19-A-0011/01-01-2020-NA-CT-1/3.000000-NA-4", 1),
    ],
)
def test_other_collections_of_dicom(
    name: str, folder: str, differing: int, tmp_path: Path, write_series: Callable[..., Any]
) -> None:
    write_series(tmp_path / folder)
    data, said = read_recipe(load_recipe(name), tmp_path)
    assert [(source.image, source.key) for source in data.sources] == [
        (tmp_path / folder, f"{name}/{folder.split('/', 1)[1]}")
    ]
    assert len(said) == differing


def test_series_folders_without_a_scan(tmp_path: Path) -> None:
    folder = tmp_path / "HNSCC" / "HNSCC-01-0001" / "12-05-1998-RT SIMULATION-43582" / "1.000000-NA-1"
    folder.mkdir(parents=True)
    (folder / "1-1.txt").write_text("x")
    with pytest.raises(
        DataError, match="the folders of hnscc are there, but no scan is in them; get it again"
    ):
        read_recipe(load_recipe("hnscc"), tmp_path)


def test_what_is_missing_is_said_exactly(archive: Callable[[str], Path]) -> None:
    raw = archive("amos22")
    for n in (1, 4):
        (raw / "amos22" / "labelsTr" / f"amos_{n:04}.nii.gz").unlink()
    (raw / "amos22" / "imagesVa" / "amos_0008.nii.gz").unlink()
    with pytest.raises(DataError) as failed:
        read_recipe(load_recipe("amos22"), raw)
    assert str(failed.value) == (
        f"{raw}: not the whole of amos22: labelsTr/{{case}}.nii.gz: 2 of 6 scans have no labels: amos_0001, "
        "amos_0004; imagesVa/{case}.nii.gz: none of the 100 scans is there. `mim3d datasets amos22` says how "
        "to get it"
    )


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError) as failed:
        read_recipe(load_recipe("btcv"), tmp_path)
    assert (
        "nothing lies where it should, Training/img/img{case}.nii.gz with Training/label/label{case}.nii.gz "
        "or else imagesTr/img{case}.nii.gz with labelsTr/label{case}.nii.gz (in it, or in its folder "
        in str(failed.value)
    )


def test_an_archive_that_is_still_packed(tmp_path: Path) -> None:
    for name in ("Task09_Spleen.tar", "other.zip"):
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"spleen: Task09_Spleen\.tar is still packed: unpack it there"):
        read_recipe(load_recipe("msd09-spleen"), tmp_path)


def test_what_cannot_be_prepared(tmp_path: Path) -> None:
    (tmp_path / "NCP" / "12" / "1345").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"^recipe cc-ccii cannot be prepared as it comes: a scan is a folder of single pict"
    ):
        read_recipe(load_recipe("cc-ccii"), tmp_path)
    with pytest.raises(
        DataError, match=r"gone: no such folder; `mim3d datasets btcv` says how to get the data"
    ):
        read_recipe(load_recipe("btcv"), tmp_path / "gone")


def test_the_folder_of_a_scan_tells_its_class(tmp_path: Path) -> None:
    for number, name in enumerate(("NCP", "CP", "Normal")):
        for patient in range(5):
            folder = tmp_path / name / f"{number}{patient}"
            folder.mkdir(parents=True)
            for scan in ("1", "2"):
                (folder / f"{scan}.nii.gz").write_text("x")
    recipe = load_recipe("cc-ccii")
    data, differing = read_recipe(recipe, tmp_path, "fold-1")
    assert differing == ()
    sources = {source.case: source for source in data.sources}
    assert len(sources) == 30
    assert sources["cc-ccii_NCP_03_1"].targets == (("diagnosis", "NCP"),)
    assert sources["cc-ccii_CP_11_2"].targets == (("diagnosis", "CP"),)
    assert sources["cc-ccii_Normal_20_1"].patient == "20"
    assert splits_of(data.sources) == {("train", False): 24, ("val", False): 6}
    assert all(sources[f"cc-ccii_NCP_0{n}_1"].split == sources[f"cc-ccii_NCP_0{n}_2"].split for n in range(5))


def test_no_folds_without_labels(archive: Callable[[str], Path]) -> None:
    with pytest.raises(
        ConfigError, match=r"^recipe stoic2021:fold-1: it has no labels to divide; name it as "
    ):
        read_recipe(*named(archive("stoic2021"), "stoic2021:fold-1"))
    assert len(read_recipe(*named(archive("mm-whs"), "mm-whs:few-4"))[0].sources) == 10


def named(raw: Path, name: str) -> tuple[Recipe, Path, str | None]:
    recipe, arrangement = named_recipe(name)
    return recipe, raw, arrangement


def test_too_little_for_folds(archive: Callable[[str], Path]) -> None:
    with pytest.raises(
        ConfigError, match="0 patients are left beside the test split, 5 folds need at least 5"
    ):
        read_recipe(load_recipe("msd03-liver"), archive("msd03-liver"))
