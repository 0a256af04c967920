"""AdamW, and how fast which weights learn at every step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mim3d.config import Optimisation
from mim3d.train.schedule import lr_at


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pace:
    """Weights that learn at a rate of their own."""

    parameters: tuple[nn.Parameter, ...]
    scale: float = 1.0
    """Their learning rate over that of all others."""
    begins: int = 0
    """Step from which they learn; until then no gradient of theirs is computed."""


def build_optimizer(
    model: nn.Module, optimisation: Optimisation, paces: Sequence[Pace] = ()
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels only: not on biases, norms and single tokens.

    Args:
        model: Weights that need no gradient are left out.
        optimisation: Of the run.
        paces: Of some weights; all others learn at the full rate from the first step on.
    """
    paced = {id(parameter) for pace in paces for parameter in pace.parameters}
    others = Pace(parameters=tuple(p for p in model.parameters() if id(p) not in paced))
    groups = [group for pace in (others, *paces) for group in _groups(pace, optimisation.weight_decay)]
    return torch.optim.AdamW(groups, lr=optimisation.lr, betas=optimisation.betas)


def _groups(pace: Pace, weight_decay: float) -> Iterable[dict[str, object]]:
    """Parameters that decay, and those that do not."""
    learning = [parameter for parameter in pace.parameters if parameter.requires_grad]
    shared = {"scale": pace.scale, "begins": pace.begins}
    yield {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay, **shared}
    yield {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0, **shared}


def set_rates(optimizer: torch.optim.Optimizer, step: int, optimisation: Optimisation) -> dict[str, float]:
    """Give all weights the learning rate of a step, and those that do not learn yet no gradient.

    Returns:
        What is logged: `lr`, and where some weights have a pace of their own the lowest rate of these as
        `lr/encoder`, 0 where none of them learns.
    """
    rate = lr_at(step, optimisation)
    for group in optimizer.param_groups:
        learns = step >= group["begins"]
        group["lr"] = rate * group["scale"] if learns else 0.0
        if group["begins"]:
            for parameter in group["params"]:
                parameter.requires_grad_(learns)
    _, _, *paced = optimizer.param_groups
    rates = [group["lr"] for group in paced if group["params"]]
    return {"lr": rate} | ({"lr/encoder": min(rates, default=0.0)} if paced else {})
