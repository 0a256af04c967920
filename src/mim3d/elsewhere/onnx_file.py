"""A network as ONNX, compared with itself in onnxruntime before the file appears."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mim3d.errors import CheckpointError
from mim3d.geometry import Triple
from mim3d.model.dense_encoder import plain

OPSET = 20
"""Operators of ONNX that are asked for: those of release 1.15, the first with GELU."""
TOLERANCE = 1e-4
"""Of the comparison, share of the largest value."""
INPUT, BATCH = "volume", "batch"


def write_onnx(
    network: nn.Module,
    path: Path,
    *,
    crop: Triple,
    channels: int,
    outputs: Sequence[str],
    said: Mapping[str, Any],
) -> float:
    """Write a network for crops of one size and batches of any.

    Args:
        network: From (B, C, X, Y, Z) to as many tensors as there are names.
        path: File to write.
        crop: Voxels.
        channels: Of the input.
        outputs: Their names.
        said: What is kept within the file, by name, as JSON.

    Returns:
        The largest difference to PyTorch, share of each output's largest value.

    Raises:
        CheckpointError: If onnx, onnxscript or onnxruntime is missing, or numbers differ by more than 1e-4.
    """
    _require_packages()
    flat = plain(network, crop)
    volume = partial(torch.rand, generator=torch.Generator().manual_seed(0))
    program = _exported(flat, volume((2, channels, *crop)), outputs)
    for name, value in said.items():
        program.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    aside = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        program.save(aside, external_data=False)
        found = max(_difference(network, aside, volume((batch, channels, *crop))) for batch in (1, 3))
        if not found <= TOLERANCE:
            raise CheckpointError(
                f"{path}: not written, as onnxruntime differs by {found:.1e} of the largest value, more than "
                f"{TOLERANCE:.0e}; try another version of it"
            )
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    return found


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401, PLC0415  optional, as are the others
        import onnxruntime  # noqa: F401, PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise CheckpointError(
            f"ONNX needs {error.name}, which is not installed: pip install 'mim3d[onnx]'"
        ) from None


def _exported(network: nn.Module, example: Tensor, outputs: Sequence[str]) -> Any:
    """An ONNX program; what PyTorch's exporter says of its own insides is not for the user."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    registry.addFilter(_needed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations of PyTorch's parts, used by PyTorch
            return torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            )
    finally:
        registry.removeFilter(_needed)


def _needed(record: logging.LogRecord) -> bool:
    """Whether a message is no notice of torchvision, which nothing here uses."""
    return "torchvision" not in record.getMessage()


def _difference(network: nn.Module, path: Path, volume: Tensor) -> float:
    import onnxruntime  # noqa: PLC0415  optional

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {INPUT: volume.numpy()})
    with torch.no_grad():
        expected = network(volume)
    expected = [expected] if isinstance(expected, Tensor) else expected
    return max(
        float((torch.from_numpy(ours) - theirs).abs().max() / theirs.abs().max())
        for ours, theirs in zip(found, expected, strict=True)
    )
