"""What leaves a DICOM header: values of closed lists and stated shapes, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from mim3d.data.dicom_study import Study, contrast, kernel, manufacturer, phase, scanner, study_of, thickness


def header(**elements: Any) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("Philips Medical Systems", "Philips"),
        ("TOSHIBA_MEC", "Toshiba"),
        ("UIH", "United Imaging"),
        ("Gerhard", ""),
        ("Siemensmann", ""),
        ("Jane Doe", ""),
    ],
)
def test_makers_are_of_a_closed_list(told: str, kept: str) -> None:
    assert manufacturer(told) == kept


@pytest.mark.parametrize(
    "told",
    [
        "Sensation 64",
        "SOMATOM Definition AS+",
        "LightSpeed VCT",
        "LightSpeed16",
        "Discovery CT750 HD",
        "Brilliance 64",
        "iCT 256",
        "Aquilion ONE",
        "Revolution CT",
        "Biograph 128",
        "Ingenia",
    ],
)
def test_names_of_scanners_are_kept(told: str) -> None:
    assert scanner(told) == told


@pytest.mark.parametrize(
    "told",
    [
        "Sensation Doe",
        "Doe",
        "J64 D12",
        "Sensation 64 128",
        "19650312",
        "Brilliance 1965",
        "CT 4711 0815",
        "",
    ],
)
def test_other_words_and_long_numbers_in_names_of_scanners_are_dropped(told: str) -> None:
    assert scanner(told) == ""


@pytest.mark.parametrize(
    "told", ["B30f", "Br40d", "I31f\\3", "FC08", "FC18-H", "STANDARD", "BONEPLUS", "B", "YA", "B_SOFT_B"]
)
def test_names_of_kernels_are_kept(told: str) -> None:
    assert kernel(told) == told


@pytest.mark.parametrize(
    "told", ["B30f Doe", "DOE", "JD", "Jane", "19650312", "B30f\\Doe", "1.2.840", "MILLER"]
)
def test_other_kernels_are_dropped(told: str) -> None:
    assert kernel(told) == ""


@given(st.text(max_size=30))
def test_a_text_passes_whole_or_not_at_all(told: str) -> None:
    assert kernel(told) in ("", told)
    assert not set(scanner(told).split()) - set(
        told.replace("_", " ").replace("/", " ").replace("-", " ").split()
    )


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("Abdomen portal venous 5mm", "portal"),
        ("ABD VENOUS", "venous"),
        ("art. Phase Leber", "arterial"),
        ("Thorax native", "native"),
        ("arterial and portal", ""),
        ("Martial Delayer", ""),
        ("delayed 10 min", "delayed"),
    ],
)
def test_phases_are_of_a_closed_list(told: str, kept: str) -> None:
    assert phase(told) == kept


def test_of_a_contrast_agent_only_whether_it_was_given_is_kept() -> None:
    given_or_not = [contrast(told) for told in ("Omnipaque 350", "NONE", "no", "", "for Jane Doe")]
    assert given_or_not == ["yes", "no", "no", "", "yes"]


def test_thickness_is_a_number_of_mm() -> None:
    assert [thickness(told) for told in ("0.6250", "5", "0", "-1", "19650312", "nan", "x", "")] == [
        0.62,
        5.0,
        *[None] * 6,
    ]


@pytest.mark.parametrize(
    ("elements", "decade"),
    [
        ({"PatientAge": "063Y"}, 60),
        ({"PatientAge": "094Y"}, 90),
        ({"PatientAge": "104Y"}, 90),
        ({"PatientAge": "011M"}, 0),
        ({"PatientBirthDate": "19650312", "StudyDate": "20250311"}, 50),
        ({"PatientBirthDate": "19650312", "StudyDate": "20250312"}, 60),
        ({"PatientBirthDate": "19650312", "StudyDate": "19600101"}, None),
        ({"PatientBirthDate": "19650312"}, None),
        ({}, None),
    ],
)
def test_ages_are_decades(elements: dict[str, str], decade: int | None) -> None:
    assert study_of(header(**elements)).age == decade


def test_nothing_told_is_nothing_kept() -> None:
    assert study_of(header()) == Study()
    assert study_of(header(PatientSex="F", SliceThickness="1.25")) == Study(sex="F", thickness=1.25)
    assert study_of(header(PatientSex="U")) == Study()
