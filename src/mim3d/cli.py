"""The command line: the functions of the recipes, by the same names and with the same arguments.

A command imports its recipe when it runs, so that `--help` is quick. Settings come from a preset, then from a
configuration file, then from flags.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

import mim3d
from mim3d.arguments import init_of, parse_line
from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.errors import Interruption, MimError, system_line
from mim3d.geometry import Triple

INTERRUPTED, CLOSED_PIPE = 130, 141
Flat = tyro.conf.arg(name="")
Raw = Annotated[Path, tyro.conf.arg(metavar="RAW")]
Folder = Annotated[Path, tyro.conf.arg(metavar="DIR")]
Store = Annotated[Path, tyro.conf.arg(metavar="STORE")]
Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]
Released = Annotated[Path, tyro.conf.arg(metavar="RELEASED")]
Scan = Annotated[Path, tyro.conf.arg(metavar="SCAN")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]
Predicted = Annotated[Path, tyro.conf.arg(metavar="PREDICTED")]
Truth = Annotated[Path, tyro.conf.arg(metavar="TRUTH")]


def samples(raw: Raw, /) -> None:
    """Fetch real CT volumes: a chest with 89 organs, four lungs with tumours (DICOM), a spine, a head.

    Args:
        raw: Folder to make; `mim3d prepare` takes it as it is.
    """
    from mim3d.recipes.samples import samples

    samples(raw)


def phantom(  # noqa: PLR0913  one argument a flag
    folder: Folder,
    /,
    *,
    cases: int = 10,
    seed: int = 0,
    shape: Triple = (96, 96, 96),
    spacing: float = 3.0,
    lesions: bool = True,
    separate_kidneys: bool = False,
    workers: int | None = None,
) -> None:
    """Write random labelled CT-like patients in nnU-Net's folder layout, for those who have no data yet.

    Args:
        folder: Where to write; new, empty, or begun with the same options.
        cases: How many patients the folder shall hold.
        seed: Of everything that is random, 0 or more.
        shape: Voxels per axis, at least 32.
        spacing: Of the voxels, mm.
        lesions: Whether some patients have lesions.
        separate_kidneys: Whether the two kidneys are two structures.
        workers: Processes; by default one per core.
    """
    from mim3d.recipes.phantom import phantom

    phantom(
        folder,
        cases=cases,
        seed=seed,
        shape=shape,
        spacing=spacing,
        lesions=lesions,
        separate_kidneys=separate_kidneys,
        workers=workers,
    )


def prepare(
    raw: Raw,
    store: Store,
    /,
    *,
    spacing: tuple[float, ...] | Literal["native"] = (1.5,),
    keep_native: bool = False,
    val_share: float = 0.2,
    test_share: float = 0.0,
    workers: int | None = None,
) -> None:
    """Turn scans into a store; run again, it does only what is missing.

    Args:
        raw: Folder of scans (NIfTI, NRRD, MetaImage, DICOM series at any depth), a folder with the
            dataset.json of nnU-Net or the Medical Decathlon, or a CSV file (image, case, label, split, ...).
        store: Folder of the store to make, or to add to.
        spacing: Of the working grid in mm, one number or three (X Y Z); `native` keeps voxels as they are.
        keep_native: Keep scans that are finer than the working grid beside it.
        val_share: Share of the labelled patients that become the validation split, where none is stated.
        test_share: Share of the labelled patients that become the test split, where none is stated.
        workers: Processes, one scan each at a time; by default one per core.
    """
    from mim3d.recipes.prepare import prepare

    prepare(
        raw,
        store,
        spacing=spacing,
        keep_native=keep_native,
        val_share=val_share,
        test_share=test_share,
        workers=workers,
    )


def pretrain(
    store: Store,
    run: Run,
    /,
    *,
    config: Path | None = None,  # noqa: ARG001  read when the line is parsed
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[PretrainConfig, Flat],
) -> None:
    """Pre-train an encoder on the unlabelled scans of a store, by MiM.

    Args:
        store: A prepared store; its `train` cases are used.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of the whole run.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.
        settings: Single settings, which win over preset and config; `--preset` is `tiny` (two cores),
            `small` (between) or `base` (the paper's size, the default).
    """
    from mim3d.recipes.pretrain import pretrain

    pretrain(store, run, config=settings, steps=steps, resume=resume)


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
        store: A prepared store with labels; trains on its `train` cases, chooses the best step on `val`.
        run: Folder to write: config.json, metrics.csv, timings.csv, checkpoints, weights.safetensors, ...
        init: Run folder of a pre-trained encoder; `none` trains from scratch.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of the whole run.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.
        settings: Single settings, which win over preset and config; `--preset` is `tiny`, `small` or
            `base`, by default that of `init`.
    """
    from mim3d.recipes.finetune import finetune_segmentation

    finetune_segmentation(store, run, init=init_of(init), config=settings, steps=steps, resume=resume)


def predict(
    run: Run,
    scan: Scan,
    out: Out,
    /,
    *,
    overlap: float | None = None,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Segment one scan and write the label map on the scan's own grid, with names and colours beside it.

    Args:
        run: Run folder of a fine-tuned model.
        scan: NIfTI, NRRD or MetaImage file, or a folder with one DICOM series; any spacing and orientation.
        out: Label map to write, .nii or .nii.gz; names, colours and volumes go into the .json beside it.
        overlap: Share of a window shared with its neighbour, 0 <= overlap < 1; by default the run's own.
        device: Where the network runs, e.g. `cpu` or `cuda:0`.
        overwrite: Replace an `out` that is there.
    """
    from mim3d.recipes.predict import predict

    predict(run, scan, out, overlap=overlap, device=device, overwrite=overwrite)


def evaluate(
    predicted: Predicted,
    truth: Truth,
    /,
    *,
    out: Path | None = None,
    structures: str | None = None,
    tolerance: float = 2.0,
    truth_labels: Path | None = None,
) -> None:
    """Score label maps against the truth: Dice, HD95 and NSD per structure.

    Args:
        predicted: Label map, or a folder of them; names come from the .json beside each.
        truth: Label map on the same grid, or a folder of them, matched by file name.
        out: JSON to write, e.g. RUN/evaluation.json, which `mim3d report RUN` shows.
        structures: Names to score, joined by commas; by default all that both sides know.
        tolerance: Of NSD, mm; raised to the largest spacing of a scan where that is larger.
        truth_labels: What the values of the truth mean: label_sets.json, dataset.json, cases.csv, or a folder
            with one; `:SET` at its end names the label set. By default its values are the prediction's.
    """
    from mim3d.recipes.evaluate import evaluate

    evaluate(
        predicted,
        truth,
        out=out,
        structures=structures,
        tolerance=tolerance,
        truth_labels=truth_labels,
    )


def report(
    run: Run, /, *more: tyro.conf.Positional[Path], out: Path | None = None, note: str | None = None
) -> None:
    """Write one self-contained HTML page about a run, or about several side by side.

    Args:
        run: Run folder of `pretrain` or `finetune`.
        more: Further run folders to show on the same page; fine-tuned ones are compared.
        out: HTML file to write; `report.html` in the first run folder if not given.
        note: Plain text shown on top, e.g. what the data can and cannot show; blank lines part paragraphs.
    """
    from mim3d.recipes.report import report

    print(report(run, *more, out=out, note=note))


COMMANDS: dict[str, Callable[..., None]] = {
    "samples": samples,
    "phantom": phantom,
    "prepare": prepare,
    "pretrain": pretrain,
    "import-weights": import_weights,
    "finetune segmentation": finetune_segmentation,
    "predict": predict,
    "evaluate": evaluate,
    "report": report,
}
GROUPS = {"": str(mim3d.__doc__), "finetune": "Fine-tune an encoder for a task."}


def parse(arguments: Sequence[str]) -> Callable[[], object]:
    """What the line asks for, ready to run.

    Raises:
        MimError: If the line cannot be understood.
        SystemExit: After `--help`.
    """
    return parse_line(arguments, COMMANDS, GROUPS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: exit status 2 and one line for a user's or the system's error, a traceback for ours."""
    try:
        parse(sys.argv[1:] if arguments is None else arguments)()
    except (Interruption, KeyboardInterrupt) as error:
        print(f"mim3d: {error if str(error) else 'interrupted; what was finished is kept'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever was reading has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (MimError, OSError) as error:
        print(f"mim3d: {system_line(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 2
    return 0
