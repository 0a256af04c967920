"""Templates of the pages, filled and written: HTML that needs nothing but itself, all in it escaped."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def fill(template: str, **values: object) -> str:
    """A page made of one of the templates beside this file and what it shows."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def write_whole(target: Path, text: str) -> None:
    """Write a text file whole or not at all, with the folders it needs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, prefix=".", delete=False) as part:
        try:
            part.write(text)
            part.close()
            Path(part.name).chmod(0o644)
            os.replace(part.name, target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
