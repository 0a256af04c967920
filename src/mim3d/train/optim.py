"""AdamW, and the learning rate at every step."""

import math

import torch
from torch import nn

from mim3d.config import Optimisation


def build_optimizer(model: nn.Module, optimisation: Optimisation) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels only: not on biases, norms and single tokens."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": optimisation.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=optimisation.lr, betas=optimisation.betas)


def lr_at(step: int, optimisation: Optimisation) -> float:
    """Linear warm-up, then a half cosine that reaches 0 after the last step, for the whole batch.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    warmup = min(optimisation.warmup_steps, optimisation.steps - 1)
    if step < warmup:
        return optimisation.lr * (step + 1) / warmup
    share = (step - warmup) / (optimisation.steps - warmup)
    return optimisation.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
