"""Texts where a function takes paths: `mim3d.predict("organs", "scan.nii.gz", "out.nii.gz")`."""

import inspect
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints


@cache
def taking_texts(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which makes paths of texts where its annotations ask for paths and no texts."""
    hints = get_type_hints(function)
    paths = {name for name, hint in hints.items() if _names(hint, Path) and not _names(hint, str)} - {
        "return"
    }
    signature = inspect.signature(function)

    @wraps(function)
    def with_paths(*args: Any, **named: Any) -> Any:
        given = signature.bind(*args, **named)
        for name in paths & given.arguments.keys():
            given.arguments[name] = _as_asked(given.arguments[name], hints[name])
        return function(*given.args, **given.kwargs)

    return with_paths


def _names(hint: Any, kind: type) -> bool:
    """Whether an annotation is this kind, or has it in a union or a tuple."""
    return hint is kind or any(_names(part, kind) for part in get_args(hint))


def _as_asked(value: Any, hint: Any) -> Any:
    if isinstance(value, str):
        return (Path(value),) if get_origin(hint) is tuple else Path(value)
    return tuple(_as_asked(one, Path) for one in value) if isinstance(value, list | tuple) else value
