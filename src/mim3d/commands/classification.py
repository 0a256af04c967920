"""Commands that tell classes of whole volumes apart."""

from pathlib import Path
from typing import Annotated

import tyro

from mim3d.arguments import init_of
from mim3d.commands.places import Run, Store
from mim3d.config import ClassifyConfig

Flat = tyro.conf.arg(name="")


def finetune_classification(
    store: Store,
    run: Run,
    /,
    *,
    init: str,
    config: Path | None = None,  # noqa: ARG001  read when the line is parsed
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[ClassifyConfig, Flat],
) -> None:
    """Fine-tune an encoder, with a linear layer on its pooled tokens, to classify whole volumes.

    Args:
        store: A prepared store with targets; trains on its `train` cases, chooses the best step on `val`.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        init: Run folder of a pre-trained encoder, or `org/name` of a hub; `none` trains from scratch.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of the whole run.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.
        settings: Single settings, which win over preset and config; `--preset` is `tiny`, `small` or
            `base`, by default that of `init`.
    """
    from mim3d.recipes.classify import finetune_classification

    finetune_classification(store, run, init=init_of(init), config=settings, steps=steps, resume=resume)
