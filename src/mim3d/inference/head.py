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


def apart(network: Network) -> tuple[Network, Head | None]:
    """The network without its last layer, and that layer, (..., F) to (..., O) on the CPU.

    A network whose last layer makes less of a voxel than it is given, or is none that is known, stays whole.
    """
    if not isinstance(network, nn.Module):
        return network, None
    for name in NAMES:
        layer = _only_layer(getattr(network, name, None))
        if layer is not None and layer.out_channels > layer.in_channels:
            weight = layer.weight.detach().flatten(1).float().cpu()  # (O, F)
            bias = None if layer.bias is None else layer.bias.detach().float().cpu()
            return _without(network, name), partial(F.linear, weight=weight, bias=bias)
    return network, None


def _only_layer(module: object) -> nn.Conv3d | None:
    """The convolution of one voxel that a module is, if it is nothing else."""
    if not isinstance(module, nn.Module):
        return None
    leaves = [leaf for leaf in module.modules() if next(leaf.children(), None) is None]
    if len(leaves) != 1 or not isinstance(leaves[0], nn.Conv3d) or leaves[0].kernel_size != (1, 1, 1):
        return None
    return leaves[0]


def _without(network: nn.Module, name: str) -> nn.Module:
    """The same network, on the same weights, whose last layer does nothing."""
    rest = copy.copy(network)
    rest._modules = {**network._modules, name: nn.Identity()}
    return rest
