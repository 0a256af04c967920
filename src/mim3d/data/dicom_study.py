"""What studies need to know of a scan, and all that leaves its DICOM header.

Every value is one of a closed list, a rounded number, or a text that has one of the shapes stated here. Any
other text is dropped: it may hold a name.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

import pydicom

from mim3d.data.dicom_elements import UNREADABLE, quiet, text

TAGS = (
    "Manufacturer",
    "ManufacturerModelName",
    "SliceThickness",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "SeriesDescription",
    "ProtocolName",
    "PatientAge",
    "PatientBirthDate",
    "StudyDate",
    "PatientSex",
)
"""Elements that are looked at; none is passed on as it is."""
MAKERS = {
    "siemens": "Siemens",
    "ge": "GE",
    "general electric": "GE",
    "philips": "Philips",
    "toshiba": "Toshiba",
    "canon": "Canon",
    "hitachi": "Hitachi",
    "fujifilm": "Fujifilm",
    "shimadzu": "Shimadzu",
    "neusoft": "Neusoft",
    "uih": "United Imaging",
    "united imaging": "United Imaging",
    "samsung": "Samsung",
    "neurologica": "NeuroLogica",
    "elscint": "Elscint",
    "picker": "Picker",
    "marconi": "Marconi",
    "varian": "Varian",
    "elekta": "Elekta",
    "accuray": "Accuray",
    "esaote": "Esaote",
    "mediso": "Mediso",
    "imatron": "Imatron",
}
"""How a manufacturer's name may begin, in lower case, and what is kept of it."""
MODEL_WORDS = frozenset(
    """
    achieva advance advantage aera alexion amira apex aquilion artis as as+ ascent asteion astelion aura
    avanto balance biograph brightspeed brilliance cardiac century ct definition discovery double drive
    dual duo edge elite emotion esprit essenza evo excel excite extreme fit flash flow force gemini
    genesis go hd hispeed hitachi horizon icon ict incisive ingenia ingenuity intera iq lb lightning
    lightspeed lx magnetom mct mr multiva mx neuviz nova nxi one open optima perform perspective pet
    plus prime pro quantum revolution rt rxl scenaria scope select sensation sigma signa sky skyra smart
    sola solara somatom spectral spirit supria symphony synergy system tf top trio truepoint turbo ultra
    umi umr uct up verio vct vereos vision volume vr xact xr xt xvision zoom mx8000 pq5000 pq6000
    """.split()  # noqa: SIM905  one word a line would be a page
)
"""Words, in lower case, that the name of a scanner may consist of, beside one number."""
_NUMBER = re.compile(r"[A-Z]{0,2}\d{1,3}[A-Za-z]?\+?")
KERNELS = re.compile(
    r"[A-Z][a-z]?\d{2}[a-z]?(\\\d)?"  # Siemens: B30f, Br40d, I31f\3
    r"|F[CL]\d{2}(-[A-Z0-9]{1,2})?"  # Toshiba, Canon: FC08, FC18-H
    r"|[A-FL]|E[ABC]|U[A-D]|Y[A-E]"  # Philips: B, YA
    r"|(B|H|L|F)_(SOFT|SHARP|STANDARD|VSOFT|VSHARP)_[A-E]{1,2}"  # United Imaging: B_SOFT_B
    r"|STANDARD|SOFT|LUNG|BONE|BONEPLUS|DETAIL|EDGE|CHST|ULTRA|BRAIN|SMOOTH|SHARP"
)
"""Shapes that the whole name of a kernel must have."""
PHASES = {
    "native": r"native|nativ|non[ -]?con(trast)?|unenhanced|without contrast|w/?o contrast|precontrast",
    "arterial": r"arterial|arteriell|art\.? phase",
    "portal": r"portal([ -]?venous)?|portalvenous|pv phase|portalven[öo]s",
    "nephrographic": r"nephro(graphic)?|nephrogenic",
    "excretory": r"excretory|urographic",
    "delayed": r"delay(ed)?|late phase|equilibrium",
    "venous": r"venous|ven[öo]s",
}
"""What is kept of a description of the contrast phase, and the words that mean it."""
_NONE_GIVEN = re.compile(r"none|no|n|non|without|w/?o|native|0", re.IGNORECASE)
OLDEST = 90
"""Ages from here on are one group, years."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What the header tells that studies need; empty or None where it tells nothing."""

    manufacturer: str = ""
    """One of `MAKERS`."""
    scanner: str = ""
    """Name of the model: words of `MODEL_WORDS`, and numbers."""
    thickness: float | None = None
    """Of a slice, mm."""
    kernel: str = ""
    """Of the reconstruction, in one of the shapes of `KERNELS`."""
    contrast: str = ""
    """`yes` if an agent was given, `no` if the header says that none was."""
    phase: str = ""
    """Of the contrast: one of `PHASES`, if a description tells it."""
    age: int | None = None
    """Decade: 60 for an age of 60 to 69 years; 90 for all above."""
    sex: str = ""
    """`F`, `M` or `O`."""

    def columns(self) -> dict[str, Any]:
        """As columns of the catalog."""
        return asdict(self)


def study_of(header: pydicom.Dataset) -> Study:
    """What a DICOM header tells that studies need; what cannot be read is left empty."""
    return Study(
        manufacturer=manufacturer(_text(header, "Manufacturer")),
        scanner=scanner(_text(header, "ManufacturerModelName")),
        thickness=thickness(_text(header, "SliceThickness")),
        kernel=kernel(_text(header, "ConvolutionKernel")),
        contrast=contrast(_text(header, "ContrastBolusAgent")),
        phase=phase(f"{_text(header, 'SeriesDescription')} {_text(header, 'ProtocolName')}"),
        age=_age(header),
        sex=sex if (sex := _text(header, "PatientSex")) in ("F", "M", "O") else "",
    )


def _text(header: pydicom.Dataset, name: str) -> str:
    try:
        with quiet():
            return text(header, name).strip()
    except UNREADABLE:
        return ""


def manufacturer(told: str) -> str:
    """The maker that a text begins with, as `MAKERS` has it; empty if none."""
    words = re.sub(r"[^a-z]+", " ", told.lower())
    return next((kept for name, kept in MAKERS.items() if f"{words} ".startswith(f"{name} ")), "")


def scanner(told: str) -> str:
    """Name of a model if it is words of `MODEL_WORDS` and at most one short number; else empty."""
    words = re.split(r"[ _/-]+", told)
    rest = [word for word in words if re.sub(r"\d{1,3}$", "", word).lower() not in MODEL_WORDS]
    plain = all(_NUMBER.fullmatch(word) for word in rest) and sum(map(str.isdigit, told)) <= 4
    return " ".join(words) if told and len(rest) <= 1 and plain else ""


def thickness(told: str) -> float | None:
    """Thickness of a slice to a hundredth of a mm, if it is above 0 and below 100 mm."""
    try:
        value = round(float(told), 2)
    except ValueError:
        return None
    return value if 0 < value < 100 else None


def kernel(told: str) -> str:
    """Name of a kernel if it has one of the shapes of `KERNELS`; else empty."""
    return told if KERNELS.fullmatch(told) else ""


def contrast(told: str) -> str:
    """`yes` for any agent, `no` for a text that says that there was none, empty for no text."""
    if not told:
        return ""
    return "no" if _NONE_GIVEN.fullmatch(told) else "yes"


def phase(told: str) -> str:
    """The phase that a description names, if it names exactly one; `portal venous` is portal."""
    found = [name for name, words in PHASES.items() if re.search(rf"\b({words})\b", told, re.IGNORECASE)]
    if "portal" in found and "venous" in found:
        found.remove("venous")
    return found[0] if len(found) == 1 else ""


def _age(header: pydicom.Dataset) -> int | None:
    """Decade of an age in years, from the age told, else from the dates of birth and study."""
    told = re.fullmatch(r"(\d{1,3})([DWMY])", _text(header, "PatientAge"))
    if told:
        years = int(told[1]) if told[2] == "Y" else 0
    else:
        born, seen = (_text(header, name) for name in ("PatientBirthDate", "StudyDate"))
        if not (re.fullmatch(r"\d{8}", born) and re.fullmatch(r"\d{8}", seen)):
            return None
        years = (int(seen) - int(born)) // 10_000
    return min(years // 10 * 10, OLDEST) if 0 <= years < 130 else None
