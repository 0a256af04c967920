"""Pictures of a report: grey planes with outlines, as panels that a page draws as SVG.

Shapes: R rows and K columns of a plane, origin top left. A page scales pixels to mm. A grey
image is held once, however many panels draw it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mim3d.data.planes import AXIS, LETTERS, PLANES, Plane, display_box, display_plane, display_spacing
from mim3d.geometry import Box, Triple
from mim3d.reporting.drawing import area_path, bar_length, contour_path, png_uri, shrink, to_grey
from mim3d.reporting.snapshots import CasePicture, LevelPicture, Reconstruction

LARGEST_SIDE = 320
"""Larger planes are thinned to at most this many pixels a side, to keep the page small."""
LEVEL_COLOURS = ("#e8a200", "#2fb5c7", "#d65db1", "#7fb93f")
"""Of the outlines around children: level 1, 2, ...; a level's own panels are framed in the same colour."""

LEVEL_GAMMA = 1.7
"""Of the grey of pre-training's crops: in a wide window, organs differ in the upper part only."""

TIMES = " \N{MULTIPLICATION SIGN} "


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A path drawn over a plane."""

    path: str
    """SVG path, pixels of the plane."""
    fill: str = "none"
    """#rrggbb or none."""
    stroke: str = "none"
    """#rrggbb or none."""
    opacity: float = 1.0
    """Of the fill."""
    name: str = ""
    """Of what it outlines, told where a pointer rests on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One plane with what is drawn over it."""

    caption: str
    alt: str
    """What is seen, for those who do not see it."""
    image: str
    """Identifier of the grey image on the page."""
    data: str
    """The grey image itself as a data URI; empty where an earlier panel brought it."""
    size: tuple[int, int]
    """Height and width, pixels."""
    scale: tuple[float, float]
    """Height and width of a pixel, mm."""
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Panels of one plane side by side; the first carries letters and scale bar."""

    plane: Plane
    letters: tuple[str, str, str, str]
    """Top, bottom, left, right."""
    bar_mm: float | None
    """Length of the scale bar, mm; None if the spacing is not known."""
    width_mm: float
    """Of a panel."""
    bar_share: float
    """Length of the scale bar over the width of a panel."""
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """All planes of one level or one case."""

    title: str
    facts: tuple[str, ...]
    rows: tuple[Row, ...]
    frame: str = ""
    """Colour of the panels' frame, #rrggbb; empty for none."""
    remarks: tuple[str, ...] = ()
    """What is odd about it, worst first."""

    @property
    def shape(self) -> float:
        """Width of all rows side by side over the height of the highest, in mm."""
        sides = [(panel.size, panel.scale) for row in self.rows for panel in row.panels]
        width = sum(size[1] * scale[1] for size, scale in sides)
        return width / max(size[0] * scale[0] for size, scale in sides)

    @property
    def characters(self) -> int:
        """About how much of the page it takes."""
        panels = [panel for row in self.rows for panel in row.panels]
        return sum(len(panel.data) + sum(len(shape.path) for shape in panel.shapes) for panel in panels)


def affordable(blocks: Iterable[Block], characters: int) -> Iterator[Block]:
    """The first block, and further ones while all of them together take at most so many characters."""
    for number, block in enumerate(blocks):
        characters -= block.characters
        if number and characters < 0:
            return
        yield block


def make_row(plane: Plane, panels: Iterable[Panel], *, known_spacing: bool = True) -> Row:
    """Panels of one plane with letters and a scale bar."""
    panels = tuple(panels)
    width_mm = panels[0].size[1] * panels[0].scale[1]
    length = bar_length(width_mm)
    return Row(
        plane=plane,
        letters=LETTERS[plane],
        bar_mm=length if known_spacing else None,
        width_mm=width_mm,
        bar_share=length / width_mm,
        panels=panels,
    )


def level_blocks(reconstruction: Reconstruction, prefix: str) -> tuple[Block, ...]:
    """One block a level: original, what the encoder saw, reconstruction; `prefix` tells images apart."""
    return tuple(
        Block(
            title=f"Level {number}",
            facts=level_facts(level),
            rows=tuple(
                level_row(level, reconstruction.patch, plane, f"{prefix}-level{number}-{plane}", number)
                for plane in PLANES
            ),
            frame=LEVEL_COLOURS[(number - 1) % len(LEVEL_COLOURS)] if number else "",
        )
        for number, level in enumerate(reconstruction.levels)
    )


def level_facts(level: LevelPicture) -> tuple[str, ...]:
    """What a level looks at, in mm, and how much of it is hidden."""
    extent = TIMES.join(f"{n * mm:.0f}" for n, mm in zip(level.crop.shape, level.voxel_mm, strict=True))
    voxel = TIMES.join(f"{mm:.3g}" for mm in level.voxel_mm)
    if len(set(level.voxel_mm)) == 1:
        voxel = f"{level.voxel_mm[0]:.3g}"
    return (f"{extent} mm", f"voxels of {voxel} mm", f"{level.masked.mean():.0%} hidden from the encoder")


def level_row(level: LevelPicture, patch: Triple, plane: Plane, name: str, number: int) -> Row:
    """One plane of a level through the middle of its child, or of itself."""
    middle = level.child or Box((0.0, 0.0, 0.0), _shape(level.crop))
    axis = AXIS[plane]
    index = min(max(int(middle.start[axis] + middle.size[axis] / 2), 0), level.crop.shape[axis] - 1)
    low, high = np.percentile(level.crop, (0.5, 99.8))
    original, predicted = (
        to_grey(display_plane(volume, plane, index), low, high + 0.1 * (high - low), gamma=LEVEL_GAMMA)
        for volume in (level.crop, level.reconstruction)
    )
    hidden = display_plane(level.masked, plane, index // patch[axis])
    shade = Shape(path=area_path(hidden, *_patch_size(patch, plane)), fill="var(--hidden)")
    child = child_shapes(level, plane, number)
    scale = display_spacing(level.voxel_mm, plane)
    what = f"level {number}, {plane} plane"

    def panel(caption: str, image: str, data: str, shapes: tuple[Shape, ...]) -> Panel:
        alt = f"{caption}, {what}"
        return Panel(
            caption=caption, alt=alt, image=image, data=data, size=_size(original), scale=scale, shapes=shapes
        )

    return make_row(
        plane,
        (
            panel("original", f"{name}-o", png_uri(original), child),
            panel("what the encoder saw", f"{name}-o", "", (shade, *child)),
            panel("reconstruction", f"{name}-r", png_uri(predicted), child),
        ),
    )


def child_shapes(level: LevelPicture, plane: Plane, number: int) -> tuple[Shape, ...]:
    """The outline of the next level's crop in this one."""
    if level.child is None:
        return ()
    top, left, height, width = display_box(level.child, level.crop.shape, plane)
    colour = LEVEL_COLOURS[number % len(LEVEL_COLOURS)]
    return (Shape(path=f"M{left:g} {top:g}h{width:g}v{height:g}h{-width:g}z", stroke=colour),)


def _shape(volume: NDArray[Any]) -> tuple[float, float, float]:
    x, y, z = volume.shape
    return (float(x), float(y), float(z))


def _size(image: NDArray[Any]) -> tuple[int, int]:
    return (image.shape[0], image.shape[1])


def _patch_size(patch: Triple, plane: Plane) -> tuple[int, int]:
    columns, rows = (side for axis, side in enumerate(patch) if axis != AXIS[plane])
    return (rows, columns)


def case_block(
    cases: dict[str, CasePicture], names: tuple[str, ...], colours: tuple[str, ...], prefix: str
) -> Block:
    """The truth of one case and each run's prediction; `cases` maps a caption to a run's pictures."""
    first = next(iter(cases.values()))
    facts = tuple(
        f"{caption}: mean Dice {case.dice:.3f}" for caption, case in cases.items() if case.dice is not None
    )
    return Block(
        title=first.case,
        facts=facts,
        rows=tuple(case_row(cases, names, colours, plane, f"{prefix}-{plane}") for plane in PLANES),
    )


def case_row(
    cases: dict[str, CasePicture], names: tuple[str, ...], colours: tuple[str, ...], plane: Plane, name: str
) -> Row:
    """One plane of a case: truth filled, then each prediction filled with the truth as a line."""
    first = next(iter(cases.values()))
    parts = first.planes[plane]
    step = math.ceil(max(parts["image"].shape) / LARGEST_SIDE)
    grey = to_grey(shrink(parts["image"], step), 0.0, 1.0)
    truth = parts["truth"][::step, ::step][: grey.shape[0], : grey.shape[1]]
    spacing = first.spacing or (1.0, 1.0, 1.0)
    mm_row, mm_column = display_spacing(spacing, plane)

    def panel(caption: str, labels: NDArray[Any], data: str) -> Panel:
        shown = ", ".join(names[i - 1] for i in np.unique(labels) if 0 < i <= len(names))
        return Panel(
            caption=caption,
            alt=f"{caption} of {first.case}, {plane} plane: {shown or 'nothing labelled'}",
            image=name,
            data=data,
            size=_size(grey),
            scale=(mm_row * step, mm_column * step),
            shapes=label_shapes(labels, truth, colours),
        )

    predictions = (
        panel(caption, case.planes[plane]["prediction"][::step, ::step][: grey.shape[0], : grey.shape[1]], "")
        for caption, case in cases.items()
    )
    panels = (panel("truth", truth, png_uri(grey)), *predictions)
    return make_row(plane, panels, known_spacing=first.spacing is not None)


def label_shapes(filled: NDArray[Any], lined: NDArray[Any], colours: tuple[str, ...]) -> tuple[Shape, ...]:
    """Per structure, `filled` as a translucent area and `lined` as a line, both (R, K) ids."""
    shapes = []
    for number, colour in enumerate(colours, start=1):
        area, line = filled == number, lined == number
        if area.any():
            shapes.append(Shape(path=area_path(area), fill=colour, opacity=0.4))
        if line.any():
            shapes.append(Shape(path=contour_path(line), stroke=colour))
    return tuple(shapes)
