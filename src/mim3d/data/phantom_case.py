"""One random labelled CT-like patient: what is drawn, in which order, and what the scanner adds.

A case is a function of its number and the options, seed among them, and of nothing else. Shapes: X Y Z space.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from mim3d.data.phantom_abdomen import draw_bowel, draw_organs
from mim3d.data.phantom_canvas import Array, Canvas, blank_canvas, smooth_field
from mim3d.data.phantom_lesions import draw_cysts, draw_lesions
from mim3d.data.phantom_tissue import STRUCTURES, Plan, plan_case, sample_tissues, stream
from mim3d.data.phantom_torso import draw_great_vessels, draw_torso, sample_build
from mim3d.errors import DataError
from mim3d.geometry import Triple

REVISION = 1
"""Rises when the same seed gives other patients than before."""
MIN_VOXELS = 32
"""Least number of voxels per axis: coarser, and organs vanish."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomOptions:
    """What all patients of a cohort share."""

    seed: int = 0
    """Of everything that is random."""
    shape: Triple = (96, 96, 96)
    """Voxels; the torso fills them whatever the spacing."""
    spacing: float = 3.0
    """Side of a voxel, mm."""
    lesions: bool = True
    """Draw lesions in three of four patients; without, everybody is healthy."""
    separate_kidneys: bool = False
    """Label right and left kidney apart."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DataError(f"seed must be 0 or more, got {self.seed}")
        if min(self.shape) < MIN_VOXELS:
            raise DataError(
                f"shape must be at least {MIN_VOXELS} voxels on every axis, or organs vanish, "
                f"got {self.shape}"
            )
        if not 0 < self.spacing < np.inf:
            raise DataError(f"spacing must be a positive number of mm, got {self.spacing}")


@dataclass(frozen=True, eq=False, slots=True)
class Phantom:
    """One patient."""

    hu: NDArray[np.int16]
    """(X, Y, Z), HU."""
    labels: NDArray[np.uint8]
    """(X, Y, Z), values of `structures`."""
    affine: NDArray[np.float64]
    """(4, 4), voxels to RAS+ mm."""
    plan: Plan
    """Phase and disease."""


def structures(*, separate_kidneys: bool = False) -> dict[str, int]:
    """Names of the structures and their labels, from 1 on; 0 is background."""
    names: list[str] = []
    for name in STRUCTURES:
        merged = name if separate_kidneys else name.replace("right_", "").replace("left_", "")
        names.append("kidneys" if merged == "kidney" else merged)
    return {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}


def draw_phantom(index: int, options: PhantomOptions) -> Phantom:
    """Draw patient number `index`."""
    plan = plan_case(options.seed, index, lesions=options.lesions)
    tissues = sample_tissues(stream(options.seed, index, "tissues"), plan.phase)
    anatomy = stream(options.seed, index, "anatomy")
    build = sample_build(anatomy)
    canvas = blank_canvas(anatomy, options.shape, options.spacing)
    canvas = draw_torso(canvas, anatomy, build, tissues)
    draw_bowel(canvas, anatomy, tissues)
    draw_great_vessels(canvas, anatomy, build, tissues)
    draw_organs(canvas, anatomy, tissues)
    lesions = stream(options.seed, index, "lesions")
    draw_cysts(canvas, lesions, tissues)
    if plan.disease != "healthy":
        draw_lesions(canvas, lesions, plan.disease, tissues)
    hu = add_noise(canvas, stream(options.seed, index, "noise"))
    return Phantom(hu, _written_labels(canvas.labels, options), _affine(options), plan)


def add_noise(canvas: Canvas, rng: Generator) -> NDArray[np.int16]:
    """What the scanner adds: noise that is correlated and stronger in the middle, and a slow drift, HU."""
    body = (canvas.hu > -300).mean()
    level = rng.uniform(7, 22)
    sharpness = rng.uniform(0.45, 0.8)
    noise = rng.standard_normal(canvas.hu.shape, dtype=np.float32)
    noise = cast("Array", ndimage.gaussian_filter(noise, sharpness, truncate=3, mode="wrap"))
    x, y = canvas.axes[0][:, None, None] / 120, canvas.axes[1][None, :, None] / 90
    strength = level / float(noise.std()) * (0.55 + 0.6 * np.exp(-(x * x + y * y)))
    drift = 4 * float(body) * smooth_field(rng, canvas.axes, 60.0)
    total = np.rint(canvas.hu + strength * noise + drift)
    return np.clip(total, -1024, 3071).astype(np.int16)


def _written_labels(drawn: NDArray[np.uint8], options: PhantomOptions) -> NDArray[np.uint8]:
    """Drawn labels as they are written: both kidneys one structure unless told otherwise."""
    written = structures(separate_kidneys=options.separate_kidneys)
    table = [0] + [written.get(name, written.get("kidneys", 0)) for name in STRUCTURES]
    return np.array(table, np.uint8)[drawn]


def _affine(options: PhantomOptions) -> NDArray[np.float64]:
    """The middle of the volume is the origin."""
    affine = np.diag([options.spacing] * 3 + [1.0])
    affine[:3, 3] = [-(n - 1) / 2 * options.spacing for n in options.shape]
    return affine
