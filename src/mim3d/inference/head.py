"""The last layer of a segmentation network apart from the rest: linear, voxel by voxel.

The mean of what it makes of several windows is what it makes of their mean, so it can work once a voxel. With
a hundred structures it makes far more than it is given.
"""

import copy
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from mim3d.inference.crops import Network

NAMES = ("head", "out")
"""What networks call it."""
Head = Callable[[Tensor], Tensor]
"""What there is of each voxel (..., F) to logits (..., O)."""


def apart(network: Network) -> tuple[Network, Head | None]:
    """The network without its last layer, and that layer, (..., F) to (..., O) on the CPU.

    A network whose last layer makes less of a voxel than it is given, or is none that is known, stays whole.
    """
    if not isinstance(network, nn.Module):
        return network, None
    for name in NAMES:
        layer = _only_layer(network._modules.get(name))
        weight = None if layer is None else layer.weight.detach().flatten(1).float().cpu()  # (O, F)
        if layer is not None and weight is not None and weight.shape[0] > weight.shape[1]:
            bias = None if layer.bias is None else layer.bias.detach().float().cpu()
            return _without(network, name), partial(F.linear, weight=weight, bias=bias)
    return network, None


def _only_layer(module: object) -> nn.Conv3d | nn.Linear | None:
    """The convolution of one voxel, or linear layer, that a module is, if it is nothing else."""
    if not isinstance(module, nn.Module):
        return None
    leaves = [leaf for leaf in module.modules() if next(leaf.children(), None) is None]
    leaf = leaves[0] if len(leaves) == 1 else None
    if isinstance(leaf, nn.Linear) or (isinstance(leaf, nn.Conv3d) and leaf.kernel_size == (1, 1, 1)):
        return leaf
    return None


def _without(network: nn.Module, name: str) -> nn.Module:
    """The same network, on the same weights, whose last layer does nothing."""
    rest = copy.copy(network)
    rest._modules = {**network._modules, name: nn.Identity()}
    return rest
