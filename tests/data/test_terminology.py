import json
from pathlib import Path

import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import mim3d.data.terminology as module
from mim3d.data.terminology import term_of


def test_every_code_is_one_of_dicom_with_its_meaning() -> None:
    content = json.loads((Path(module.__file__).with_name("terminology.json")).read_text())
    every = (getattr(codes.SCT, name) for name in dir(codes.SCT))
    known = {code.value for code in every if isinstance(code, Code)}
    listed = [(one["code"], one["meaning"]) for one in content["structures"]]
    listed += [*map(tuple, content["categories"].values()), *map(tuple, content["sides"].values())]
    assert [code for code, meaning in listed if code not in known or not meaning] == []
    names = [name for one in content["structures"] for name in one["names"]]
    assert len(names) == len(set(names))
    assert "pydicom" in content["source"]


@pytest.mark.parametrize(
    ("name", "meaning", "side"),
    [
        ("liver", "Liver", None),
        ("Kidney_Right", "Kidney", "Right"),
        ("left lung", "Lung", "Left"),
        ("lung_upper_lobe_left", "Upper lobe of lung", "Left"),
        ("left ventricle", "Left ventricle", None),
        ("vertebrae_L3", "L3 vertebra", None),
        ("tumour", "Neoplasm", None),
    ],
)
def test_names_are_understood_however_they_are_written(name: str, meaning: str, side: str | None) -> None:
    term = term_of(name)
    assert term.known
    assert term.kind.meaning == meaning
    assert (term.side.meaning if term.side else None) == side


def test_lesions_are_no_anatomy() -> None:
    assert term_of("lesion").category.meaning == "Morphologically Abnormal Structure"
    assert term_of("spleen").category.meaning == "Anatomical Structure"


def test_an_unknown_name_is_tissue() -> None:
    for name in ("region 7", "left right kidney"):
        term = term_of(name)
        assert not term.known
        assert term.kind == term.category == ("85756007", "Tissue")
