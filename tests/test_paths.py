import inspect
from pathlib import Path
from typing import Any

import pytest

import mim3d
from mim3d.errors import ConfigError
from mim3d.paths import taking_texts


def seen(
    run: Path,
    store: Path | str,
    /,
    *more: Path,
    also: tuple[Path, ...] = (),
    config: int | Path | None = None,
    name: str = "",
) -> dict[str, Any]:
    """What came in."""
    return {"run": run, "store": store, "more": more, "also": also, "config": config, "name": name}


@pytest.mark.parametrize(
    ("args", "named", "expected"),
    [
        (("run", "s3://b/store"), {}, {"run": Path("run"), "store": "s3://b/store"}),
        ((Path("run"), "store", "a", Path("b")), {}, {"run": Path("run"), "more": (Path("a"), Path("b"))}),
        (("run", "store"), {"also": "a"}, {"also": (Path("a"),)}),
        (("run", "store"), {"also": ["a", Path("b")]}, {"also": (Path("a"), Path("b"))}),
        (("run", "store"), {"config": "c.json", "name": "n"}, {"config": Path("c.json"), "name": "n"}),
        (("run", "store"), {"config": 3}, {"config": 3}),
    ],
)
def test_texts_stand_for_paths(args: Any, named: Any, expected: dict[str, Any]) -> None:
    found = taking_texts(seen)(*args, **named)
    assert {name: found[name] for name in expected} == expected


def test_the_function_still_tells_what_it_takes() -> None:
    assert inspect.signature(taking_texts(seen)) == inspect.signature(seen)
    assert taking_texts(seen).__doc__ == "What came in."
    with pytest.raises(TypeError, match="missing a required argument: 'store'"):
        taking_texts(seen)("run")


def test_a_public_function_is_the_same_whenever_it_is_asked_for() -> None:
    assert mim3d.predict is mim3d.predict


def test_the_package_takes_texts(tmp_path: Path) -> None:
    folder = str(tmp_path / "raw")
    [image] = mim3d.phantom(folder, cases=1, shape=(32, 32, 32), spacing=9.0, workers=1)
    assert image.exists()


def test_a_list_stands_for_no_single_path() -> None:
    with pytest.raises(ConfigError, match="run: one path is needed, got 2 in a list; give them one by one"):
        taking_texts(seen)(["a", "b"], "store")
