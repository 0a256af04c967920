"""What a model card says of weights of each kind."""

import pytest

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config_file import RunConfig
from mim3d.elsewhere.card import Facts, card

CT = {"modality": "CT", "unit": "HU", "orientation": "RAS", "window": {"low": -175.0, "high": 250.0}}
MR = {**CT, "modality": "MR", "unit": "none", "scaling": "deviations"}
LARGEST = {"intensity": "min_max"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (CT, "intensities from -175 to 250 HU scaled to [0, 1]"),
        (MR, "intensities by `deviations` of each case scaled to [0, 1]"),
        (CT | LARGEST, "intensities from -1024 to the highest in each case's body scaled to [0, 1]"),
        (MR | LARGEST, "intensities from 0 to the highest in each case's body scaled to [0, 1]"),
    ],
)
def test_a_card_says_what_becomes_0_and_1(said: dict[str, object], expected: str) -> None:
    facts = Facts(config=ClassifyConfig(), preprocessing=said, provenance={}, reached="")
    assert expected in card(facts, "team/mim", with_decoder=False)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (FinetuneConfig(structures=("whole=edema+core", "core")), "fine-tuned to segment whole, core ("),
        (ClassifyConfig(classes=("flu", "none")), "fine-tuned to tell flu, none apart ("),
    ],
)
def test_a_card_says_what_the_network_does(config: RunConfig, expected: str) -> None:
    facts = Facts(config=config, preprocessing=CT, provenance={}, reached="")
    assert expected in card(facts, "team/mim", with_decoder=True)
