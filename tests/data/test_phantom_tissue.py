from collections import Counter

import numpy as np
import pytest
from numpy.random import default_rng

from mim3d.data.phantom_tissue import DISEASES, PHASES, STRUCTURES, plan_case, sample_tissues, stream


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_phases_and_diseases_are_balanced_and_independent(seed: int) -> None:
    plans = [plan_case(seed, index, lesions=True) for index in range(240)]
    assert Counter(plan.phase for plan in plans) == dict.fromkeys(PHASES, 80)
    assert Counter(plan.disease for plan in plans) == dict.fromkeys(DISEASES, 60)
    pairs = Counter((plan.phase, plan.disease) for plan in plans)
    assert min(pairs.values()) > 8


def test_without_lesions_everybody_is_healthy_in_the_same_phase() -> None:
    for index in range(12):
        with_lesions, without = (plan_case(3, index, lesions=lesions) for lesions in (True, False))
        assert without.disease == "healthy"
        assert without.phase == with_lesions.phase


def test_streams_differ_by_seed_case_and_part() -> None:
    keys = [(0, 0, "a"), (0, 0, "b"), (0, 1, "a"), (1, 0, "a"), (0, 0, "ab")]
    assert len({stream(*key).random() for key in keys}) == len(keys)
    assert stream(0, 1, "a").random() == stream(0, 1, "a").random()


def test_contrast_brightens_vessels_and_organs_overlap() -> None:
    drawn = {phase: [sample_tissues(default_rng(n), phase) for n in range(60)] for phase in PHASES}

    def hu(phase: str, tissue: str) -> list[float]:
        return [tissues[tissue].hu for tissues in drawn[phase]]

    assert np.mean(hu("native", "aorta")) < np.mean(hu("portal venous", "aorta"))
    assert np.mean(hu("portal venous", "aorta")) < np.mean(hu("arterial", "aorta"))
    assert max(hu("portal venous", "liver")) > min(hu("portal venous", "spleen"))
    assert max(hu("portal venous", "bowel wall")) > min(hu("portal venous", "liver"))
    assert sorted(STRUCTURES.values()) == list(range(1, len(STRUCTURES) + 1))
