"""Commands that measure what a frozen encoder knows."""

from typing import Annotated, Literal

import tyro

from mim3d.commands.places import Out, Store
from mim3d.geometry import Triple, Vector

Encoder = Annotated[str, tyro.conf.arg(metavar="RUN")]
Others = tyro.conf.Positional[str]


def probe_segmentation(  # noqa: PLR0913  one argument a flag
    store: Store,
    run: Encoder,
    out: Out,
    /,
    *more: Others,
    structures: str,
    labels: str = "labels",
    crop: Triple | None = None,
    crops: int = 48,
    voxels: int = 4096,
    overlap: float = 0.25,
    split: Literal["val", "test"] = "val",
    every_checkpoint: bool = False,
    preset: str = "tiny",
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Learn a linear layer on the maps of frozen encoders, and score what it segments.

    Args:
        store: A prepared store with labels; learns from its `train` cases.
        run: Run folder, a checkpoint within one (RUN/checkpoints/step-N), a file in the layout of MONAI's
            SwinUNETR weights (model_swinvit.pt), `org/name` of a hub, or `none` for random weights.
        out: JSON to write: scores of every encoder, case by case.
        more: Further encoders, to compare.
        structures: Names of the structures to segment, joined by commas.
        labels: Label set of the store.
        crop: What the encoder sees at once, voxels of the working grid; by default what it saw before.
        crops: Training crops, of which features are taken.
        voxels: Of each crop, at most.
        overlap: Share of a window shared with its neighbour when cases are segmented, 0 <= overlap < 1.
        split: Whose cases are scored.
        every_checkpoint: Take a run's kept checkpoints too, for a table by step.
        preset: Sizes of random weights where no run is named beside them.
        seed: Of crops, voxels and random weights.
        device: Where encoders run, e.g. `cpu` or `cuda:0`.
    """
    from mim3d.recipes.probe_segmentation import probe_segmentation

    probe_segmentation(
        store,
        run,
        out,
        *more,
        structures=structures,
        labels=labels,
        crop=crop,
        crops=crops,
        voxels=voxels,
        overlap=overlap,
        split=split,
        every_checkpoint=every_checkpoint,
        preset=preset,
        seed=seed,
        device=device,
    )


def probe_classification(  # noqa: PLR0913  one argument a flag
    store: Store,
    run: Encoder,
    out: Out,
    /,
    *more: Others,
    target: str,
    classes: str = "",
    multi_label: bool = False,
    crop: Triple | None = None,
    extent: Vector | None = None,
    intensity: Literal["window", "min_max"] = "window",
    split: Literal["val", "test"] = "val",
    every_checkpoint: bool = False,
    preset: str = "tiny",
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Classify whole volumes by frozen features: logistic regression, and nearest neighbours by cosine.

    Args:
        store: A prepared store with targets; learns from its `train` cases.
        run: Run folder, a checkpoint within one (RUN/checkpoints/step-N), a file in the layout of MONAI's
            SwinUNETR weights (model_swinvit.pt), `org/name` of a hub, or `none` for random weights.
        out: JSON to write: scores of every encoder, and of each case the probabilities.
        more: Further encoders, to compare.
        target: What is classified: a target of the store.
        classes: Classes to tell apart, joined by commas; by default all that occur.
        multi_label: Whether a case may have any number of the classes.
        crop: What the encoder sees of a volume, voxels; by default as in fine-tuning with its preset.
        extent: Sides of the box about the body's centre that is looked at, mm; by default the whole volume.
        intensity: `window`, as the encoder learnt, or `min_max`.
        split: Whose cases are scored.
        every_checkpoint: Take a run's kept checkpoints too, for a table by step.
        preset: Sizes of random weights where no run is named beside them.
        seed: Of random weights.
        device: Where encoders run, e.g. `cpu` or `cuda:0`.
    """
    from mim3d.recipes.probe_classification import probe_classification

    probe_classification(
        store,
        run,
        out,
        *more,
        target=target,
        classes=classes,
        multi_label=multi_label,
        crop=crop,
        extent=extent,
        intensity=intensity,
        split=split,
        every_checkpoint=every_checkpoint,
        preset=preset,
        seed=seed,
        device=device,
    )
