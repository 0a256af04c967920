"""Transformer blocks, compiled: normalisation, biases, GELU and sums fused into fewer passes.

Convolution blocks have kernels and a backward pass of their own, and are left as they are.
"""

from shutil import which

from torch import nn

from mim3d.model.blocks import Block

COMPILERS = ("c++", "g++", "clang++")
"""What `torch.compile` can use."""


def compile_blocks(model: nn.Module) -> bool:
    """Have every transformer block of a model compiled when first called; False if there is no compiler.

    Values change by rounding only; names of parameters stay.
    """
    if not any(which(name) for name in COMPILERS):
        return False
    for module in model.modules():
        if isinstance(module, Block):
            module.compile(dynamic=True)
    return True
