"""Identifiers planted in DICOM headers and names of files: none is in store, catalog, log or reasons."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pyarrow import parquet
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mim3d.data.dicom_elements import quiet
from mim3d.data.labels import LabelSet
from mim3d.data.listing import write_listing
from mim3d.data.prepare import prepare_store
from mim3d.data.store import open_store
from mim3d.recipes.prepare import prepare

Write = Callable[..., Any]
NAME = "Quackenbush"
ROOT = "1.2.826.0.1.3680043"
PLANTED = (NAME, "Wilhelmine", "ID-4711-0815", "19650312", "St Elsewhere", "ACC-99871", ROOT, "Jefferson")
"""Long enough not to come about by chance in packed voxels and hashes."""
HEADER = {
    "PatientName": f"{NAME}^Wilhelmine",
    "PatientID": "ID-4711-0815",
    "OtherPatientIDs": "ID-4711-0815",
    "PatientBirthDate": "19650312",
    "PatientAddress": "Jefferson Street",
    "PatientAge": "058Y",
    "PatientSex": "F",
    "PatientComments": NAME,
    "StudyDate": "20240312",
    "InstitutionName": "St Elsewhere",
    "StationName": "Jefferson",
    "ReferringPhysicianName": f"{NAME}^Otto",
    "OperatorsName": "Jefferson",
    "AccessionNumber": "ACC-99871",
    "StudyDescription": f"Follow-up of {NAME}",
    "SeriesDescription": f"portal venous {NAME} 19650312",
    "ProtocolName": f"Abdomen {NAME}",
    "StudyInstanceUID": f"{ROOT}.1",
    "FrameOfReferenceUID": f"{ROOT}.2",
    "Manufacturer": f"SIEMENS {NAME}",
    "ManufacturerModelName": f"Sensation {NAME} 64",
    "ConvolutionKernel": f"B30f {NAME}",
    "ContrastBolusAgent": f"Given to {NAME}",
    "DeviceSerialNumber": "ID-4711-0815",
    "ImageComments": NAME,
}


def plant(folder: Path) -> None:
    """Give all files of a folder `HEADER`, private elements, and new UIDs."""
    for path in filter(Path.is_file, folder.rglob("*")):
        header = pydicom.dcmread(path)
        for name, value in HEADER.items():
            setattr(header, name, value)
        block = header.private_block(0x0029, NAME, create=True)
        block.add_new(1, "LO", f"{NAME} 19650312")
        item = Dataset()
        item.PatientName = NAME
        header.RequestAttributesSequence = [item]
        header.SOPInstanceUID = generate_uid(prefix=f"{ROOT}.")
        header.save_as(path)


@pytest.fixture
def raw(tmp_path: Path, write_series: Write, write_rtstruct: Write) -> Path:
    """Scans that can be read, and others that are refused for reasons of many kinds."""
    raw = tmp_path / "archive" / NAME
    changed: dict[str, dict[str, Any]] = {
        "whole": {},
        "gap": {"places": (0.0, 2.5, 7.5)},
        "vary": {"places": (0.0, 1.0, 3.3)},
        "double": {"places": (0.0, 2.5, 2.5, 5.0)},
        "flat": {"places": (0.0,), "SliceThickness": None},
        "scout": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER", NAME]},
        "derived": {"ImageType": ["DERIVED", NAME]},
        "capture": {"ImagePositionPatient": None},
        "tilted": {"each": lambda number: {"ImagePositionPatient": [0, 9 * number, 2.5 * number]}},
        "odd": {"Modality": NAME.upper()},
    }
    for number, (name, options) in enumerate(changed.items()):
        with quiet():
            write_series(raw / f"{NAME} {name}", series=f"{ROOT}.{number}", suffix=f" {NAME}", **options)
    for name, places in (("first", (0.0, 2.5)), ("second", (5.0, 7.5))):
        write_series(raw / NAME / f"{NAME} {name}", series=f"{ROOT}.99", suffix=f" {NAME}", places=places)
    plant(raw)
    for path in (raw / NAME).rglob(f"0 {NAME}"):  # a volume of two folders, damaged in both
        path.write_bytes(path.read_bytes()[:-6])
    broken = next((raw / f"{NAME} whole").iterdir())
    (raw / "broken").mkdir()
    (raw / "broken" / f"{NAME}.dcm").write_bytes(broken.read_bytes()[:-6])
    with zipfile.ZipFile(raw / f"{NAME}.zip", "w") as archive:
        for path in (raw / f"{NAME} whole").iterdir():
            archive.write(path, f"{NAME}/{path.name}")
        archive.writestr(f"../{NAME}", b"")
    return raw


def everything(store: Path) -> str:
    """All that a store says: bytes of every file, and the tables unpacked."""
    files = [path for path in store.rglob("*") if path.is_file()]
    names = [str(path.relative_to(store)) for path in store.rglob("*")]
    texts = [path.read_bytes().decode("latin-1") for path in files]
    tables = [parquet.read_table(path).to_pylist() for path in files if path.suffix == ".parquet"]
    return "\n".join([*names, *texts, json.dumps(tables)])


def require_clean(text: str) -> None:
    found = [word for word in PLANTED if word.lower() in text.lower()]
    assert not found, [text[max(0, text.lower().find(found[0].lower()) - 200) :][:400]]


def test_no_identifier_of_a_header_or_a_path_is_passed_on(
    raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    catalog = prepare(raw, store, workers=1, spacing="native")
    said = "".join(capfd.readouterr())
    assert "rejected" in said
    require_clean(said)
    require_clean(everything(store))
    require_clean(repr(catalog))
    rejected = parquet.read_table(store / "rejected.parquet").to_pylist()
    assert {case.modality for case in catalog.cases} == {"CT", "OT"}
    assert len(rejected) == 11, rejected
    one = next(case for case in catalog.cases if case.modality == "CT")
    assert (one.manufacturer, one.scanner, one.kernel) == ("Siemens", "", "")
    assert (one.contrast, one.phase, one.age, one.sex, one.thickness) == ("yes", "portal", 50, "F", 2.5)
    assert len({case.study for case in catalog.cases}) == 1
    assert open_store(store).catalog.cases == catalog.cases


def test_no_identifier_of_a_label_is_passed_on(
    tmp_path: Path, write_series: Write, write_rtstruct: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "archive" / NAME
    write_series(raw / "scan", suffix=f" {NAME}")
    plant(raw)
    square = [(-9.0, -19.8, 5.0), (-5.0, -19.8, 5.0), (-5.0, -18.9, 5.0), (-9.0, -18.9, 5.0)]
    outlines: dict[str, Any] = {
        "good": {"GTV": [square], f"Lung {NAME}": [square]},
        "other": {f"Lung of {NAME}": [square]},
        "beside": {f"GTV {NAME}": [[(x, y, z + 900) for x, y, z in square]]},
        "broken": {"GTV": [square]},
    }
    for name, drawn in outlines.items():
        write_rtstruct(raw / f"{NAME} {name}.dcm", drawn)
        header = pydicom.dcmread(raw / f"{NAME} {name}.dcm")
        header.StructureSetLabel, header.PatientName = NAME, NAME
        if name == "broken":
            header.StructureSetROISequence[0]["ROINumber"].VR = "LO"
            header.StructureSetROISequence[0]["ROINumber"]._value = NAME
        header.save_as(raw / f"{NAME} {name}.dcm")
    rows = [
        {"case": name, "image": "scan", "label": f"{NAME} {name}.dcm", "labels": "set", "split": "train"}
        for name in outlines
    ]
    write_listing(raw / "cases.csv", rows, [LabelSet("set", {"gtv": 1})])
    prepared = prepare_store(raw, tmp_path / "store", workers=1, spacing="native")
    assert [case.case for case in prepared.catalog.cases] == ["good"]
    assert len(prepared.rejected) == 3
    require_clean(everything(tmp_path / "store"))
    require_clean(repr(prepared))
    require_clean("".join(capfd.readouterr()))
