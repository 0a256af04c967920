"""Structures that lie on the wrong side of one another: mirrored, back to front, or head to foot.

Places are in RAS+ mm: X grows to the patient's right, Y to the front, Z to the head. So the left one of a
pair has the smaller X.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

from mim3d.geometry import Vector
from mim3d.reporting.inspect_findings import SURE, Finding, Subject

Axis = Literal[0, 1, 2]
CLEAR_MM = 10.0
"""Centres must be further apart than this to tell which side is which, mm."""
LEAST_SHARE = 0.5
"""Of the pairs that tell something: from this share on, the whole is said to be turned."""

LEFT, RIGHT = (
    frozenset({"left", "l", "lt", "sin", "sinistra"}),
    frozenset({"right", "r", "rt", "dex", "dextra"}),
)

BESIDE = LEFT | RIGHT | {"lobe", "upper", "lower", "middle"}
"""Words beside an organ's that leave it that organ."""

USUAL: tuple[tuple[str, str, Axis], ...] = (
    # further to the left, further to the right
    ("spleen", "liver", 0),
    ("stomach", "liver", 0),
    ("spleen", "gallbladder", 0),
    ("heart", "liver", 0),
    # further back, further to the front
    ("spine", "liver", 1),
    ("spine", "stomach", 1),
    ("spine", "aorta", 1),
    ("spine", "heart", 1),
    ("kidney", "liver", 1),
    ("kidney", "stomach", 1),
    ("spine", "sternum", 1),
    ("rectum", "bladder", 1),
    # further down, further up
    ("liver", "lung", 2),
    ("spleen", "lung", 2),
    ("kidney", "lung", 2),
    ("bladder", "lung", 2),
    ("bladder", "liver", 2),
    ("bladder", "kidney", 2),
    ("prostate", "kidney", 2),
    ("liver", "heart", 2),
    ("lung", "brain", 2),
    ("liver", "brain", 2),
    ("lung", "thyroid", 2),
)
"""Of two structures, named by a word: the one with the smaller coordinate, with the larger, and the axis."""
WRONG = ("left and right are swapped", "front and back are swapped", "head and foot are swapped")
BEYOND = ("to the right of", "in front of", "above")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two structures whose order along an axis is known."""

    lower: str
    """Name of the one with the smaller coordinate."""
    upper: str
    axis: Axis
    named: bool = False
    """Whether the names themselves say left and right."""


def turned(subject: Subject) -> Iterator[Finding]:
    """Along each axis: more than half of the telling pairs of a label set lie the wrong way round."""
    if subject.measures is None:
        return
    for labels, structures in subject.measures.structures.items():
        centres = {name: structure.centre for name, structure in structures.items()}
        pairs = pairs_of(centres)
        for axis in (0, 1, 2):
            yield from _judged(labels, [pair for pair in pairs if pair.axis == axis], centres)


def _judged(labels: str, pairs: list[Pair], centres: Mapping[str, Vector]) -> Iterator[Finding]:
    """A finding about the pairs of one axis, if some lie the wrong way round."""
    apart = [(pair, centres[pair.upper][pair.axis] - centres[pair.lower][pair.axis]) for pair in pairs]
    telling = [(pair, mm) for pair, mm in apart if abs(mm) > CLEAR_MM]
    wrong = [(pair, mm) for pair, mm in telling if mm < 0]
    if not wrong:
        return
    pair, mm = min(wrong, key=lambda item: (not item[0].named, item[1]))
    example = f"{pair.lower} lies {-mm:.0f} mm {BEYOND[pair.axis]} {pair.upper}"
    if len(wrong) >= LEAST_SHARE * len(telling):
        words = f"{WRONG[pair.axis]}, in the labels or in the whole case: {example}"
        score = SURE + len(wrong) / len(telling)
    else:
        words, score = f"{example}, which is usually the other way round", 1.0 + len(wrong) / len(telling)
    if len(telling) > 1:
        words += f" ({len(wrong)} of {len(telling)} pairs)"
    yield Finding(kind="sides", score=score, words=words, structure=(labels, pair.lower))


def pairs_of(names: Iterable[str]) -> tuple[Pair, ...]:
    """Pairs of structures whose order is known: by left and right in their names, and the usual ones."""
    right: dict[tuple[str, ...], str] = {}
    left: dict[tuple[str, ...], str] = {}
    organs: dict[str, list[str]] = defaultdict(list)
    for name in names:
        words = words_of(name)
        for side, told in ((LEFT, left), (RIGHT, right)):
            rest = tuple(word for word in words if word not in side)
            if len(rest) == len(words) - 1:
                told[rest] = name
        of_whole = [word for word in words if word not in BESIDE]
        if len(of_whole) == 1:  # neither a tumour in an organ nor a vessel of it
            organs[of_whole[0]].append(name)
    sided = (Pair(lower=left[rest], upper=right[rest], axis=0, named=True) for rest in left if rest in right)
    usual = (
        Pair(lower=lower, upper=upper, axis=axis)
        for low, high, axis in USUAL
        for lower, upper in product(organs.get(low, ()), organs.get(high, ()))
    )
    return (*sided, *usual)


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, without the s of a plural."""
    parts = re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return tuple(
        part[:-1] if len(part) > 3 and part.endswith("s") and part[-2] != "u" else part for part in parts
    )
