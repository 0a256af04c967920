"""Which weights of an encoder learn, when, and how fast."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mim3d.config import FinetuneConfig, Optimisation, Transfer
from mim3d.downstream.segmenter import Segmenter
from mim3d.downstream.transfer import freeze, paces
from mim3d.model.convblock import ConvBlockFunction
from mim3d.model.encoder import Encoder

OPTIMISATION = Optimisation(steps=100, warmup_steps=10)


@pytest.fixture
def segmenter(finetuned: FinetuneConfig) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(replace(finetuned, architecture=replace(finetuned.architecture, depths=(1, 2, 1, 2))))


def learning(encoder: Encoder) -> set[str]:
    """First parts of the names of weights that learn."""
    return {".".join(n.split(".")[:2]) for n, p in encoder.named_parameters() if p.requires_grad}


def test_layers_hold_every_weight_once_from_the_input_on(segmenter: Segmenter) -> None:
    groups = segmenter.encoder.layers()
    assert len(groups) == 3 + 1 + 2
    every = [id(weight) for group in groups for module in group for weight in module.parameters()]
    assert sorted(every) == sorted(id(weight) for weight in segmenter.encoder.parameters())
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("stages", "frozen"),
    [
        (0, set()),
        (1, {"embeds.0", "stages.0"}),
        (3, {"embeds.0", "stages.0", "embeds.1", "stages.1", "embeds.2", "stages.2"}),
    ],
)
def test_the_first_stages_are_frozen(segmenter: Segmenter, stages: int, frozen: set[str]) -> None:
    every = learning(segmenter.encoder)
    freeze(segmenter.encoder, stages)
    assert every - learning(segmenter.encoder) == frozen


def test_the_whole_encoder_is_frozen_and_nothing_else(segmenter: Segmenter) -> None:
    freeze(segmenter.encoder, 4)
    assert learning(segmenter.encoder) == set()
    assert all(weight.requires_grad for weight in segmenter.ups.parameters())


@pytest.mark.parametrize(("stages", "backwards"), [(0, 4), (1, 3), (2, 1), (3, 0), (4, 0)])
def test_nothing_is_computed_for_the_gradients_of_frozen_stages(
    segmenter: Segmenter, stages: int, backwards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The convolution blocks' own backward pass is never entered: 1, 2 and 1 blocks of three stages."""
    entered = []
    original: Callable[..., Any] = ConvBlockFunction.backward

    def counted(*arguments: Any) -> Any:
        entered.append(1)
        return original(*arguments)

    monkeypatch.setattr(ConvBlockFunction, "backward", staticmethod(counted))
    freeze(segmenter.encoder, stages)
    logits = segmenter(torch.rand(1, 1, 32, 32, 16))
    torch.autograd.backward(logits.square().sum())
    assert len(entered) == backwards
    for name, weight in segmenter.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name


def test_layers_learn_slower_the_further_they_are_from_the_head(segmenter: Segmenter) -> None:
    found = paces(segmenter.encoder, Transfer(layer_decay=0.5), OPTIMISATION, pretrained=True)
    assert [pace.scale for pace in found] == [0.5**n for n in (6, 5, 4, 3, 2, 1)]
    assert {pace.begins for pace in found} == {0}
    names = {id(weight): name for name, weight in segmenter.encoder.named_parameters()}
    assert {names[id(weight)].split(".")[0] for weight in found[3].parameters} == {"embeds", "linear"}
    last = {names[id(weight)].split(".")[0] for weight in found[-1].parameters}
    assert last == {"blocks", "skips", "norm"}


def test_a_sawtooth_spares_a_pretrained_encoder_at_first(segmenter: Segmenter) -> None:
    sawtooth = replace(OPTIMISATION, schedule="sawtooth", first_tooth=30)
    found = paces(segmenter.encoder, Transfer(), sawtooth, pretrained=True)
    assert {(pace.scale, pace.begins) for pace in found} == {(1.0, 30)}
    assert paces(segmenter.encoder, Transfer(), sawtooth, pretrained=False) == []
    assert paces(segmenter.encoder, Transfer(), OPTIMISATION, pretrained=True) == []
