"""The pictures that a run leaves in its folder, written: what `snapshots` reads.

Shapes: N crops of a level, L tokens, P voxels per patch, C channels; crops are (X, Y, Z) in RAS+.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from mim3d.config import Nesting
from mim3d.data.planes import AXIS, PLANES, display_plane
from mim3d.geometry import Box, Vector
from mim3d.model.mim import Mim
from mim3d.model.patches import index_of, patchify, unpatchify
from mim3d.objective.reconstruct import hidden_patches, scale_of
from mim3d.sampling.crops import LevelCrops


def write_reconstruction(
    path: Path, model: Mim, case: str, levels: tuple[LevelCrops, ...], nesting: Nesting, spacing: Vector
) -> None:
    """Write one chain of nested crops as the model sees and reconstructs them: a child, its child, ...

    Args:
        path: pictures/reconstruction.safetensors of a run.
        model: Where the reconstruction comes from.
        case: Name of the case.
        levels: A region, outermost level first.
        nesting: Its sizes.
        spacing: Of the working grid, mm.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    voxel_mm = []
    chain = brightest_chain(levels)
    for number, (level, row) in enumerate(zip(levels, chain, strict=True)):
        box, crops, masked = level.boxes[row], level.crops[row : row + 1], level.masked[row : row + 1]
        voxel = tuple(e / c for e, c in zip(box.size, nesting.crop, strict=True))
        voxel_mm.append([v * s for v, s in zip(voxel, spacing, strict=True)])
        arrays[f"level{number}/crop"] = crops[0, 0]
        arrays[f"level{number}/masked"] = masked[0]
        arrays[f"level{number}/reconstruction"] = reconstruct(model, crops, masked, nesting, number)
        if number + 1 < len(levels):
            child = levels[number + 1].boxes[chain[number + 1]]
            arrays[f"level{number}/child"] = _place(child, box, voxel)
    described = {"case": case, "patch": nesting.patch, "grid": nesting.grid, "voxel_mm": voxel_mm}
    _write(path, arrays, described)


def brightest_chain(levels: tuple[LevelCrops, ...]) -> list[int]:
    """A crop of each level, each a child of the one before: the one with the most to see, not air."""
    chain = [0]
    for level in levels[1:]:
        siblings = np.flatnonzero(level.parent == chain[-1])
        brightness = level.crops[siblings].mean(axis=(1, 2, 3, 4))
        chain.append(int(siblings[brightness.argmax()]))
    return chain


@torch.no_grad()
def reconstruct(
    model: Mim, crops: NDArray[np.float32], masked: NDArray[np.bool_], nesting: Nesting, level: int
) -> NDArray[np.float32]:
    """The first channel (X, Y, Z) of one crop (1, C, X, Y, Z) of a level, hidden patches as predicted.

    Standardised predictions are shown with the true mean and deviation of each patch.
    """
    weight = next(model.parameters())
    crop, rows = torch.from_numpy(crops).to(weight), torch.from_numpy(masked).to(weight.device)
    hidden = index_of(rows)
    predicted = model(crop, index_of(~rows), hidden, level).predicted  # (1, M, P * C)
    cubes = patchify(crop, nesting.patch)  # (1, L, x, y, z, C)
    target = nesting.levels[level].target
    patches = hidden_patches(crop, hidden, nesting.patch, target)  # (1, M, P, C)
    scale = scale_of(patches, target)
    shown: Tensor = predicted.reshape(patches.shape) * scale.deviation + scale.centre
    cubes[0, hidden[0]] = shown[0].reshape(-1, *cubes.shape[2:])
    whole: NDArray[np.float32] = unpatchify(cubes, nesting.grid)[0, 0].float().clamp(0, 1).cpu().numpy()
    return np.ascontiguousarray(whole)


def write_segmentation(
    path: Path,
    cases: list[tuple[str, float | None, Vector]],
    maps: list[dict[str, NDArray[np.generic]]],
    structures: tuple[str, ...],
    colours: tuple[str, ...],
) -> None:
    """Write three planes of each case: where the truth has most of its structures.

    Args:
        path: pictures/segmentation.safetensors of a run.
        cases: Name, mean Dice and spacing (mm) of each case.
        maps: `image` (X, Y, Z) in [0, 1], `truth` and `prediction` as ids, of each case.
        structures: Names of ids 1, 2, ...
        colours: #rrggbb, one per structure.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, volumes in enumerate(maps):
        for plane in PLANES:
            index = _fullest(volumes["truth"], AXIS[plane])
            for name, volume in volumes.items():
                arrays[f"{number}/{plane}/{name}"] = np.ascontiguousarray(display_plane(volume, plane, index))
    described = {
        "cases": [{"case": name, "dice": dice, "spacing_mm": list(mm)} for name, dice, mm in cases],
        "structures": structures,
        "colours": colours,
    }
    _write(path, arrays, described)


def _fullest(truth: NDArray[np.generic], axis: int) -> int:
    """Where across an axis of (X, Y, Z) most structures are seen, and most of each; else the middle."""
    others = tuple(other for other in range(3) if other != axis)
    seen = [(truth == value).any(axis=others) for value in np.unique(truth) if value != 0]
    if not seen:
        return int(truth.shape[axis]) // 2
    voxels = (truth != 0).sum(axis=others)
    return int(np.argmax(np.sum(seen, axis=0) * truth.size + voxels))


def _place(child: Box, parent: Box, voxel: tuple[float, ...]) -> NDArray[np.float32]:
    """Start and size (2, 3) of a child in its parent's crop, voxels of that crop."""
    start = [(a - b) / v for a, b, v in zip(child.start, parent.start, voxel, strict=True)]
    size = [s / v for s, v in zip(child.size, voxel, strict=True)]
    return np.array([start, size], dtype=np.float32)


def _write(path: Path, arrays: dict[str, NDArray[np.generic]], described: Mapping[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in described.items()
    }
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, aside, metadata)
    aside.rename(path)
