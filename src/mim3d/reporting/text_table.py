"""A table of texts, and the forms that it is shown in: on a screen, in Markdown."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

NOTHING = "-"
"""Stands where there is no value."""
WIDEST = 160
"""Characters of a line where the output is no terminal, whose width is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTable:
    """Texts in rows; the first column names them, the others hold numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """Said below."""


def number_text(value: float | None, digits: int = 3) -> str:
    """A number with so many digits after the point; what rounds to nothing has no sign."""
    return NOTHING if value is None else f"{value:z.{digits}f}"


def counted(number: int, what: str) -> str:
    """How many there are of something, e.g. `1 case`, `1,200 cases`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_table(table: TextTable) -> None:
    """Show it on standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDEST)
    console.print(on_screen(table))


def on_screen(table: TextTable) -> Table:
    """As rich draws it."""
    notes = "\n".join(table.notes) or None
    shown = Table(title=table.title, title_justify="left", caption=notes, caption_justify="left")
    for number, heading in enumerate(table.headings):
        shown.add_column(heading, justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def in_markdown(table: TextTable) -> str:
    """As Markdown writes it."""
    lines = [table.headings, ("---", *["---:"] * (len(table.headings) - 1)), *table.rows]
    drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"**{table.title}**", "", *drawn, *(f"\n{note}" for note in table.notes), ""])
