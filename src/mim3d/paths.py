"""Texts where a function takes paths: `mim3d.predict("organs", "scan.nii.gz", "out.nii.gz")`."""

import inspect
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from mim3d.errors import ConfigError


@cache
def taking_texts(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which makes paths of texts where its annotations ask for paths and no texts."""
    hints = get_type_hints(function)
    hints.pop("return", None)
    paths = {name for name, hint in hints.items() if _names(hint, Path) and not _names(hint, str)}
    if not paths:
        return function
    signature = inspect.signature(function)
    variadic = {name for name, one in signature.parameters.items() if one.kind is one.VAR_POSITIONAL}

    @wraps(function)
    def with_paths(*args: Any, **named: Any) -> Any:
        given = signature.bind(*args, **named)
        for name in paths & given.arguments.keys():
            hint = tuple[Path, ...] if name in variadic else hints[name]
            given.arguments[name] = _as_asked(given.arguments[name], hint, name)
        return function(*given.args, **given.kwargs)

    return with_paths


def _names(hint: Any, kind: type) -> bool:
    """Whether an annotation is this kind, or has it in a union or a tuple."""
    return hint is kind or any(_names(part, kind) for part in get_args(hint))


def _as_asked(value: Any, hint: Any, name: str) -> Any:
    several = get_origin(hint) is tuple
    if isinstance(value, str | Path):
        return (Path(value),) if several else Path(value)
    if isinstance(value, list | tuple):
        if not several:
            raise ConfigError(f"{name}: one path is needed, got {len(value)} in a list; give them one by one")
        return tuple(_as_asked(one, Path, name) for one in value)
    return value
