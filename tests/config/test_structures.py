"""Structures, and the parts of a label set that they are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mim3d.config import FinetuneConfig
from mim3d.config.structures import (
    MOST_PARTS,
    check_structures,
    listed,
    membership,
    names,
    overlapping,
    painted,
    parts,
    values,
)
from mim3d.errors import ConfigError

BRATS = ("whole=edema+core+enhancing", "core=core+enhancing", "enhancing")
"""The regions of brain tumours: each lies in the one before."""


def test_words_may_hold_several() -> None:
    assert listed(["liver, spleen", " kidneys=left+right ,", ""]) == ("liver", "spleen", "kidneys=left+right")
    assert listed(listed(BRATS)) == BRATS


def test_plain_structures_are_their_own_parts() -> None:
    plain = ("liver", "spleen+")
    assert names(plain) == parts(plain) == plain
    assert membership(plain) == ((False, True, False), (False, False, True))
    assert painted(plain) == (0, 1, 2)
    assert values(plain) == {"liver": (1,), "spleen+": (2,)}
    assert not overlapping(plain)


def test_regions_within_regions() -> None:
    assert names(BRATS) == ("whole", "core", "enhancing")
    assert parts(BRATS) == ("edema", "core", "enhancing")
    assert membership(BRATS) == (
        (False, True, True, True),
        (False, False, True, True),
        (False, False, False, True),
    )
    assert painted(BRATS) == (0, 1, 2, 3)
    assert values(BRATS) == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert overlapping(BRATS)


def test_unions_that_share_nothing_do_not_overlap() -> None:
    apart = ("kidneys=left + right", "liver")
    assert parts(apart) == ("left", "right", "liver")
    assert not overlapping(apart)
    assert painted(apart) == (0, 1, 1, 2)
    assert values(apart) == {"kidneys": (1,), "liver": (2,)}


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_what_is_painted_still_tells_every_structure(sizes: list[int]) -> None:
    """Chains of structures within structures: the values of each cover its parts and no others."""
    chain = [[f"p{n}" for n in range(sum(sizes[place:]))] for place in range(len(sizes))]
    structures = tuple(f"s{place}={'+'.join(some)}" for place, some in enumerate(chain))
    check_structures(structures)
    shown, table = painted(structures), membership(structures)
    for row, own in zip(table, values(structures).values(), strict=True):
        assert tuple(value in own for value in shown) == row


def test_outputs_bear_the_names_of_structures() -> None:
    apart = FinetuneConfig(structures=("kidneys=left+right", "liver"))
    assert apart.outputs == ("background", "kidneys", "liver")
    assert FinetuneConfig(structures=("whole=edema+core", "core")).outputs == ("whole", "core")


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        (("whole=",), r"a structure is written NAME, or NAME=PART\+PART\+..., got 'whole='$"),
        (("=liver",), r"a structure is written NAME, or NAME=PART\+PART\+..., got '=liver'$"),
        (("a=b++c",), r"a structure is written NAME, or NAME=PART\+PART\+..., got 'a=b\+\+c'$"),
        (("a=b", "a=c"), "structures must be different from one another, got a, a$"),
        (("a=b+c", "d=c+b"), "structures a and d are both made of b, c; drop one$"),
        (("b", "a=b+c"), "structure b lies within a; name a before it, as it is painted over it$"),
        (
            ("a=x+y", "b=y+z"),
            "structures a and b share y, and neither holds the other, so that no label map could hold both; "
            "segment them in runs of their own$",
        ),
        (
            tuple(f"s{n}" for n in range(MOST_PARTS + 1)),
            "structures, and what they are made of, must be at most 254, got 255; name fewer$",
        ),
    ],
)
def test_what_no_label_map_could_hold_is_refused(structures: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_structures(structures)
