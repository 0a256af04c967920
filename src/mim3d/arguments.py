"""The command line, understood: flags laid over the settings of a preset, a configuration, weights or a run.

Precedence: preset < config < flags.
"""

import argparse
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from functools import partial, wraps
from itertools import pairwise
from pathlib import Path

import tyro

from mim3d.config_file import RunConfig
from mim3d.downstream.hub import weights_folder
from mim3d.errors import ConfigError
from mim3d.flags import SHORT_HELP, apart
from mim3d.refusals import one_line
from mim3d.settings import classify_settings, finetune_settings, pretrain_settings


def parse_line(
    arguments: Sequence[str], commands: Mapping[str, Callable[..., None]], groups: Mapping[str, str]
) -> Callable[[], object]:
    """What the line asks for, ready to run.

    Args:
        arguments: What was typed after `mim3d`.
        commands: By name; a name of two words is a command within a group. Those that take `settings` get
            them.
        groups: Name and description of the groups of commands, and under "" of the whole.

    Raises:
        MimError: If the line cannot be understood.
        SystemExit: After `--help`.
    """
    first = next(iter(arguments), "--help")
    known = dict.fromkeys(name.split(" ")[0] for name in commands)
    if not first.startswith("-") and first not in known:
        raise ConfigError(f"unknown command {first!r}; there are {', '.join(known)}")
    for number, (before, word) in enumerate(pairwise(arguments), start=2):
        if not word and not before.startswith("-"):
            raise ConfigError(
                f"word {number} after `mim3d` is empty; is a variable not set? give what it names"
            )
    arguments = apart(arguments, commands)
    settings, apps = _settings_named(arguments), {"": tyro.extras.SubcommandApp()}
    for name, command in commands.items():
        group, _, member = name.rpartition(" ")
        if group not in apps:
            apps[group] = tyro.extras.SubcommandApp()
            apps[""].command(apps[group], name=group, help=groups[group])
        apps[group].command(name=member)(_deferred(command, settings.get(name)))
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            call: Callable[[], object] = apps[""].cli(
                prog="mim3d",
                args=arguments,
                description=groups[""],
                registry=SHORT_HELP if {"-h", "--help"} & set(arguments) else None,
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        named = next((name for name in (" ".join(arguments[:2]), first) if name in commands), "")
        raise ConfigError(one_line(said.getvalue(), named)) from None
    return call


def init_of(said: str | None) -> Path | None:
    """The folder that `--init` names, fetched if it is of a hub; None for `none` or without it."""
    return None if said is None or said == "none" else weights_folder(said)


def _settings_named(arguments: Sequence[str]) -> dict[str, RunConfig]:
    """The settings that flags are laid over, from what the line names: preset, config, weights or the run."""
    scan = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    scan.add_argument("words", nargs="*")
    for flag in ("--preset", "--init"):
        scan.add_argument(flag)
    scan.add_argument("--config", type=Path)
    scan.add_argument("--resume", action="store_true")
    try:
        named, rest = scan.parse_known_args(arguments)
    except argparse.ArgumentError:
        return {}  # the full parser will say what is wrong
    run = _run_among([*named.words, *rest])
    init = None if named.init is None else init_of(named.init)
    if arguments[:1] == ["pretrain"]:
        pretraining = pretrain_settings(run, named.preset, named.config, resume=named.resume, init=init)
        return {"pretrain": pretraining}
    if arguments[:1] in (["finetune"], ["crossval"]):
        given = (run, init, named.preset, named.config)
        if arguments[1:2] == ["classification"]:
            return {f"{arguments[0]} classification": classify_settings(*given, resume=named.resume)}
        return {f"{arguments[0]} segmentation": finetune_settings(*given, resume=named.resume)}
    return {}


def _run_among(words: Sequence[str]) -> Path:
    """The first of some words that names a run folder: which flags take how many is not known yet."""
    folders = (Path(word) for word in words if not word.startswith("-"))
    return next((folder for folder in folders if (folder / "config.json").is_file()), Path())


def _deferred(command: Callable[..., None], settings: object) -> Callable[..., Callable[[], object]]:
    """The command under the same signature, returning the call instead of making it."""

    @wraps(command)
    def call(*args: object, **kwargs: object) -> Callable[[], object]:
        return partial(command, *args, **kwargs)

    signature = inspect.signature(command)
    changed = [
        p.replace(default=settings) if name == "settings" and settings is not None else p
        for name, p in signature.parameters.items()
    ]
    call.__signature__ = signature.replace(parameters=changed)  # type: ignore[attr-defined]
    return call
