"""The command line: a line of words into the command it names, and errors into one line.

Settings come from a preset, then from a configuration file, then from flags.
"""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

import mim3d
from mim3d.arguments import parse_line
from mim3d.commands.data import copy, inspect, overlap, phantom, prepare, samples, verify
from mim3d.commands.datasets import datasets
from mim3d.commands.elsewhere import export, push
from mim3d.commands.prediction import predict
from mim3d.commands.probes import probe_classification, probe_segmentation
from mim3d.commands.protocol import compare, crossval_classification, crossval_segmentation, score
from mim3d.commands.results import evaluate, report
from mim3d.commands.training import (
    finetune_classification,
    finetune_segmentation,
    import_weights,
    pretrain,
)
from mim3d.errors import DamageFound, Interruption, MimError, ScansFailed, system_line

FOUND, INTERRUPTED, CLOSED_PIPE = 1, 130, 141

COMMANDS: dict[str, Callable[..., None]] = {
    "samples": samples,
    "phantom": phantom,
    "datasets": datasets,
    "prepare": prepare,
    "copy": copy,
    "verify": verify,
    "overlap": overlap,
    "inspect": inspect,
    "pretrain": pretrain,
    "import-weights": import_weights,
    "finetune segmentation": finetune_segmentation,
    "finetune classification": finetune_classification,
    "crossval segmentation": crossval_segmentation,
    "crossval classification": crossval_classification,
    "probe segmentation": probe_segmentation,
    "probe classification": probe_classification,
    "predict": predict,
    "score": score,
    "evaluate": evaluate,
    "compare": compare,
    "report": report,
    "export": export,
    "push": push,
}
GROUPS = {
    "": str(mim3d.__doc__),
    "finetune": "Fine-tune an encoder for a task.",
    "crossval": "Fine-tune on every fold, with several seeds, and score the whole.",
    "probe": "Measure what a frozen encoder knows.",
}


def parse(arguments: Sequence[str]) -> Callable[[], object]:
    """What the line asks for, ready to run.

    Raises:
        MimError: If the line cannot be understood.
        SystemExit: After `--help`.
    """
    if list(arguments) == ["--version"]:
        return partial(print, f"mim3d {mim3d.__version__}")
    return parse_line(arguments, COMMANDS, GROUPS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: exit status 2 and one line for a user's or the system's error, a traceback for ours."""
    try:
        parse(sys.argv[1:] if arguments is None else arguments)()
        sys.stdout.flush()
    except (Interruption, KeyboardInterrupt) as error:
        print(f"mim3d: {error if str(error) else 'interrupted; what was finished is kept'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever was reading has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (MimError, OSError) as error:
        print(f"mim3d: {system_line(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return FOUND if isinstance(error, DamageFound | ScansFailed) else 2
    return 0
