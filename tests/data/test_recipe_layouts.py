"""Every data set as it really comes, in small: paths written by hand from what is known of the archives.

They are not made from the patterns of the recipes, which would prove nothing.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mim3d.data.recipe import Recipe, load_recipe, recipe_names
from mim3d.data.recipe_check import Checked, check, named_recipe, read_recipe
from mim3d.data.sources import Source
from mim3d.errors import ConfigError, DataError

SPLEEN = (2, 3, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 24, 25, 26, 27, 28)
"""Some of the numbers that Task09 has: they have gaps."""


def pairs(folder: str, *names: str, label: str = "labelsTr") -> list[str]:
    return [f"{folder}/{part}/{name}.nii.gz" for name in names for part in ("imagesTr", label)]


ARCHIVES: dict[str, list[str]] = {
    "btcv": [
        f"RawData/{where}"
        for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 21, 22, 35, 36, 37, 38, 39, 40)
        for where in (f"Training/img/img{n:04}.nii.gz", f"Training/label/label{n:04}.nii.gz")
    ]
    + ["RawData/Testing/img/img0061.nii.gz", "RawData/Testing/img/img0062.nii.gz"],
    "msd09-spleen": [
        "Task09_Spleen/dataset.json",
        "Task09_Spleen/._dataset.json",
        *pairs("Task09_Spleen", *(f"spleen_{n}" for n in SPLEEN)),
        *pairs("Task09_Spleen", *(f"._spleen_{n}" for n in SPLEEN)),
        "Task09_Spleen/imagesTs/spleen_1.nii.gz",
        "Task09_Spleen/imagesTs/._spleen_1.nii.gz",
    ],
    "amos22": [
        "amos22/dataset.json",
        "amos22/readme.md",
        *pairs("amos22", "amos_0001", "amos_0004", "amos_0005", "amos_0006", "amos_0009", "amos_0410"),
        *pairs("amos22", "amos_0507", "amos_0600"),  # MR
        "amos22/imagesVa/amos_0008.nii.gz",
        "amos22/labelsVa/amos_0008.nii.gz",
        "amos22/imagesVa/amos_0508.nii.gz",
        "amos22/labelsVa/amos_0508.nii.gz",
        "amos22/imagesTs/amos_0002.nii.gz",
    ],
    "flare22": [
        f"FLARE22Train/{where}"
        for n in range(1, 18)
        for where in (f"images/FLARE22_Tr_{n:04}_0000.nii.gz", f"labels/FLARE22_Tr_{n:04}.nii.gz")
    ],
    "covid-19-20": [
        f"COVID-19-20_v2/Train/volume-covid19-A-{name}_{kind}.nii.gz"
        for name in (*(f"{n:04}" for n in range(3, 50)), "0053_0", "0053_1")
        for kind in ("ct", "seg")
    ]
    + ["COVID-19-20_v2/Validation/volume-covid19-A-0001_ct.nii.gz"],
    "mm-whs": [
        f"ct_train/ct_train_{n}_{kind}.nii.gz" for n in range(1001, 1011) for kind in ("image", "label")
    ]
    + ["ct_test/ct_test_2001_image.nii.gz", "mr_train/mr_train_1001_image.nii.gz"]
    + ["mr_train/mr_train_1001_label.nii.gz"],
    "totalsegmentator": [
        f"Totalsegmentator_dataset_v201/{case}/{file}"
        for case in ("s0000", "s0001", "s0004")
        for file in ("ct.nii.gz", "segmentations/aorta.nii.gz", "segmentations/costal_cartilages.nii.gz")
    ]
    + ["Totalsegmentator_dataset_v201/meta.csv"],
    "totalsegmentator-v1": [
        f"Totalsegmentator_dataset/{case}/{file}"
        for case in ("s0000", "s0002")
        for file in ("ct.nii.gz", "segmentations/face.nii.gz", "segmentations/heart_atrium_left.nii.gz")
    ]
    + ["Totalsegmentator_dataset/meta.csv"],
    "luna16": [
        f"{where}/1.3.6.1.4.1.14519.5.2.1.6279.6001.{uid}.{suffix}"
        for where, uid in (
            ("subset0", "105756658031515062000744821260"),
            ("subset9", "112767175295249119452142211437"),
        )
        for suffix in ("mhd", "raw")
    ]
    + ["annotations.csv", "candidates_V2.csv", "seg-lungs-LUNA16/1.3.6.1.4.1.14519.mhd"],
    "stoic2021": ["data/mha/10.mha", "data/mha/1011.mha", "metadata/reference.csv"],
    "flare23": [
        "imagesTr2200/FLARE23_0001_0000.nii.gz",
        "labelsTr2200/FLARE23_0001.nii.gz",
        "unlabeledTr1800/FLARE23_2201.nii.gz",
        "validation/FLARE23Ts_0001_0000.nii.gz",
    ],
    "tcia-covid19": ["volume-covid19-A-0000.nii.gz", "volume-covid19-A-0047_1.nii.gz"],
    "msd03-liver": [
        *pairs("Task03_Liver", "liver_0", "liver_1", "liver_130"),
        "Task03_Liver/imagesTs/liver_132.nii.gz",
    ],
    "msd06-lung": [*pairs("Task06_Lung", "lung_001", "lung_096"), "Task06_Lung/imagesTs/lung_002.nii.gz"],
    "msd07-pancreas": pairs("Task07_Pancreas", "pancreas_001", "pancreas_421"),
    "msd08-hepaticvessel": pairs("Task08_HepaticVessel", "hepaticvessel_001", "hepaticvessel_456"),
    "msd10-colon": pairs("Task10_Colon", "colon_001", "colon_219"),
    "msd01-braintumour": pairs("Task01_BrainTumour", "BRATS_001", "BRATS_484"),
}
SCANS = {
    "btcv": 18,
    "msd09-spleen": 21,
    "amos22": 7,
    "flare22": 17,
    "covid-19-20": 49,
    "mm-whs": 10,
    "totalsegmentator": 3,
    "totalsegmentator-v1": 2,
    "luna16": 2,
    "stoic2021": 2,
    "flare23": 2,
    "tcia-covid19": 2,
    "msd03-liver": 3,
}
"""How many of them are scans to prepare; 2 where it is not said."""
NOT_AS_FILES = {"lidc-idri", "hnscc", "cc-ccii"}
META = "image_id;age;split\ns0000;50;train\ns0001;60;test\ns0002;40;test\ns0004;70;val\n"


@pytest.fixture
def archive(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the miniature of a data set; gives the folder that it was unpacked into."""

    def write(name: str) -> Path:
        for file in ARCHIVES[name]:
            (tmp_path / "raw" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "raw" / file).write_text("\ufeff" + META if file.endswith("meta.csv") else "x")
        return tmp_path / "raw"

    return write


def scans(checked: Checked) -> int:
    return sum(len(found.scans) for found in checked.laid.parts if found.part.prepared)


def test_every_recipe_has_a_miniature() -> None:
    assert ARCHIVES.keys() | NOT_AS_FILES == set(recipe_names())


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_miniature_is_what_its_recipe_expects_but_for_numbers(
    name: str, archive: Callable[[str], Path]
) -> None:
    recipe, raw = load_recipe(name), archive(name)
    checked = check(recipe, raw)
    assert checked.missing == ()
    assert scans(checked) == SCANS.get(name, 2)
    counted = [part for part in checked.laid.layout.parts if part.prepared and part.scans is not None]
    assert len(checked.differing) == len(counted)
    inside = checked.laid.root
    assert scans(check(recipe, inside)) == scans(checked), "RAW may be the folder itself"


@pytest.mark.parametrize("name", ARCHIVES)
def test_no_other_recipe_takes_a_miniature_for_its_own_by_name(
    name: str, archive: Callable[[str], Path]
) -> None:
    raw = archive(name)
    inside = check(load_recipe(name), raw).laid.root
    alike = {"totalsegmentator", "totalsegmentator-v1"}
    for other in ARCHIVES.keys() - {name} - alike:
        assert not scans(check(load_recipe(other), raw)), other
        assert not scans(check(load_recipe(other), inside)), other


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
    with pytest.raises(
        DataError, match=r"^recipe cc-ccii cannot be prepared: a scan is a folder of single pict"
    ):
        read_recipe(load_recipe("cc-ccii"), tmp_path)
    with pytest.raises(
        DataError, match=r"gone: no such folder; `mim3d datasets btcv` says how to get the data"
    ):
        read_recipe(load_recipe("btcv"), tmp_path / "gone")


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
