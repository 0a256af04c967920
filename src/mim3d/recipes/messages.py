"""What a recipe tells the user beside its result, on standard error."""

from rich.console import Console


def say(text: str) -> None:
    """Print one line, however long, as it is."""
    Console(stderr=True).print(text, soft_wrap=True, highlight=False, markup=False)
