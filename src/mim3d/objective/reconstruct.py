"""Reconstruction: how far the predicted voxels of hidden patches are from the true ones.

Shapes: B crops, M hidden tokens, P voxels per patch.
"""

from torch import Tensor

from mim3d.errors import GeometryError

VARIANCE_FLOOR = 1e-6
"""Added to each patch's variance, on the scale of [0, 1]; the release's."""


def standardise(patches: Tensor) -> Tensor:
    """Each patch (..., P) less its own mean, over its own standard deviation.

    Source: He et al. 2022, arXiv:2111.06377, sec. 3 "Reconstruction target". The variance is the unbiased
    one, as in the authors' code, so weights trained there give the same loss.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    variance = patches.var(dim=-1, keepdim=True)
    return (patches - mean) / (variance + VARIANCE_FLOOR).sqrt()


def patch_mse(predicted: Tensor, patches: Tensor) -> Tensor:
    """Mean squared error of predicted hidden patches against the true ones, standardised.

    Source: He et al. 2022, arXiv:2111.06377, sec. 3.

    Args:
        predicted: (B, M, P), as the decoder gives them.
        patches: (B, M, P), intensities in [0, 1].

    Returns:
        Scalar.

    Raises:
        GeometryError: If the shapes disagree.
    """
    if predicted.shape != patches.shape:
        raise GeometryError(
            f"predicted patches {tuple(predicted.shape)} and true ones {tuple(patches.shape)} must agree"
        )
    return (predicted - standardise(patches)).square().mean()
