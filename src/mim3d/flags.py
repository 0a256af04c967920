"""How flags look: numbers joined by commas, and the levels' settings explained once."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from mim3d.config import Level

NUMBER = r"-?\d+(\.\d*)?"
JOINED = re.compile(rf"{NUMBER}(,{NUMBER})+")
Flat = tyro.conf.arg(name="")
"""For settings: `--steps` instead of `--settings.steps`."""
SHORT_HELP = ConstructorRegistry()
"""For `--help` alone: what it leaves out could not be set."""


def apart(arguments: Sequence[str], commands: Mapping[str, Callable[..., None]]) -> list[str]:
    """The words of a line, with `1,1,2` as three words after flags that take several numbers."""
    command = commands.get(" ".join(arguments[:2])) or commands.get(" ".join(arguments[:1]))
    listed = set() if command is None else set(_listed(command))
    words: list[str] = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if not flag.startswith("--") or not equals:
            flag, value = words[-1] if words else "", argument
        if flag.startswith("--") and _setting(flag) in listed and JOINED.fullmatch(value):
            words += [*([flag] if equals else []), *value.split(",")]
        else:
            words.append(argument)
    return words


def _setting(flag: str) -> str:
    """`--nesting.levels.0.cell` is of the setting `cell`."""
    return flag.removeprefix("--").split(".")[-1].replace("-", "_")


def _listed(settings: Any) -> Iterator[str]:
    """Names of the settings of a command, or of a group of settings, that take several numbers."""
    for name, kind in get_type_hints(settings).items():
        kinds = [kind, *get_args(kind)]
        if any(_is_numbers(one) for one in kinds):
            yield name
        for group in filter(is_dataclass, kinds):
            yield from _listed(group)


def _is_numbers(kind: Any) -> bool:
    return get_origin(kind) is tuple and set(get_args(kind)) <= {int, float, ...}


@SHORT_HELP.struct_rule
def _levels(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The settings of the outermost level, saying that the others have the same."""
    if info.type != tuple[Level, ...] or not isinstance(info.default, tuple):
        return None
    others = ", ".join(f"`--nesting.levels.{number}`" for number in range(1, len(info.default)))
    fields = tuple(
        StructFieldSpec(
            name=str(number),
            type=Annotated[Level, tyro.conf.Suppress] if number else Level,  # type: ignore[arg-type]
            default=level,
            helptext=f"The outermost level; the same flags exist of {others}." if others else None,
        )
        for number, level in enumerate(info.default)
    )
    return StructConstructorSpec(instantiate=lambda **levels: tuple(levels.values()), fields=fields)
