"""Templates of the pages, filled: HTML that needs nothing but itself, with everything in it escaped."""

from pathlib import Path

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
