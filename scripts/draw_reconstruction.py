"""Draw the README's picture: the nested crops of a pre-training run, coronal, as one PNG.

.venv/bin/python scripts/draw_reconstruction.py RUN docs/images/reconstruction.png
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mim3d.data.planes import AXIS, Plane, display_box, display_plane
from mim3d.reporting.snapshots import LevelPicture, read_reconstruction

PLANE: Plane = "coronal"
COLUMNS = ("the crop", "what the encoder saw", "reconstruction")
OUTLINE = "#f0a000"
HIDDEN = np.array([0.35, 0.4, 0.5])


def main(run: Path, out: Path) -> None:
    """Write the picture of a run."""
    found = read_reconstruction(run / "pictures" / "reconstruction.safetensors")
    if found is None:
        sys.exit(f"{run}: no pictures/reconstruction.safetensors; name a finished pre-training run")
    figure = Figure(figsize=(7.2, 7.4), dpi=110, layout="constrained")
    axes = figure.subplots(len(found.levels), 3)
    for row, picture in enumerate(found.levels):
        draw(axes[row], row, picture)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def draw(axes: NDArray[np.object_], number: int, picture: LevelPicture) -> None:
    """One level: three panels of the plane through the middle of its child, or of the crop."""
    box, axis = picture.child, AXIS[PLANE]
    shape = picture.crop.shape
    index = shape[axis] // 2 if box is None else int(box.start[axis] + box.size[axis] / 2)
    side = [s // g for s, g in zip(shape, picture.masked.shape, strict=True)]
    masked = np.kron(picture.masked, np.ones(side, dtype=bool))
    window = np.percentile(picture.crop, [1, 99.5])
    images = [grey(display_plane(volume, PLANE, index), window) for volume in (picture.crop, picture.crop)]
    images[1] = np.where(display_plane(masked, PLANE, index)[..., None], HIDDEN, images[1])
    images.append(grey(display_plane(picture.reconstruction, PLANE, index), window))
    for axis_, image, title in zip(axes, images, COLUMNS, strict=True):
        axis_.imshow(image, interpolation="nearest")
        axis_.set_xticks([])
        axis_.set_yticks([])
        axis_.set_title(title if number == 0 else "", fontsize=10)
        if box is not None:
            top, left, height, width = display_box(box, shape, PLANE)
            corner = (left - 0.5, top - 0.5)
            axis_.add_patch(Rectangle(corner, width, height, fill=False, color=OUTLINE, linewidth=1.6))
    extent = " x ".join(f"{s * mm:.0f}" for s, mm in zip(shape, picture.voxel_mm, strict=True))
    axes[0].set_ylabel(f"level {number}\n{extent} mm", fontsize=9)


def grey(plane: NDArray[Any], window: NDArray[Any]) -> NDArray[np.float64]:
    """Rows and columns as RGB, `window` stretched over black to white."""
    scaled = np.clip((plane - window[0]) / max(window[1] - window[0], 1e-6), 0, 1)
    return np.repeat(scaled[..., None], 3, axis=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
