"""Where voxels of a NIfTI file lie: mended where the header leaves one reading, refused where two.

Source: the NIfTI-1 standard (nifti1.h), methods 1 to 3. We differ in method 1, an affine that is not stated
at all: it says neither left nor right, readers differ, and we say so.
"""

import math

import numpy as np
from nibabel import Nifti1Header
from nibabel.quaternions import quat2mat

from mim3d.data.grids import (
    SAME_PLACE,
    Affine,
    corner_distance,
    in_mm,
    is_usable,
    joined,
    letters,
    spacing_of,
)
from mim3d.errors import DataError
from mim3d.geometry import Triple, Vector

MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Code of a unit of length -> mm; 0 is unknown."""
WORDS = {1: "metres", 3: "micrometres"}
BELIEVED = (0.001, 50.0)
"""Least and largest voxel, mm, of a header in another unit than mm that is believed."""
TEMPLATE = 3
"""Codes from here on lead into a template's space (Talairach, MNI, other), not the scanner's."""
NO_ROTATION = 3 * float(np.finfo(np.float32).eps)
"""Square of a quaternion's first number that is rounding of single precision (as nibabel has it)."""
SAME_SPACING = 0.01
"""Relative: larger differences between qform and sform say that one of them is wrong."""


def place(name: str, header: Nifti1Header, shape: Triple) -> tuple[Affine, str]:
    """Affine (4, 4) from voxel index to RAS+ mm, and what had to be decided.

    Args:
        name: Of the file, for the message.
        header: As it is in the file, unchecked.
        shape: Voxels of the volume.

    Raises:
        DataError: If the header does not say where voxels lie, or says two things that exclude each other.
    """
    affine, chosen = _chosen(name, header, shape)
    factor, unit = _unit(name, header, affine)
    scaled = affine.copy()
    scaled[:3] *= factor
    return scaled, joined(chosen, unit, _scaling(header))


def _chosen(name: str, header: Nifti1Header, shape: Triple) -> tuple[Affine, str]:
    sform, qform = _sform(header), _qform(header)
    if sform is None and qform is None:
        return _bare(name, header)
    if sform is not None and qform is not None and is_usable(sform) and is_usable(qform):
        return _one_of(name, header, sform, qform, shape)
    for kind, other, affine in (("sform", "qform", sform), ("qform", "sform", qform)):
        if affine is not None and is_usable(affine):
            broken = qform is not None and sform is not None
            return affine, f"its {other} is unusable: the {kind} is taken" if broken else ""
    if sform is None:
        raise DataError(
            f"{name}: its qform with spacing {in_mm(_pixdim(header))} (pixdim) places no voxel; a "
            "positive, finite spacing and a rotation are needed: mend the header"
        )
    raise DataError(
        f"{name}: its affine {sform[:3].tolist()} gives no spacing; three independent axes in mm are needed: "
        "mend the header"
    )


def _one_of(
    name: str, header: Nifti1Header, sform: Affine, qform: Affine, shape: Triple
) -> tuple[Affine, str]:
    """Which of two usable affines is meant."""
    apart = corner_distance(sform, qform, shape)
    if apart <= SAME_PLACE * min(spacing_of(sform)):
        return sform, ""
    if letters(sform) != letters(qform):
        raise DataError(
            f"{name}: its axes run {letters(sform)} by the sform, {letters(qform)} by the qform; which side "
            "is left cannot be told: correct the header, or convert the scan again from its source"
        )
    if int(header["sform_code"]) >= TEMPLATE > int(header["qform_code"]):
        return qform, "its sform leads into a template's space: the qform is taken"
    sides, others = spacing_of(sform), spacing_of(qform)
    if not np.allclose(sides, others, rtol=SAME_SPACING):
        raise DataError(
            f"{name}: voxels of {in_mm(sides)} mm by the sform, {in_mm(others)} mm by the qform; both must "
            "agree: correct the header, or convert the scan again from its source"
        )
    return sform, f"its qform and sform lie up to {apart:.2g} mm apart: the sform is taken"


def _bare(name: str, header: Nifti1Header) -> tuple[Affine, str]:
    """The affine that spacing alone gives (method 1 of the standard), and what is to be said of it."""
    spacing = _pixdim(header)
    if not _is_spacing(spacing):
        raise DataError(
            f"{name}: neither qform nor sform is set, and its spacing (pixdim) is {in_mm(spacing)}; three "
            "positive, finite numbers are needed: mend the header"
        )
    return np.diag([*spacing, 1.0]), (
        "its header states no orientation: axes taken as right, anterior, superior; left and right may be "
        "swapped"
    )


def _sform(header: Nifti1Header) -> Affine | None:
    if int(header["sform_code"]) <= 0:
        return None
    affine = np.eye(4)
    affine[:3] = [header["srow_x"], header["srow_y"], header["srow_z"]]
    return affine


def _qform(header: Nifti1Header) -> Affine | None:
    """The affine of the quaternion; full of NaN where spacing or quaternion are none."""
    if int(header["qform_code"]) <= 0:
        return None
    affine = np.eye(4)
    spacing = np.array(_pixdim(header))
    flipped = -1.0 if float(header["pixdim"][0]) == -1.0 else 1.0
    quaternion = [float(header[f"quatern_{letter}"]) for letter in "bcd"]
    length = float(np.dot(quaternion, quaternion))
    if not _is_spacing(_pixdim(header)) or not length <= 1.0 + 1e-5:  # false for NaN
        return np.full((4, 4), np.nan)
    left = 1.0 - length
    rotation = quat2mat([math.sqrt(left) if left > NO_ROTATION else 0.0, *quaternion])
    affine[:3, :3] = rotation * (spacing * (1.0, 1.0, flipped))
    affine[:3, 3] = [float(header[f"qoffset_{letter}"]) for letter in "xyz"]
    return affine


def _pixdim(header: Nifti1Header) -> Vector:
    x, y, z = (float(side) for side in header["pixdim"][1:4])
    return (x, y, z)


def _is_spacing(spacing: Vector) -> bool:
    return all(0 < side < np.inf for side in spacing)


def _unit(name: str, header: Nifti1Header, affine: Affine) -> tuple[float, str]:
    """Millimetres of one unit of the header, and what is to be said of it."""
    code = int(header["xyzt_units"]) % 8
    if code not in MM:
        return 1.0, f"its unit of length has the unknown code {code}: taken as mm"
    if MM[code] == 1.0:
        return 1.0, ""
    sides = spacing_of(affine * MM[code])
    if not BELIEVED[0] <= min(sides) <= max(sides) <= BELIEVED[1]:
        raise DataError(
            f"{name}: its header is in {WORDS[code]}, which makes voxels of {in_mm(sides)} mm; "
            f"{BELIEVED[0]:g} to {BELIEVED[1]:g} mm are believed: correct the unit (xyzt_units)"
        )
    return MM[code], f"its header is in {WORDS[code]}: converted to mm"


def _scaling(header: Nifti1Header) -> str:
    """What is to be said of a slope that is none; a slope of 0 is the standard's way to say so."""
    slope = float(header["scl_slope"])
    return "" if np.isfinite(slope) else f"its intensity slope is {slope:g}: none applied"
