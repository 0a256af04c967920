"""The pictures that a run leaves in its folder, read into frozen values.

Shapes: crops are (X, Y, Z) in RAS+; planes are (R, K), rows and columns ready to show.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mim3d.data.planes import PLANES, Plane
from mim3d.errors import CheckpointError
from mim3d.geometry import Box, Triple, Vector, triple


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LevelPicture:
    """One crop of one level, before and after."""

    crop: NDArray[np.float32]
    """(X, Y, Z), intensities in [0, 1]."""
    masked: NDArray[np.bool_]
    """One per token, laid out as the grid of tokens; True = hidden from the encoder."""
    reconstruction: NDArray[np.float32]
    """(X, Y, Z), the prediction where hidden, the crop elsewhere."""
    child: Box | None
    """Where the next level's crop lies in this one, voxels of this crop; None for the innermost."""
    voxel_mm: Vector
    """Spacing of the crop's voxels, mm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """One region of one case through all levels, outermost first."""

    case: str
    patch: Triple
    """Voxels of one token."""
    levels: tuple[LevelPicture, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CasePicture:
    """Three planes of a case, ready to show: image in [0, 1], truth and prediction as ids."""

    case: str
    dice: float | None
    spacing: Vector | None
    """Of the voxels of the planes, mm; None where it is not known."""
    planes: dict[Plane, dict[str, NDArray[Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmentation:
    """Predictions of a fine-tuned run beside the truth."""

    structures: tuple[str, ...]
    """Names of ids 1, 2, ..."""
    colours: tuple[str, ...]
    """#rrggbb, one per structure."""
    cases: tuple[CasePicture, ...]
    """Worst Dice first."""


def unreadable(file: Path, error: Exception) -> CheckpointError:
    """The error for a file of a run folder that is damaged or of another version."""
    return CheckpointError(
        f"{file}: cannot be read ({type(error).__name__}: {error}); "
        "delete it to do without, or run the command that wrote it again"
    )


def read_tensors(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a safetensors file."""
    with safe_open(file, framework="numpy") as content:
        keys = content.keys()
        return {key: content.get_tensor(key) for key in keys}, content.metadata() or {}


def read_reconstruction(file: Path) -> Reconstruction | None:
    """The nested crops of a pre-training run; None if there is no such file."""
    if not file.is_file():
        return None
    try:
        arrays, metadata = read_tensors(file)
        grid, patch = json.loads(metadata["grid"]), json.loads(metadata["patch"])
        levels = tuple(
            level_picture(arrays, number, grid, spacing)
            for number, spacing in enumerate(json.loads(metadata["voxel_mm"]))
        )
        return Reconstruction(case=metadata["case"], patch=(patch[0], patch[1], patch[2]), levels=levels)
    except (SafetensorError, KeyError, IndexError, ValueError, TypeError) as error:
        raise unreadable(file, error) from error


def level_picture(
    arrays: dict[str, NDArray[Any]], number: int, grid: list[int], spacing: list[float]
) -> LevelPicture:
    """One level of a reconstruction; `spacing` in mm."""
    child = arrays.get(f"level{number}/child")
    return LevelPicture(
        crop=arrays[f"level{number}/crop"],
        masked=arrays[f"level{number}/masked"].reshape(grid),
        reconstruction=arrays[f"level{number}/reconstruction"],
        child=None if child is None else Box(triple(tuple(child[0])), triple(tuple(child[1]))),
        voxel_mm=triple(tuple(spacing)),
    )


def read_segmentation(file: Path, preprocessing: dict[str, Any]) -> Segmentation | None:
    """The overlays of a fine-tuned run; None if there is no such file."""
    if not file.is_file():
        return None
    try:
        arrays, metadata = read_tensors(file)
        cases = [
            case_picture(arrays, number, entry, preprocessing.get("spacing"))
            for number, entry in enumerate(json.loads(metadata["cases"]))
        ]
        return Segmentation(
            structures=tuple(json.loads(metadata["structures"])),
            colours=tuple(json.loads(metadata["colours"])),
            cases=tuple(sorted(cases, key=lambda case: -1.0 if case.dice is None else case.dice)),
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise unreadable(file, error) from error


def case_picture(
    arrays: dict[str, NDArray[Any]], number: int, entry: dict[str, Any], working: Any
) -> CasePicture:
    """One case of the overlays; `working` is the run's spacing in mm, used where the case states none."""
    spacing = entry.get("spacing_mm", working)
    planes = {
        plane: {part: arrays[f"{number}/{plane}/{part}"] for part in ("image", "truth", "prediction")}
        for plane in PLANES
    }
    return CasePicture(
        case=str(entry["case"]),
        dice=entry["dice"] if isinstance(entry.get("dice"), float) else None,
        spacing=triple(tuple(spacing)) if isinstance(spacing, list) else None,
        planes=planes,
    )
