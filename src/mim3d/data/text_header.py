"""Headers of NRRD and MetaImage, as far as ITK does not pass on what they say: units, missing spacing, kinds.

Both begin with lines of text, `name: value` and `name = value`.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from mim3d.data.grids import joined
from mim3d.data.packed import Packed
from mim3d.errors import DataError

MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre"), 1000.0),
    **dict.fromkeys(("um", "µm", "micron", "microns", "micrometer", "micrometers"), 0.001),
}
"""Unit of length -> mm."""
UNSAID = ("", "?", "???", "none")
LONGEST = 65536
"""Bytes at the beginning of a file that may be its header."""
ORIENTED = re.compile(r"(right|left)-(anterior|posterior)-(superior|inferior)(-time)?|(ras|las|lps)t?")
"""Spaces of NRRD that tell left from right."""


@dataclass(frozen=True, kw_only=True)
class TextHeader:
    """What a header says beyond what ITK passes on."""

    mm: float = 1.0
    """Of one unit of the header."""
    note: str = ""
    """What had to be decided."""
    files: tuple[str, ...] = field(default=())
    """Names of the data files, relative to the header; empty if they are within, or many."""
    many: bool = False
    """Whether the data lie in a list of files."""
    packed: Packed | None = None
    """Where compressed voxels are; None if they are not compressed, or it cannot be told."""


def read_text_header(path: Path) -> TextHeader:
    """The header of an NRRD or MetaImage file, checked.

    Raises:
        DataError: If it gives no spacing, one that is not positive, a unit that is none of length, or axes
            that are not those of space.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST).decode("latin-1")
    return _nrrd(path, text) if path.suffix.lower() in (".nrrd", ".nhdr") else _metaimage(path, text)


def data_files(path: Path) -> list[Path]:
    """Files beside a header that its voxels lie in: those it names, all of its folder if it lists many."""
    try:
        header = read_text_header(path)
        if header.many:
            return sorted(file for file in path.parent.iterdir() if file.is_file() and file != path)
        return [path.parent / name for name in header.files if (path.parent / name).is_file()]
    except (DataError, OSError):  # also of a name that is too long for any file
        return []


def _nrrd(path: Path, text: str) -> TextHeader:
    fields = _fields(text.replace("\r\n", "\n").partition("\n\n")[0], ":")
    if "space directions" not in fields and "spacings" not in fields:
        raise DataError(
            f"{path.name}: its header has no spacing; `space directions` or `spacings` is needed: mend the "
            "header"
        )
    if "spacings" in fields:
        sides = fields["spacings"].split()
        spatial = [side for side in sides if side.lower() != "nan"]  # NaN: an axis that is not of space
        _require_positive(path, spatial if len(spatial) >= 3 else sides)
    kinds = fields.get("kinds", "").lower().split()
    if "time" in kinds:
        raise DataError(
            f"{path.name}: one of its axes is of the kind `time`, which ITK does not read in NRRD; `list` is "
            "needed: correct `kinds` in the header, or save one time point"
        )
    space = fields.get("space", "").lower()
    if "left-handed" in space:
        raise DataError(
            f"{path.name}: its space is {space}, which does not say which side is left; "
            "right-anterior-superior or left-posterior-superior is needed: correct `space` in the header"
        )
    units = fields.get("space units") or " ".join(_lengths(fields.get("units", "")))
    mm, note = _unit(path, re.findall(r'"([^"]*)"', units))
    oriented = "" if ORIENTED.fullmatch(space) else _UNORIENTED
    named = fields.get("data file") or fields.get("datafile") or ""
    many = named.upper().startswith("LIST") or "%" in named
    files = (named,) if named and not many else ()
    end = re.search(r"\r?\n\r?\n", text)
    packed = None
    if (
        fields.get("encoding") in ("gzip", "gz")
        and not many
        and not fields.keys() & {"line skip", "byte skip"}
    ):
        packed = Packed(named, 0, None) if named else Packed("", end.end(), None) if end else None
    return TextHeader(mm=mm, note=joined(note, oriented), files=files, many=many, packed=packed)


_UNORIENTED = "its header states no orientation: axes taken as left, posterior, superior"


def _metaimage(path: Path, text: str) -> TextHeader:
    fields = _fields(re.split(r"(?im)^(?=ElementDataFile)", text)[0], "=")
    sides = fields.get("elementspacing") or fields.get("elementsize")
    if not sides:
        raise DataError(
            f"{path.name}: its header has no spacing; `ElementSpacing` is needed: mend the header"
        )
    _require_positive(path, sides.split())
    mm, note = _unit(path, [fields.get("distanceunits", "")])
    last = re.search(r"(?im)^ElementDataFile\s*+=\s*+([^\n]*)", text)  # possessive: never quadratic
    named = (last.group(1).strip() if last else "") or "LOCAL"
    many = named.upper().startswith("LIST") or "%" in named
    inside = named.upper() == "LOCAL"
    files = () if inside or many else (named,)
    packed = None
    if fields.get("compresseddata", "").lower() in ("true", "t", "1") and last and not many:
        packed = _packed(path, fields, "" if inside else named, last.end() + 1)
    return TextHeader(mm=mm, note=note, files=files, many=many, packed=packed)


def _packed(path: Path, fields: dict[str, str], named: str, end: int) -> Packed:
    """Where the compressed voxels of a MetaImage are, in a file that is named, or behind the header's end."""
    length, before = (fields.get(name, "") for name in ("compresseddatasize", "headersize"))
    told = re.fullmatch(r"[1-9]\d{0,17}", length) is not None
    if not named and not told:
        raise DataError(
            f"{path.name}: its header does not say how long its compressed voxels are, and they would be "
            "read wrong; `CompressedDataSize` is needed: save it again"
        )
    if before not in ("", "0"):
        raise DataError(
            f"{path.name}: its compressed voxels have a header of their own (`HeaderSize = {before}`), and "
            "would be read wrong; save it again without"
        )
    return Packed(named, 0 if named else end, int(length) if told else None)


def _fields(text: str, separator: str) -> dict[str, str]:
    """Values by name, in small letters."""
    lines = (line.partition(separator) for line in text.splitlines() if not line.startswith("#"))
    return {name.strip().lower(): value.strip() for name, found, value in lines if found}


def _lengths(units: str) -> list[str]:
    """Of the units of all axes those of length, in quotation marks: others are of time, or of nothing."""
    return [f'"{word}"' for word in re.findall(r'"([^"]*)"', units) if word.strip().lower() in MM]


def _unit(path: Path, words: list[str]) -> tuple[float, str]:
    """Millimetres of one unit of the header, and what is to be said of it."""
    said = sorted({word.strip().lower() for word in words} - set(UNSAID))
    if not said:
        return 1.0, ""
    factors = {MM.get(word) for word in said}
    if len(factors) > 1 or None in factors:
        raise DataError(
            f"{path.name}: its unit of length is {', '.join(said)}; one of mm, cm, m, um for all axes is "
            "needed: correct the header"
        )
    factor = MM[said[0]]
    return factor, "" if factor == 1.0 else f"its header is in {said[0]}: converted to mm"


def _require_positive(path: Path, sides: list[str]) -> None:
    try:
        held = all(0 < float(side) < math.inf for side in sides)
    except ValueError:
        held = False
    if not held:
        raise DataError(
            f"{path.name}: its spacing is {' x '.join(sides)}; positive, finite numbers are needed: mend the "
            "header"
        )
