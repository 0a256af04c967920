"""The command line: the functions of the recipes, by the same names and with the same arguments.

A command imports its recipe when it runs, so that `--help` is quick. Settings come from a preset, then from a
configuration file, then from flags.
"""

import argparse
import inspect
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Literal

import tyro

import mim3d
from mim3d.config import FinetuneConfig, PretrainConfig
from mim3d.errors import ConfigError, Interruption, MimError
from mim3d.geometry import Triple
from mim3d.settings import finetune_settings, pretrain_settings

INTERRUPTED = 130
Flat = tyro.conf.arg(name="")
Raw = Annotated[Path, tyro.conf.arg(metavar="RAW")]
Folder = Annotated[Path, tyro.conf.arg(metavar="DIR")]
Store = Annotated[Path, tyro.conf.arg(metavar="STORE")]
Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]
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
    config: Path | None = None,  # noqa: ARG001  read by `_settings_named`
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[PretrainConfig, Flat],
) -> None:
    """Pre-train an encoder on the unlabelled scans of a store, by MiM.

    Args:
        store: A prepared store; its `train` cases are used.
        run: Folder to write: config.json, metrics.csv, checkpoints, weights.safetensors, pictures.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of the whole run.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.
        settings: Single settings, which win over preset and config; `--preset` is `tiny` (two cores) or
            `base` (the paper's size, the default).
    """
    from mim3d.recipes.pretrain import pretrain

    pretrain(store, run, config=settings, steps=steps, resume=resume)


def finetune_segmentation(
    store: Store,
    run: Run,
    /,
    *,
    init: str,
    config: Path | None = None,  # noqa: ARG001  read by `_settings_named`
    steps: int | None = None,
    resume: bool = False,
    settings: Annotated[FinetuneConfig, Flat],
) -> None:
    """Fine-tune an encoder, with a UNETR-like decoder, to segment structures.

    Args:
        store: A prepared store with labels; trains on its `train` cases, chooses the best step on `val`.
        run: Folder to write: config.json, metrics.csv, checkpoints, weights.safetensors (best), ...
        init: Run folder of a pre-trained encoder; `none` trains from scratch.
        config: The config.json of a run to begin from, in place of a preset.
        steps: Optimiser steps of the whole run.
        resume: Go on from the last checkpoint, if there is one; a finished run ends at once.
        settings: Single settings, which win over preset and config; `--preset` is `tiny` or `base`,
            by default that of `init`.
    """
    from mim3d.recipes.finetune import finetune_segmentation

    finetune_segmentation(store, run, init=_init(init), config=settings, steps=steps, resume=resume)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: exit status 2 and one line for a user's error, a traceback for ours."""
    try:
        parse(sys.argv[1:] if arguments is None else arguments)()
    except Interruption as error:
        print(f"mim3d: {error}", file=sys.stderr)
        return INTERRUPTED
    except MimError as error:
        print(f"mim3d: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mim3d: interrupted; what was finished is kept", file=sys.stderr)
        return INTERRUPTED
    return 0


def parse(arguments: Sequence[str]) -> Callable[[], object]:
    """What the line asks for, ready to run; settings on the line win over those that it names.

    Raises:
        MimError: If the line cannot be understood.
        SystemExit: After `--help`.
    """
    app, finetune = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()
    pretraining, finetuning = _settings_named(arguments)
    commands: dict[str, Callable[..., None]] = {"samples": samples, "phantom": phantom, "prepare": prepare}
    for name, command in commands.items():
        app.command(name=name)(_deferred(command))
    app.command(name="pretrain")(_deferred(pretrain, settings=pretraining))
    app.command(finetune, name="finetune", help="Fine-tune an encoder for a task.")
    finetune.command(name="segmentation")(_deferred(finetune_segmentation, settings=finetuning))
    commands = {"predict": predict, "evaluate": evaluate, "report": report}
    for name, command in commands.items():
        app.command(name=name)(_deferred(command))
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            call: Callable[[], object] = app.cli(prog="mim3d", args=arguments, description=mim3d.__doc__)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise ConfigError(_one_line(said.getvalue())) from None
    return call


def _settings_named(arguments: Sequence[str]) -> tuple[PretrainConfig, FinetuneConfig]:
    """The settings that flags are laid over, from what the line names: preset, config, weights or the run."""
    scan = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for name in ("store", "run"):
        scan.add_argument(name, nargs="?", type=Path, default=Path())
    for flag in ("--preset", "--init"):
        scan.add_argument(flag)
    scan.add_argument("--config", type=Path)
    scan.add_argument("--resume", action="store_true")
    command, skipped = (arguments[0] if arguments else ""), 2 if arguments[:1] == ["finetune"] else 1
    try:
        named, _ = scan.parse_known_args(arguments[skipped:])
    except argparse.ArgumentError:
        return PretrainConfig(), FinetuneConfig()  # the full parser will say what is wrong
    pretraining, finetuning = PretrainConfig(), FinetuneConfig()
    if command == "pretrain":
        pretraining = pretrain_settings(named.run, named.preset, named.config, resume=named.resume)
    if command == "finetune":
        init = None if named.init is None else _init(named.init)
        finetuning = finetune_settings(named.run, init, named.preset, named.config, resume=named.resume)
    return pretraining, finetuning


def _init(said: str) -> Path | None:
    return None if said == "none" else Path(said)


def _deferred(command: Callable[..., None], **defaults: object) -> Callable[..., Callable[[], object]]:
    """The command under the same signature, returning the call instead of making it."""

    @wraps(command)
    def call(*args: object, **kwargs: object) -> Callable[[], object]:
        return partial(command, *args, **kwargs)

    signature = inspect.signature(command)
    parameters = [p.replace(default=defaults.get(n, p.default)) for n, p in signature.parameters.items()]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def _one_line(box: str) -> str:
    """The words in a parser's framed message, without the frame."""
    lines = [line.strip("\u2502\u256d\u256e\u2570\u256f\u2500 ") for line in box.splitlines()]
    return " ".join(line for line in lines if line)
