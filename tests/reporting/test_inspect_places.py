from collections.abc import Callable
from dataclasses import replace

import pytest

from mim3d.geometry import Vector
from mim3d.reporting.inspect_findings import Finding, Subject
from mim3d.reporting.inspect_places import pairs_of, turned, words_of

Found = Callable[[dict[str, Vector]], list[Finding]]


@pytest.fixture
def found(subject: Subject) -> Found:
    """Findings about a label set whose structures have these centres, RAS+ mm."""

    def find(centres: dict[str, Vector]) -> list[Finding]:
        assert subject.measures is not None
        liver = subject.measures.structures["organs"]["liver"]
        structures = {name: replace(liver, centre=centre) for name, centre in centres.items()}
        measures = replace(subject.measures, structures={"organs": structures})
        return list(turned(replace(subject, measures=measures)))

    return find


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_kidney", "right_kidney"),
        ("kidney_left", "kidney_right"),
        ("Kidney L", "Kidney R"),
        ("lung_upper_lobe_left", "lung_upper_lobe_right"),
        ("LeftLung", "RightLung"),
    ],
)
def test_the_left_one_of_a_pair_has_the_smaller_x(found: Found, left: str, right: str) -> None:
    assert found({left: (-60.0, 0.0, 0.0), right: (60.0, 0.0, 0.0)}) == []
    (finding,) = found({left: (60.0, 0.0, 0.0), right: (-60.0, 0.0, 0.0)})
    assert finding.kind == "sides"
    assert finding.structure == ("organs", left)
    assert finding.words == (
        f"left and right are swapped, in the labels or in the whole case: {left} lies 120 mm to the right of "
        f"{right}"
    )


def test_organs_without_sides_in_their_names_tell_too(found: Found) -> None:
    assert found({"liver": (60.0, 0.0, 0.0), "spleen": (-80.0, 0.0, 0.0)}) == []
    (finding,) = found({"liver": (-60.0, 0.0, 0.0), "spleen": (80.0, 0.0, 0.0)})
    assert "spleen lies 140 mm to the right of liver" in finding.words


def test_head_and_foot(found: Found) -> None:
    assert found({"lungs": (0.0, 0.0, 200.0), "bladder": (0.0, 0.0, -200.0)}) == []
    (finding,) = found({"lungs": (0.0, 0.0, -200.0), "bladder": (0.0, 0.0, 200.0)})
    assert finding.words.startswith("head and foot are swapped")
    assert "bladder lies 400 mm above lungs" in finding.words


def test_front_and_back(found: Found) -> None:
    assert found({"spine": (0.0, -80.0, 0.0), "aorta": (0.0, -30.0, 0.0)}) == []
    (finding,) = found({"spine": (0.0, 80.0, 0.0), "aorta": (0.0, 30.0, 0.0)})
    assert finding.words.startswith("front and back are swapped")
    assert "spine lies 50 mm in front of aorta" in finding.words


def test_one_pair_among_many_is_a_smaller_suspicion(found: Found) -> None:
    names = ("kidney", "lung", "hip", "femur")
    right: dict[str, Vector] = {f"{name}_right": (50.0, 0.0, 0.0) for name in names}
    left: dict[str, Vector] = {f"{name}_left": (-50.0, 0.0, 0.0) for name in names}
    crossed: dict[str, Vector] = {**right, **left, "hip_left": (80.0, 0.0, 0.0)}
    (some,) = found(crossed)
    assert some.words == (
        "hip_left lies 30 mm to the right of hip_right, which is usually the other way round (1 of 4 pairs)"
    )
    everything: dict[str, Vector] = {name: (-x, y, z) for name, (x, y, z) in {**right, **left}.items()}
    (whole,) = found(everything)
    assert 1 <= some.score < 2 < whole.score
    assert whole.words.endswith("(4 of 4 pairs)")


def test_centres_that_are_close_tell_nothing(found: Found) -> None:
    assert found({"left_nostril": (4.0, 0.0, 0.0), "right_nostril": (-4.0, 0.0, 0.0)}) == []


def test_a_tumour_in_an_organ_is_not_the_organ() -> None:
    assert pairs_of(("liver_tumour", "spleen")) == ()
    assert len(pairs_of(("liver", "spleen"))) == 1


def test_words_of_names() -> None:
    assert words_of("LeftKidneys_upper-lobe2") == ("left", "kidney", "upper", "lobe", "2")
    assert words_of("esophagus") == ("esophagus",)
