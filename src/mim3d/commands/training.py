"""Commands that make weights."""

from pathlib import Path
from typing import Annotated

from mim3d.arguments import init_of
from mim3d.commands.places import Released, Run, Store
from mim3d.config import ClassifyConfig, FinetuneConfig, PretrainConfig
from mim3d.flags import Flat


def pretrain(
    store: Store,
    run: Run,
    /,
    *,
    init: str | None = None,
    config: Path | None = None,  # noqa: ARG001  read when the line is parsed
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[PretrainConfig, Flat],
) -> None:
    """Pre-train an encoder on the unlabelled scans of a store, by MiM.

    Args:
        store: A prepared store; its `train` cases are used.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        init: Weights to go on from: a run's folder, an exported one, or `org/name` of a hub; with their
            settings unless a preset or configuration is named. Steps are counted anew.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of the whole run.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.
        settings: Single settings, which win over preset and config; `--preset` is `tiny` (two cores),
            `small` (between) or `base` (the paper's size, the default).
    """
    from mim3d.recipes.pretrain import pretrain

    pretrain(store, run, init=init_of(init), config=settings, steps=steps, resume=resume)


def import_weights(
    released: Released, run: Run, /, *, num_heads: int | None = None, decoder_heads: int | None = None
) -> None:
    """Turn a checkpoint of the authors' release into a run folder, as if it had been pre-trained here.

    Args:
        released: Checkpoint (.pth, .pt, .safetensors); nothing in it is executed.
        run: Folder to write, new or empty; what takes the folder of a pre-training run takes it too.
        num_heads: Attention heads of the encoder; only for sizes that are none of the release's.
        decoder_heads: Attention heads of the decoder, likewise.
    """
    from mim3d.recipes.import_weights import import_weights

    import_weights(released, run, num_heads=num_heads, decoder_heads=decoder_heads)


def finetune_segmentation(
    store: Store,
    run: Run,
    /,
    *,
    init: str,
    config: Path | None = None,  # noqa: ARG001  read when the line is parsed
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[FinetuneConfig, Flat],
) -> None:
    """Fine-tune an encoder, with a UNETR-like decoder, to segment structures.

    Args:
        store: A prepared store with labels; trains on its `train` cases and chooses the best step on `val`,
            or as `--selection` says.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        init: Run folder of a pre-trained encoder, `org/name` of a hub, or a file of published weights for
            `--network swin_unetr`; `none` trains from scratch.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of the whole run.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.
        settings: Single settings, which win over preset and config; `--preset` is `tiny`, `small` or
            `base`, or the release's recipe at that size, e.g. `released-tiny`; by default that of `init`.
    """
    from mim3d.recipes.finetune_segmentation import finetune_segmentation

    finetune_segmentation(store, run, init=init_of(init), config=settings, steps=steps, resume=resume)


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
    from mim3d.recipes.finetune_classification import finetune_classification

    finetune_classification(store, run, init=init_of(init), config=settings, steps=steps, resume=resume)
