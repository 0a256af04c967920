"""Signed distances in mm, negative inside, of the shapes that anatomy is made of.

Shapes: X Y Z space. Distances are right on the surface and approximate away from it, which is all that
partial volume needs.

Source: Quilez, "Distance functions" and "Smooth minimum", iquilezles.org, for the ellipsoid and for `join`;
Catmull and Rom 1974, "A class of local interpolating splines", for `smooth_path`.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mim3d.data.phantom_canvas import Array, Canvas, nearby
from mim3d.geometry import Vector

Points = NDArray[np.float64]
"""(N, 3) places in mm."""

_FAR = np.float32(1e3)


def ellipsoid(x: Array, y: Array, z: Array, radii: Vector) -> Array:
    """Distance to an ellipsoid about the origin."""
    a, b, c = (x / radii[0], y / radii[1], z / radii[2])
    unit = np.sqrt(a * a + b * b + c * c)
    slope = np.sqrt((a / radii[0]) ** 2 + (b / radii[1]) ** 2 + (c / radii[2]) ** 2)
    distance: Array = unit * (unit - 1) / np.maximum(slope, 1e-6)
    return distance


def ellipsoid_at(canvas: Canvas, centre: Vector, radii: Vector) -> Array:
    """Distance to an ellipsoid about `centre`, its axes along the canvas."""
    return ellipsoid(canvas.x - centre[0], canvas.y - centre[1], canvas.z - centre[2], radii)


def ellipse(x: Array, y: Array, radii: tuple[float, float]) -> Array:
    """Distance to an elliptic cylinder along the third axis."""
    a, b = x / radii[0], y / radii[1]
    unit = np.sqrt(a * a + b * b)
    slope = np.sqrt((a / radii[0]) ** 2 + (b / radii[1]) ** 2)
    distance: Array = unit * (unit - 1) / np.maximum(slope, 1e-6)
    return distance


def join(first: Array, second: Array, blend: float) -> Array:
    """Union, rounded over `blend` mm where the two meet."""
    share = np.clip(0.5 + 0.5 * (second - first) / blend, 0, 1)
    joined: Array = second + (first - second) * share - blend * share * (1 - share)
    return joined


def meet(first: Array, second: Array, blend: float) -> Array:
    """Intersection, rounded over `blend` mm."""
    return -join(-first, -second, blend)


def tube(canvas: Canvas, points: Points, radii: NDArray[np.float64]) -> Array:
    """Distance to a tube along a polyline (N, 3), whose radius (N,) changes linearly between points."""
    distance = np.full(canvas.x.shape, _FAR, np.float32)
    for number in range(len(points) - 1):
        _add_segment(canvas, distance, points[number : number + 2], radii[number : number + 2])
    return distance


def _add_segment(canvas: Canvas, distance: Array, ends: Points, radii: NDArray[np.float64]) -> None:
    """Lower `distance` by that to one segment, near it only."""
    margin = float(radii.max()) + 8
    lower, upper = (ends.min(0) - margin).tolist(), (ends.max(0) + margin).tolist()
    part = nearby(canvas, lower, upper)
    start, along = ends[0].astype(np.float32), (ends[1] - ends[0]).astype(np.float32)
    dx, dy, dz = (getattr(canvas, name)[part] - s for name, s in zip("xyz", start, strict=True))
    length = max(float(along @ along), 1e-6)
    t = np.clip((dx * along[0] + dy * along[1] + dz * along[2]) / np.float32(length), 0, 1)
    away = (dx - t * along[0]) ** 2 + (dy - t * along[1]) ** 2 + (dz - t * along[2]) ** 2
    radius = np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])
    np.minimum(distance[part], np.sqrt(away) - radius, out=distance[part])


def smooth_path(corners: Points, num_points: int) -> Points:
    """A Catmull-Rom curve through `corners` (N, 3), sampled at `num_points` places, (num_points, 3)."""
    padded = np.concatenate([2 * corners[:1] - corners[1:2], corners, 2 * corners[-1:] - corners[-2:-1]])
    place = np.linspace(0, len(corners) - 1, num_points)
    first = np.minimum(place.astype(int), len(corners) - 2)
    t = (place - first)[:, None]
    a, b, c, d = (padded[first + shift] for shift in range(4))
    curve: Points = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return curve


def wandering_path(
    rng: Generator, start: Points, centre: Vector, radii: Vector, num_points: int, step: float
) -> Points:
    """A smooth random walk of `step` mm a point that stays in an ellipsoid, (num_points, 3)."""
    place, heading = start.astype(float), rng.standard_normal(3)
    middle, half = np.array(centre), np.array(radii)
    points = [place]
    for _ in range(num_points - 1):
        inward = (middle - place) / half
        pull = max(0.0, float(np.linalg.norm(inward)) - 0.55) * 2.5
        heading = heading / np.linalg.norm(heading) + 0.55 * rng.standard_normal(3) + pull * inward
        place = place + step * heading / np.linalg.norm(heading)
        points.append(place)
    return np.array(points)
