"""The trunk of a phantom: table, wall, ribs, spine, diaphragm, lungs, heart and great vessels.

Shapes: X Y Z space. Lengths are mm of the standard torso (see phantom_canvas), axes RAS+.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from mim3d.data.phantom_canvas import WARP, Array, Canvas, Tissue, Tissues, around, crop, jitter, paint
from mim3d.data.phantom_shapes import (
    ellipse,
    ellipsoid,
    ellipsoid_at,
    join,
    meet,
    smooth_path,
    tube,
)
from mim3d.data.phantom_tissue import STRUCTURES
from mim3d.geometry import Vector


@dataclass(frozen=True, slots=True)
class Build:
    """The size of a patient, mm."""

    width: float
    """Half the width of the trunk."""
    depth: float
    """Half the depth of the trunk."""
    fat: float
    """Thickness of the fat under the skin."""
    muscle: float
    """Thickness of the wall within the fat."""
    curve: float
    """How far the small of the back is bent forward."""
    tilt: float
    """Descent of the ribs from back to front, mm a mm."""


def sample_build(rng: Generator) -> Build:
    """A random patient."""
    return Build(
        width=around(rng, 126, 0.07),
        depth=around(rng, 97, 0.06),
        fat=rng.uniform(5, 20),
        muscle=around(rng, 11, 0.2),
        curve=around(rng, 7, 0.6),
        tilt=around(rng, 0.42, 0.2),
    )


def draw_torso(canvas: Canvas, rng: Generator, build: Build, tissues: Tissues) -> Canvas:
    """Draw all but the great vessels and the abdomen; the canvas returned knows cavity and diaphragm."""
    draw_table(canvas, build, tissues)
    depth = draw_wall(canvas, build, tissues)
    thickness = fat_thickness(canvas, build) + build.muscle
    canvas = replace(canvas, cavity=np.maximum(thickness, 9) - depth, above=above_diaphragm(canvas, rng))
    paint(canvas, canvas.cavity, tissues["fat"])
    draw_ribs(canvas, rng, build, tissues)
    draw_chest(canvas, rng, tissues)
    draw_spine(canvas, rng, build, tissues)
    return canvas


def draw_table(canvas: Canvas, build: Build, tissues: Tissues) -> None:
    """A curved table top of carbon over foam, under the patient."""
    x, y = canvas.axes[0][:, None, None], canvas.axes[1][None, :, None]
    top = y + build.depth + 7 - 0.0014 * x * x + 0 * canvas.hu
    inside = np.maximum(top, -18 - top)
    across = np.maximum(inside, np.abs(x) - 130)
    paint(canvas, across, tissues["table"])
    paint(canvas, np.maximum(across + 3, 0.5 - canvas.voxel * 0.5), Tissue(-920, 3))


def draw_wall(canvas: Canvas, build: Build, tissues: Tissues) -> Array:
    """Skin, fat and muscle; gives the depth under the skin, mm."""
    height = canvas.axes[2]
    waist = 1 - 0.07 * np.exp(-(((height + 50) / 50) ** 2)) - 0.05 * np.clip((height - 70) / 74, 0, 1)
    across, along = canvas.x * canvas.x, canvas.y * canvas.y
    x, y = across / (build.width * waist) ** 2, along / (build.depth * (0.3 + 0.7 * waist)) ** 2
    unit = 0.5 * np.sqrt(x + y) + 0.5 * np.sqrt(np.sqrt(x * x + y * y))
    furrow = np.where(canvas.y < 0, 4 / (1 + across * across / 14**4), 0)
    length = np.sqrt(across + along)
    depth: Array = length / np.maximum(unit, 1e-3) - length - furrow
    paint(canvas, -depth, tissues["skin"])
    paint(canvas, 2.0 - depth, tissues["fat"])
    outer = fat_thickness(canvas, build)
    paint(canvas, np.maximum(outer, 3) - depth, tissues["muscle"])
    planes = np.abs(depth - outer - 0.45 * build.muscle) - 0.7
    paint(canvas, np.maximum(planes, canvas.above + 20), tissues["fat"])
    return depth


def fat_thickness(canvas: Canvas, build: Build) -> Array:
    """Fat under the skin, mm: it varies slowly, as displacement does, and a little from place to place."""
    slow = (canvas.z - canvas.axes[2]) / WARP
    thickness: Array = build.fat * (1 + 0.18 * slow + 0.08 * canvas.coarse)
    return thickness


def above_diaphragm(canvas: Canvas, rng: Generator) -> Array:
    """Height above the two domes of the diaphragm, mm."""
    lift = rng.uniform(-8, 8)
    right = _dome(canvas, 56, 50 + lift)
    left = _dome(canvas, -56, 41 + lift + rng.uniform(-4, 4))
    middle = np.minimum(34 + lift - 0.004 * (canvas.y - 15) ** 2, 60)
    surface = -join(join(-right, -left, 12), -middle, 12)
    height: Array = canvas.z - np.maximum(surface, -45)
    return height


def _dome(canvas: Canvas, x: float, top: float) -> Array:
    """Height of one dome, mm."""
    surface: Array = top - 0.009 * (canvas.x - x) ** 2 - 0.0085 * (canvas.y - 8) ** 2
    return surface


def draw_ribs(canvas: Canvas, rng: Generator, build: Build, tissues: Tissues) -> None:
    """Oblique hoops in the wall, gristle in front, and the breastbone."""
    pitch = around(rng, 24, 0.08)
    phase = canvas.z + build.tilt * canvas.y + 0.05 * np.abs(canvas.x) + rng.uniform(0, pitch)
    along = (phase + pitch / 2) % pitch - pitch / 2
    middle = np.abs(canvas.cavity - 0.5 * build.muscle)
    ribs = np.sqrt((along / 1.25) ** 2 + middle**2) - 3.4
    margin = canvas.z + 34 - 0.55 * np.maximum(canvas.y + 20, 0) + 0.25 * np.abs(canvas.x)
    ribs = np.maximum(ribs, -margin)
    front = np.maximum(ribs, 62 - canvas.y - 0.12 * np.abs(canvas.x))
    paint(canvas, ribs, tissues["cortex"])
    paint(canvas, ribs + 1.8, tissues["marrow"])
    paint(canvas, front, tissues["cartilage"])
    breastbone = np.maximum(np.abs(canvas.x) - 15, np.maximum(middle - 4.5, 48 - canvas.z))
    breastbone = np.maximum(breastbone, -canvas.y)
    paint(canvas, breastbone, tissues["cortex"])
    paint(canvas, breastbone + 2, tissues["marrow"])


def draw_chest(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """Lungs with their vessels and airways, diaphragm, and the heart in its fat."""
    chest = crop(canvas, (-144, -120, -50), (144, 120, 150))
    place = jitter(rng, (-22, 22, 66), 5)
    size = around(rng, 1, 0.1)
    heart = _heart(chest, place, size)
    centre = ellipse(chest.x + 4, chest.y + 8, (around(rng, 21, 0.15), 74))
    middle = join(centre + 2 * chest.coarse, heart - 4, 10)
    sheet = np.maximum(np.abs(chest.above) - 1.7, chest.cavity)
    paint(chest, sheet, tissues["muscle"])
    lungs = meet(meet(chest.cavity + 1.2, 2.5 - chest.above, 8), -middle, 10)
    paint(chest, lungs, tissues["lung"], STRUCTURES["lungs"])
    gravity = np.clip(-lungs / 4, 0, 1) * (-0.35 * chest.y + 14 * chest.coarse)
    chest.hu[...] += np.where(chest.labels == STRUCTURES["lungs"], gravity, 0)
    for side in (1, -1):
        _draw_lung_tree(chest, rng, side, tissues)
    _draw_heart(chest, place, size, tissues)
    _draw_airways(chest, tissues)


def _heart(canvas: Canvas, place: Vector, size: float) -> Array:
    """Distance to the heart: an egg whose point looks left, forward and down."""
    x, y, z = canvas.x - place[0], canvas.y - place[1], canvas.z - place[2]
    long = -0.72 * x + 0.42 * y - 0.55 * z
    wide = 0.5 * x + 0.86 * y
    high = np.sqrt(np.maximum(x * x + y * y + z * z - long * long - wide * wide, 0))
    return ellipsoid(long, wide, high, (46 * size, 35 * size, 34 * size)) + 1.2 * canvas.coarse


def _draw_heart(chest: Canvas, place: Vector, size: float, tissues: Tissues) -> None:
    """Muscle, and the blood of the chambers."""
    x, y, z = place
    canvas = crop(chest, (x - 50, y - 50, z - 50), (x + 50, y + 50, z + 50))
    heart = _heart(canvas, place, size)
    paint(canvas, np.maximum(heart, -canvas.above), tissues["myocardium"])
    chambers: list[tuple[Vector, Vector, str]] = [
        ((-14, 2, -6), (21, 16, 17), "blood"),
        ((4, 19, -7), (22, 9, 15), "lung vessel"),
        ((31, 3, 3), (12, 17, 20), "vein"),
        ((12, -20, 14), (22, 11, 15), "blood"),
    ]
    for offset, radii, tissue in chambers:
        x, y, z = (p + size * o for p, o in zip(place, offset, strict=True))
        room = ellipsoid_at(canvas, (x, y, z), radii)
        paint(canvas, meet(room, heart + 3, 4), tissues[tissue])


def _draw_airways(canvas: Canvas, tissues: Tissues) -> None:
    """Windpipe and main bronchi with their walls, and the gullet."""
    trunk = np.array([[0, -4, 160], [1, -8, 118]])
    branches = [np.array([[1, -8, 118], [side * 24, -10, 98], [side * 40, -10, 88]]) for side in (1, -1)]
    airway = tube(canvas, trunk, np.array([8.0, 7.5]))
    for branch in branches:
        airway = join(airway, tube(canvas, branch, np.array([6.5, 5.0, 3.5])), 3)
    outside = canvas.labels != STRUCTURES["lungs"]
    paint(canvas, np.where(outside, airway - 1.6, 100), tissues["muscle"])
    paint(canvas, airway, tissues["bronchus"])
    gullet = np.array([[-3, -19, 160], [-4, -20, 90], [-10, -12, 45], [-16, -6, 32]])
    paint(canvas, tube(canvas, gullet, np.full(4, 6.0)), tissues["muscle"])


def _draw_lung_tree(canvas: Canvas, rng: Generator, side: int, tissues: Tissues) -> None:
    """Vessels that fan out from the hilum and grow thinner."""
    root = np.array([side * 24.0, -6.0, 84.0])
    part = crop(canvas, (min(side * 105, 15), -95, -30), (max(side * 105, 15), 80, 150))
    tree = np.full(part.x.shape, 1e3, np.float32)
    for _ in range(8):
        tip = np.array([side * rng.uniform(45, 85), rng.uniform(-65, 50), rng.uniform(0, 150)])
        branch = smooth_path(np.array([root, 0.5 * (root + tip) + rng.normal(0, 9, 3), tip]), 6)
        np.minimum(tree, tube(part, branch, np.linspace(rng.uniform(3.5, 5.5), 1.4, 6)), out=tree)
        for start in branch[rng.integers(2, 6, 5)]:
            end = start + 0.3 * (tip - root) + rng.normal(0, 20, 3)
            twig = smooth_path(np.array([start, 0.5 * (start + end) + rng.normal(0, 4, 3), end]), 4)
            np.minimum(tree, tube(part, twig, np.linspace(1.8, 0.4, 4)), out=tree)
    inside = part.labels == STRUCTURES["lungs"]
    paint(part, np.where(inside, tree, 100), tissues["lung vessel"], STRUCTURES["lungs"])


def draw_spine(canvas: Canvas, rng: Generator, build: Build, tissues: Tissues) -> None:
    """Vertebrae with arches and processes, discs, canal, and the muscles of the back."""
    column = crop(canvas, (-70, -100, -150), (70, 10, 150))
    x = column.x - rng.uniform(-4, 4) * np.sin(column.z / around(rng, 70, 0.2))
    y = column.y + 37 - build.curve * np.sin((column.z + 140) / 288 * 2 * np.pi)
    pitch = around(rng, 28, 0.06)
    w = (column.z + rng.uniform(0, pitch)) % pitch - pitch / 2
    size = 1.0 - 0.0011 * column.z
    _draw_back(column, x, y, build, tissues)
    body = ellipse(x / size, y / size, (19.0, 14.5)) + 1.2 * np.cos(2 * np.pi * w / pitch)
    label = STRUCTURES["spine"]
    paint(column, body, tissues["disc"], label)
    bone = meet(body, np.abs(w) - (pitch / 2 - 2.8), 3)
    arch = _arch(x / size, y / size, w)
    for tissue, inset in (("cortex", 0.0), ("marrow", 1.9)):
        paint(column, np.minimum(bone, arch) + inset, tissues[tissue], label)
    paint(column, ellipse(x, y + 22 * size, (9.0, 7.0)), tissues["canal"])


def _arch(x: Array, y: Array, w: Array) -> Array:
    """Distance to lamina, spinous and transverse processes, about the middle of the body."""
    ring = np.abs(ellipse(x, y + 22, (11.5, 9.5))) - 2.8
    ring = np.maximum(ring, np.abs(w) - 9)
    spinous = np.maximum(
        np.abs(x) - 2.8, np.maximum(np.abs(y + 39) - 8, np.abs(w + 0.3 * (-y - 32) + 3) - 6.5)
    )
    transverse = ellipsoid(np.abs(x) - 20, y + 21, w - 2, (19, 4.5, 5.5))
    arch: Array = np.minimum(np.minimum(ring, spinous), transverse)
    return arch


def _draw_back(canvas: Canvas, x: Array, y: Array, build: Build, tissues: Tissues) -> None:
    """Columns of muscle behind the spine, and the psoas beside it."""
    side = np.abs(x)
    long = np.minimum(ellipse(side - 22, y + 38, (20, 17)), np.maximum(side - 30, np.abs(y + 33) - 14))
    behind = np.maximum(long, canvas.cavity - build.muscle)
    paint(canvas, behind - 2, tissues["fat"])
    paint(canvas, behind, tissues["muscle"])
    growth = np.clip((10 - canvas.z) / 110, 0, 1)
    psoas = ellipse(side - 24 - 5 * growth, y + 4, (14, 15)) + 14 * (1 - growth)
    paint(canvas, psoas, tissues["muscle"])


def draw_great_vessels(canvas: Canvas, rng: Generator, build: Build, tissues: Tissues) -> None:
    """The aorta with its arch, before and left of the spine, and the lower caval vein on its right."""
    x, y = rng.uniform(-10, -4), -13 + rng.uniform(-2, 3)
    bend = build.curve * np.sin((np.array([80.0, 20, -40, -90, -150]) + 140) / 288 * 2 * np.pi)
    down = [[x - 6, y - 8, 80], [x - 2, y - 1, 20], [x, y, -40], [x + 2, y + 2, -90], [x + 4, y, -150]]
    path = np.array(down, dtype=float) + np.array([0, 3, 0])
    path[:, 1] += bend * np.array([0.3, 1, 1, 1, 1])
    arch = [[0, 14, 78], [8, 26, 100], [6, 16, 122], [-8, -6, 130], [x - 8, y - 12, 112]]
    points = smooth_path(np.concatenate([np.array(arch), path]), 28)
    radius = np.linspace(around(rng, 13.5, 0.12), around(rng, 8.5, 0.12), 28)
    vein = path[1:] + np.array([22, 5, 0])
    vein[0] = [22, 14, 40]
    canvas = crop(canvas, (-60, -70, -150), (60, 60, 150))
    paint(canvas, tube(canvas, smooth_path(vein, 12), np.linspace(11, 9, 12)), tissues["vein"])
    aorta = tube(canvas, points, radius)
    paint(canvas, np.maximum(aorta - 2.5, canvas.above + 3), tissues["fat"])
    paint(canvas, aorta, tissues["aorta"], STRUCTURES["aorta"])
