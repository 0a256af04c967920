"""What is logged, against numpy and by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mim3d.config import Alignment, Level, PretrainConfig
from mim3d.objective.monitor import columns, cosine_of, derived, spread_of

KEYS = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


def test_cosine_is_the_mean_over_pairs_of_different_keys() -> None:
    rows = KEYS.numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.mean([unit[i] @ unit[j] for i in range(7) for j in range(7) if i != j])
    assert float(cosine_of(KEYS)) == pytest.approx(expected, abs=1e-6)


def test_spread_is_the_deviation_of_directions() -> None:
    rows = KEYS.numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert float(spread_of(KEYS)) == pytest.approx(5**0.5 * unit.std(axis=0).mean(), abs=1e-6)


def test_collapsed_and_even_directions() -> None:
    collapsed = torch.linspace(1, 9, 6)[:, None] * KEYS[:1]
    assert float(cosine_of(collapsed)) == pytest.approx(1)
    assert float(spread_of(collapsed)) == pytest.approx(0, abs=1e-6)
    even = torch.randn(20000, 16, generator=torch.Generator().manual_seed(0))
    assert float(cosine_of(even)) == pytest.approx(0, abs=1e-3)
    assert float(spread_of(even)) == pytest.approx(1, abs=1e-2)


def test_one_key_has_neither_company_nor_spread() -> None:
    assert float(cosine_of(KEYS[:1])) == pytest.approx(0, abs=1e-6)
    assert float(spread_of(KEYS[:1])) == 0


def test_shares_of_errors_take_the_place_of_errors() -> None:
    logged = {
        "loss": 3.0,
        "reconstruct/0": 0.6,
        "error_of_mean/0": 1.0,
        "error_of_interpolation/0": 0.5,
        "reconstruct/1": 0.0,
        "error_of_mean/1": 0.0,
        "error_of_interpolation/1": 0.2,
    }
    assert derived(logged) == pytest.approx(
        {
            "loss": 3.0,
            "reconstruct/0": 0.6,
            "reconstruct/1": 0.0,
            "r2_mean/0": 0.4,
            "r2_interpolation/0": -0.2,
            "r2_interpolation/1": 1.0,
        }
    )


def test_columns(pretraining: PretrainConfig) -> None:
    errors = ["r2_mean/0", "r2_mean/1", "r2_mean/2", "r2_interpolation/0", "r2_interpolation/1"]
    levels = ["loss", "reconstruct/0", "reconstruct/1", "reconstruct/2"]
    pairs = [
        f"{name}/{pair}"
        for name in ("align", "found", "found_blind", "align_cosine", "align_spread")
        for pair in (0, 1)
    ]
    assert columns(pretraining) == [*levels, *pairs, *errors, "r2_interpolation/2"]
    without = replace(pretraining, alignment=Alignment(weight=0))
    assert columns(without) == [*levels, *errors, "r2_interpolation/2"]
    nesting = replace(pretraining.nesting, levels=(Level(masked_ratio=0.75, children=0),))
    assert columns(replace(pretraining, nesting=nesting)) == [
        "loss",
        "reconstruct/0",
        "r2_mean/0",
        "r2_interpolation/0",
    ]
