"""How a pre-trained encoder goes on learning: which of its weights, from when on, and how fast."""

from itertools import chain
from typing import Protocol

from torch import nn

from mim3d.config import Optimisation, Transfer
from mim3d.config.downstream import NUM_STAGES
from mim3d.train.optim import Pace
from mim3d.train.schedule import second_tooth


class Layered(Protocol):
    """An encoder in parts."""

    def layers(self) -> list[list[nn.Module]]:
        """Its modules in groups, from the input to the output; three groups are its first three stages."""


def freeze(encoder: Layered, stages: int) -> None:
    """Leave the weights of the first stages as they are; norms go on normalising by what they see.

    Args:
        encoder: Whose layers beyond the third group make up the fourth and last stage.
        stages: 0 to 4, from the input on.
    """
    groups = encoder.layers()
    for module in chain.from_iterable(groups if stages == NUM_STAGES else groups[:stages]):
        module.requires_grad_(requires_grad=False)


def paces(
    encoder: Layered, transfer: Transfer, optimisation: Optimisation, *, pretrained: bool
) -> list[Pace]:
    """Learning rates of an encoder's layers; none where they learn like all else.

    Source: Clark et al. 2020, arXiv:2003.10555, for `layer_decay`. What is above the encoder learns at the
    full rate, its last layer one step below.

    Args:
        encoder: Before or after it was frozen.
        transfer: Of the run.
        optimisation: Of the run; its schedule may spare a pre-trained encoder at first.
        pretrained: Whether the encoder is one. What is new learns from the first step on.
    """
    begins = second_tooth(optimisation) if pretrained else 0
    if transfer.layer_decay == 1.0 and begins == 0:
        return []
    groups = encoder.layers()
    return [
        Pace(
            parameters=tuple(weight for module in group for weight in module.parameters()),
            scale=transfer.layer_decay ** (len(groups) - number),
            begins=begins,
        )
        for number, group in enumerate(groups)
    ]
