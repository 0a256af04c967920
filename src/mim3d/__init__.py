"""Self-supervised pre-training of 3D medical image encoders by MiM, Mask in Mask, and what comes after it."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "compare": "mim3d.recipes.compare",
    "copy": "mim3d.recipes.copy",
    "crossval_classification": "mim3d.recipes.crossval",
    "crossval_segmentation": "mim3d.recipes.crossval",
    "datasets": "mim3d.recipes.datasets",
    "evaluate": "mim3d.recipes.evaluate",
    "export": "mim3d.recipes.export",
    "finetune_classification": "mim3d.recipes.finetune_classification",
    "finetune_segmentation": "mim3d.recipes.finetune_segmentation",
    "import_released": "mim3d.model.released",
    "import_weights": "mim3d.recipes.import_weights",
    "inspect": "mim3d.recipes.inspect",
    "load_encoder": "mim3d.downstream.backbone",
    "overlap": "mim3d.recipes.overlap",
    "phantom": "mim3d.recipes.phantom",
    "predict": "mim3d.recipes.predict",
    "prepare": "mim3d.recipes.prepare",
    "pretrain": "mim3d.recipes.pretrain",
    "probe_classification": "mim3d.recipes.probe_classification",
    "probe_segmentation": "mim3d.recipes.probe_segmentation",
    "push": "mim3d.recipes.push",
    "report": "mim3d.recipes.report",
    "samples": "mim3d.recipes.samples",
    "score": "mim3d.recipes.score",
    "verify": "mim3d.recipes.verify",
}
"""Public names and where they live: loaded when first used, so that `import mim3d` takes no time."""

__all__ = sorted([*_PUBLIC, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        taking_texts = import_module("mim3d.paths").taking_texts
        return taking_texts(getattr(import_module(_PUBLIC[name]), name))
    raise AttributeError(f"module 'mim3d' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
