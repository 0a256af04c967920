"""Probes of whole volumes: folds by patient, votes of neighbours, settings chosen on training cases."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mim3d.downstream.frozen_classes import (
    NEIGHBOURS,
    PENALTIES,
    TEMPERATURE,
    folds_of,
    logistic_probe,
    neighbour_probe,
    votes,
)


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.booleans()), min_size=1, max_size=30))
def test_folds_are_by_patient_and_alike(rows: list[tuple[str, bool]]) -> None:
    patients = [patient for patient, _ in rows]
    truth = torch.tensor([[float(ill), float(not ill)] for _, ill in rows])
    folds = folds_of(patients, truth, 3).tolist()
    by_patient = {
        patient: {f for p, f in zip(patients, folds, strict=True) if p == patient} for patient in patients
    }
    assert all(len(found) == 1 for found in by_patient.values())
    first = dict(reversed(rows))
    for group in (True, False):
        sizes = [sum(by_patient[p] == {f} for p, ill in first.items() if ill == group) for f in range(3)]
        assert max(sizes) - min(sizes) <= 1
    assert folds_of(patients, truth, 3).tolist() == folds


def test_a_vote_weighs_its_similarity() -> None:
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]) + 10  # of which the mean is 10
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    asked = torch.tensor([[2.0, 1.0]]) + 10
    weights = torch.tensor([2 / 5**0.5, 1 / 5**0.5]).div(TEMPERATURE).exp()
    expected = (weights / weights.sum())[None]
    torch.testing.assert_close(votes(known, truth, asked, 2), expected, atol=1e-5, rtol=1e-5)
    assert votes(known, truth, asked, 1).tolist() == [[1.0, 0.0]]
    torch.testing.assert_close(votes(known, truth, asked, 9).sum(dim=1), torch.ones(1))


def clusters(count: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cases (N, 6) in two classes, and their truth (N, 2)."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.eye(2, dtype=torch.float64)[torch.arange(count) % 2]
    features = torch.randn(count, 6, generator=generator, dtype=torch.float64) * noise
    features[:, 0] += truth[:, 0] * 2 - 1
    return features, truth


@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_both_probes_learn_what_there_is(noise: float) -> None:
    features, truth = clusters(60, noise)
    patients = [f"p{n}" for n in range(40)]
    logistic = logistic_probe(features[:40], truth[:40], patients, features[40:], multi_label=False)
    nearest = neighbour_probe(features[:40], truth[:40], patients, features[40:])
    assert logistic.chosen in PENALTIES
    assert nearest.chosen in NEIGHBOURS
    for told in (logistic, nearest):
        right = (told.probabilities.argmax(dim=1) == truth[40:].argmax(dim=1)).double().mean()
        assert right == 1.0 if noise < 1 else right > 0.3
    if noise > 1:  # where next to nothing is told, much is averaged
        assert logistic.chosen >= 0.1
        assert nearest.chosen >= 10


def test_what_is_scored_chooses_nothing() -> None:
    features, truth = clusters(40, 2.0)
    patients = [f"p{n}" for n in range(40)]
    alone, more = (
        logistic_probe(features, truth, patients, features[:count], multi_label=True) for count in (1, 40)
    )
    assert alone.chosen == more.chosen
    torch.testing.assert_close(alone.probabilities, more.probabilities[:1])


def test_one_patient_leaves_nothing_to_choose_by() -> None:
    features, truth = clusters(4, 0.1)
    assert logistic_probe(features, truth, ["p"] * 4, features, multi_label=False).chosen == max(PENALTIES)
    assert neighbour_probe(features, truth, ["p"] * 4, features).chosen == 3
