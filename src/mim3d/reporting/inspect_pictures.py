"""A case of a store as a contact sheet: three planes through one place, with the outlines of its labels.

Shapes: volumes are (X, Y, Z) in RAS+, planes (R, K), origin top left.
"""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from mim3d.config import Window
from mim3d.data.catalog import Case
from mim3d.data.labels import LabelSet
from mim3d.data.planes import AXIS, PLANES, Plane, display_plane, display_spacing
from mim3d.data.store import Store
from mim3d.errors import StoreError
from mim3d.geometry import Box, Triple, Vector
from mim3d.reporting.drawing import contour_path, png_uri, to_grey
from mim3d.reporting.inspect_measures import Measures, measure
from mim3d.reporting.inspect_ranking import Suspect
from mim3d.reporting.pictures import TIMES, Block, Panel, Row, Shape, make_row

LARGEST_SIDE = 256
"""Pixels of a plane's longer side at most; larger ones are averaged down."""
WINDOW = Window(low=-150.0, high=250.0)
"""Of CT, HU: soft tissue. The same for all cases, so that odd HU are seen."""


def sheet(store: Store, suspect: Suspect, labels: str | None, prefix: str) -> Block:
    """Three planes of a case, and in words why it is suspect.

    Args:
        store: That it lies in.
        suspect: The case.
        labels: Label set to draw; None for the first that the case has.
        prefix: Of the identifiers of its pictures.
    """
    case = suspect.subject.case
    drawn = min(case.labels, default=None) if labels is None else labels
    drawn = drawn if drawn in case.labels else None
    remarks = [finding.words for finding in suspect.findings]
    if suspect.num_more:
        remarks.append(f"and {suspect.num_more} more of the same kinds")
    try:
        measures = suspect.subject.measures or measure(store, case, () if drawn is None else (drawn,))
        through, voxel = place_of(suspect, measures, drawn)
        rows = tuple(
            _row(store, case, drawn, (plane, voxel), f"{prefix}-{plane}", through) for plane in PLANES
        )
    except StoreError as error:
        rows, through = (), ""
        if not suspect.subject.damage:
            remarks.insert(0, f"cannot be shown: {error}")
    score = f"suspicion {suspect.score:.1f}" if suspect.findings else "nothing odd"
    planes = f"planes through {through}" if through else ""
    outlined = f"label set {drawn}" if drawn else "no labels"
    facts = " · ".join(part for part in (score, *_facts(case), outlined, planes) if part)
    return Block(title=case.case, facts=(facts,), rows=rows, remarks=tuple(remarks))


def place_of(suspect: Suspect, measures: Measures, labels: str | None) -> tuple[str, Triple]:
    """What the planes go through and where: the structure that is odd, the largest, or the body's middle."""
    structures = measures.structures.get(labels or "", {})
    for finding in suspect.findings:
        if finding.structure is not None and finding.structure[0] == labels:
            name = finding.structure[1]
            if name in structures:
                return name, structures[name].voxel
    if structures:
        name = max(structures, key=lambda one: structures[one].volume)
        return name, structures[name].voxel
    return "the middle", measures.body


def outlines(labels: NDArray[Any], label_set: LabelSet) -> Iterator[Shape]:
    """The outline of each structure in a plane (R, K) of label values, in the set's colours."""
    for name, value in label_set.structures.items():
        flags = labels == value
        if flags.any():
            yield Shape(path=contour_path(flags), stroke=label_set.colour(name), name=name)


def _row(
    store: Store, case: Case, labels: str | None, cut: tuple[Plane, Triple], image: str, through: str
) -> Row:
    """One plane of a case."""
    plane, voxel = cut
    box, shape = _slab(case, plane, voxel)
    low, high = window_of(case)
    grey = to_grey(display_plane(store.read(case.case, box, shape)[0], plane, 0), low, high)
    drawn: tuple[Shape, ...] = ()
    if labels is not None:
        values = display_plane(store.read_labels(case.case, labels, box, shape), plane, 0)
        drawn = tuple(outlines(values, store.label_sets[labels]))
    spacing: Vector = tuple(  # type: ignore[assignment]
        mm * size / cells for mm, size, cells in zip(case.spacing, box.size, shape, strict=True)
    )
    shown = ", ".join(shape.name for shape in drawn) or "nothing outlined"
    panel = Panel(
        caption="",
        alt=f"{case.case}, {plane} plane through {through}: {shown}",
        image=image,
        data=png_uri(grey),
        size=(grey.shape[0], grey.shape[1]),
        scale=display_spacing(spacing, plane),
        shapes=drawn,
    )
    return make_row(plane, (panel,))


def _slab(case: Case, plane: Plane, voxel: Triple) -> tuple[Box, Triple]:
    """The slice of the working grid at a voxel, and its pixels: at most LARGEST_SIDE of them on its sides."""
    axis = AXIS[plane]
    longest = max(n for other, n in enumerate(case.shape) if other != axis)
    step = max(1.0, longest / LARGEST_SIDE)
    start, size, shape = [0.0] * 3, [float(n) for n in case.shape], [0] * 3
    for other, n in enumerate(case.shape):
        shape[other] = max(1, round(n / step))
    start[axis], size[axis], shape[axis] = float(voxel[axis]), 1.0, 1
    return Box((start[0], start[1], start[2]), (size[0], size[1], size[2])), (shape[0], shape[1], shape[2])


def window_of(case: Case) -> tuple[float, float]:
    """What is drawn black and white: the same HU for every CT, percentiles of the body for others."""
    if case.modality == "CT":
        return WINDOW.low, WINDOW.high
    return case.statistics["p005"], case.statistics["p995"]


def _facts(case: Case) -> Iterator[str]:
    """Split, size and voxels of a case, and its window where that is its own."""
    extent = TIMES.join(f"{n * mm:.0f}" for n, mm in zip(case.shape, case.spacing, strict=True))
    source = TIMES.join(f"{mm:.3g}" for mm in case.source_spacing)
    yield case.split
    yield f"{extent} mm"
    yield f"voxels of {source} mm"
    if case.modality != "CT":
        low, high = window_of(case)
        yield f"{case.modality}, window {low:.0f} to {high:.0f}"
