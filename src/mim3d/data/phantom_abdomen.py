"""The organs of a phantom below the diaphragm, drawn one over the other from back to front.

Shapes: X Y Z space. Lengths are mm of the standard torso (see phantom_canvas), axes RAS+.
"""

import math

import numpy as np
from numpy.random import Generator

from mim3d.data.phantom_canvas import Array, Canvas, Tissue, Tissues, around, crop, jitter, paint
from mim3d.data.phantom_shapes import (
    ellipsoid,
    ellipsoid_at,
    join,
    meet,
    smooth_path,
    tube,
    wandering_path,
)
from mim3d.data.phantom_tissue import STRUCTURES
from mim3d.geometry import Vector


def draw_bowel(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """Draw small and large bowel: to be drawn before the great vessels."""
    abdomen = crop(canvas, (-144, -110, -150), (144, 110, 70))
    draw_small_bowel(abdomen, rng, tissues)
    draw_colon(abdomen, rng, tissues)


def draw_organs(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """Draw the other organs of the abdomen; later ones displace earlier ones."""
    abdomen = crop(canvas, (-144, -110, -150), (144, 110, 70))
    draw_pancreas(abdomen, rng, tissues)
    draw_liver(abdomen, rng, tissues)
    draw_stomach(abdomen, rng, tissues)
    draw_spleen(abdomen, rng, tissues)
    for side in (1, -1):
        draw_kidney(abdomen, rng, side, tissues)


def _fit(canvas: Canvas, distance: Array) -> Array:
    """Keep an organ within the cavity and under the diaphragm."""
    return meet(distance, np.maximum(canvas.cavity + 2, canvas.above + 3), 6)


def _paint_in_fat(canvas: Canvas, distance: Array, margin: float, tissues: Tissues) -> None:
    """Clear a margin of fat around what is drawn next, mm."""
    paint(canvas, np.maximum(distance - margin, np.maximum(canvas.cavity, canvas.above + 2)), tissues["fat"])


def draw_small_bowel(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """Loops that wander through the middle; some are filled, some look like solid organs."""
    part = crop(canvas, (-95, -45, -150), (95, 85, 15))
    centre, radii = (0.0, 28.0, -88.0), (84.0, 46.0, 66.0)
    for _ in range(rng.integers(7, 13)):
        start = np.array(centre) + np.array(radii) * rng.uniform(-0.6, 0.6, 3)
        points = smooth_path(wandering_path(rng, start, centre, radii, 14, 18.0), 40)
        floor = -1 - part.y - 0.1 * np.abs(part.x)
        radius = around(rng, 10.5, 0.25) * (1 + 0.12 * rng.standard_normal(40))
        lumen = rng.choice(["bowel fluid", "bowel wall", "stomach content"], p=[0.35, 0.4, 0.25])
        inside = Tissue(float(rng.uniform(120, 260)), 12) if rng.random() < 0.12 else tissues[str(lumen)]
        level = float(np.quantile(points[:, 1], rng.uniform(0.6, 1))) + 3
        draw_gut(part, meet(_fit(part, tube(part, points, radius)), floor, 5), 2.2, level, (tissues, inside))


def draw_gut(
    canvas: Canvas, distance: Array, wall: float, level: float, filling: tuple[Tissues, Tissue]
) -> None:
    """A hollow tube: wall of `wall` mm, its filling up to the `level` (mm from back to front), gas above."""
    tissues, inside = filling
    label = STRUCTURES["bowel"]
    _paint_in_fat(canvas, distance, 1.2, tissues)
    paint(canvas, distance, tissues["bowel wall"], label)
    paint(canvas, distance + wall, inside, label)
    gas = np.maximum(distance + wall, level - canvas.axes[1][None, :, None])
    paint(canvas, gas, tissues["gas"], label)


def draw_colon(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """The frame of the large bowel, with stool and gas: up on the right, across, down on the left."""
    sag = rng.uniform(-25, 10)
    corners = [
        (66, 12, -150), (70, 6, -112), (72, 4, -72), (62, 34, -46), (28, 62, -52 + sag),
        (-18, 64, -50 + sag), (-54, 48, -28), (-78, 4, -8), (-80, -8, -60), (-76, 0, -112), (-62, 10, -150),
    ]  # fmt: skip
    moved = np.array([jitter(rng, corner, 5) for corner in corners])
    points = smooth_path(moved, 90)
    pouches = 1 + 0.14 * np.sin(np.arange(90) * around(rng, 1.6, 0.1))
    calibre = np.interp(np.linspace(0, 1, 90), [0, 0.2, 0.5, 0.7, 1], [19, 17, 14, 11, 11])
    distance = tube(canvas, points, calibre * pouches * around(rng, 1, 0.15))
    level = float(np.quantile(points[:, 1], rng.uniform(0.55, 0.95)))
    inside = tissues["stool"] if rng.random() < 0.7 else tissues["bowel fluid"]
    draw_gut(canvas, _fit(canvas, distance), 2.4, level, (tissues, inside))


def draw_pancreas(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """A lobed band in front of the great vessels; no structure of its own, but it looks like one."""
    corners = [(26, 6, -44), (22, 14, -26), (0, 20, -14), (-28, 4, -8), (-56, -20, 0)]
    points = smooth_path(np.array([jitter(rng, corner, 4) for corner in corners]), 24)
    radius = np.linspace(11, 7, 24) * (1 + 0.15 * rng.standard_normal(24))
    distance = _fit(canvas, tube(canvas, points, radius) + 1.5 * canvas.fine)
    _paint_in_fat(canvas, distance, 3, tissues)
    paint(canvas, distance, tissues["pancreas"])
    vein = points[4:] + np.array([0, -9, 1])
    paint(canvas, tube(canvas, vein, np.full(len(vein), 4.5)), tissues["vein"])


def draw_liver(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """Two lobes pressed against dome and wall, hollow below, with vessels and the gallbladder."""
    part = crop(canvas, (-70, -100, -105), (144, 105, 70))
    size = around(rng, 1, 0.09)
    right = ellipsoid_at(part, jitter(rng, (60, 0, 2), 5), (58 * size, 74 * size, around(rng, 60, 0.15)))
    left = ellipsoid_at(part, jitter(rng, (2, 36, 22), 7), (around(rng, 56, 0.2), 34 * size, 26 * size))
    hollow = ellipsoid_at(part, jitter(rng, (4, 0, -40), 5), (50, 50, 48))
    liver = meet(join(right, left, 16), -hollow, 10) + 1.8 * part.coarse
    liver = _fit(part, liver)
    _paint_in_fat(part, liver, 1.0, tissues)
    paint(part, liver, tissues["liver"], STRUCTURES["liver"])
    _draw_liver_vessels(part, rng, liver, tissues)
    bile = ellipsoid_at(part, jitter(rng, (38, 38, -30), 6), (11, 14, around(rng, 18, 0.3)))
    paint(part, _fit(part, bile - 1.2), tissues["bowel wall"])
    paint(part, _fit(part, bile), tissues["gallbladder"])


def _draw_liver_vessels(canvas: Canvas, rng: Generator, liver: Array, tissues: Tissues) -> None:
    """Portal branches from the hilum and hepatic veins to the caval vein; part of the liver."""
    tree = np.full(canvas.x.shape, 1e3, np.float32)
    for root, count in ((np.array([24.0, 4, 0]), 9), (np.array([20.0, -4, 42]), 6)):
        for _ in range(count):
            tip = np.array([rng.uniform(10, 100), rng.uniform(-55, 60), rng.uniform(-35, 40)])
            path = smooth_path(np.array([root, 0.5 * (root + tip) + rng.normal(0, 8, 3), tip]), 6)
            np.minimum(tree, tube(canvas, path, np.linspace(rng.uniform(3.5, 5.5), 1.2, 6)), out=tree)
    paint(canvas, np.maximum(tree, liver + 3), tissues["liver vessel"], STRUCTURES["liver"])


def draw_spleen(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """A bowl in the left back corner under the dome."""
    part = crop(canvas, (-144, -110, -70), (-20, 60, 70))
    place = jitter(rng, (-82, -38, 6), 5)
    outer = ellipsoid_at(part, place, (around(rng, 38, 0.12), around(rng, 50, 0.12), around(rng, 48, 0.15)))
    inner = ellipsoid_at(part, (place[0] + 44, place[1] + 32, place[2] + 2), (38, 44, 54))
    spleen = _fit(part, meet(outer, -inner, 6) + 1.8 * part.coarse)
    _paint_in_fat(part, spleen, 2, tissues)
    paint(part, spleen, tissues["spleen"], STRUCTURES["spleen"])


def draw_stomach(canvas: Canvas, rng: Generator, tissues: Tissues) -> None:
    """A bag from the left dome to the midline in front: wall, content, and gas that lies on top."""
    fill = around(rng, 1, 0.22)
    corners = [(-14, -6, 34), (-42, -18, 32), (-54, 6, 18), (-46, 34, -4), (-18, 46, -22), (12, 38, -22)]
    points = smooth_path(np.array([jitter(rng, corner, 4) for corner in corners]), 26)
    calibre = np.interp(np.linspace(0, 1, 26), [0, 0.22, 0.45, 0.7, 0.9, 1], [9, 25, 25, 20, 15, 10])
    distance = _fit(canvas, tube(canvas, points, calibre * fill) + canvas.coarse)
    label = STRUCTURES["stomach"]
    _paint_in_fat(canvas, distance, 2, tissues)
    paint(canvas, distance, tissues["stomach wall"], label)
    content = distance + rng.uniform(2.5, 5)
    paint(canvas, content, tissues["stomach content"], label)
    level = float(np.interp(rng.uniform(0, 1), [0, 1], [5, 45]))
    gas = np.maximum(content, level - canvas.axes[1][None, :, None])
    paint(canvas, gas, tissues["gas"], label)


def draw_kidney(canvas: Canvas, rng: Generator, side: int, tissues: Tissues) -> None:
    """A bean in its capsule of fat: cortex, pyramids, and a sinus of fat and urine."""
    place = jitter(rng, (side * 52, -44, -50 if side > 0 else -38), 5)
    part = crop(canvas, *_span(place, (45, 40, 60)))
    size = around(rng, 1, 0.13)
    x, y, z = side * (part.x - place[0]), part.y - place[1], part.z - place[2]
    tilt, turn = rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.6)
    out, front = x + tilt * z + 0.0055 * z * z, y + tilt * 0.6 * z
    out, front = out * math.cos(turn) - front * math.sin(turn), out * math.sin(turn) + front * math.cos(turn)
    kidney = ellipsoid(out, front, z, (22 * size, 19 * size, around(rng, 40, 0.12) * size)) + part.coarse
    sinus = ellipsoid(out + 15 * size, front, z, (15 * size, 8 * size, 17 * size)) + 1.5 * part.coarse
    name = "right_kidney" if side > 0 else "left_kidney"
    _paint_in_fat(part, kidney, rng.uniform(3, 8), tissues)
    paint(part, kidney, tissues["renal cortex"], STRUCTURES[name])
    pyramids = np.maximum(kidney + 6.5, 1.5 - 4.5 * np.abs(np.sin(z / 6 + 0.08 * front)))
    paint(part, pyramids, tissues["medulla"], STRUCTURES[name])
    paint(part, sinus, tissues["fat"])
    paint(part, np.maximum(sinus + 4, kidney - 6), tissues["renal pelvis"])


def _span(place: Vector, radii: Vector) -> tuple[Vector, Vector]:
    """Lower and upper corner of the box about `place`, mm."""
    lower = (place[0] - radii[0], place[1] - radii[1], place[2] - radii[2])
    return lower, (place[0] + radii[0], place[1] + radii[1], place[2] + radii[2])
